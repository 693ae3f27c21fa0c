"""OpenGato: the open generalist agent. The public names are loaded when they are first used."""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

_PLACES = {
    "Episode": "opengato.episode",
    "Layout": "opengato.tokens.layout",
    "Gato": "opengato.model.gato",
    "Checkpoint": "opengato.checkpoint",
    "Policy": "opengato.policy.policy",
    "Mixture": "opengato.mixture",
    "make": "opengato.domains",
    "collect": "opengato.collection",
    "evaluate": "opengato.evaluation.evaluate",
    "Client": "opengato.client",
}
__all__ = list(_PLACES)

# Nothing is sent anywhere about who uses this package and how; nor by packages that it may use, which read these as they are imported.
# Whoever wants it sets them otherwise beforehand.
for _name, _value in {
    "RAY_USAGE_STATS_ENABLED": "0",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "WANDB_ERROR_REPORTING": "false",
    "GRADIO_ANALYTICS_ENABLED": "False",  # of trackio's dashboard
    "DO_NOT_TRACK": "1",
}.items():
    os.environ.setdefault(_name, _value)

# PyTorch asks Linux for huge pages where a tensor has room for one: a training step allocates hundreds of megabytes anew, and 4 kB at a
# time that takes a tenth of it. Read at the first allocation.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        return getattr(import_module(_PLACES[name]), name)
    if name == "__version__":
        from importlib.metadata import version

        return version("opengato")
    raise AttributeError(f"module 'opengato' has no attribute {name!r}")
