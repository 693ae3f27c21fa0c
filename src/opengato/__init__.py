"""OpenGato: the open generalist agent. The public names are loaded when they are first used."""

from __future__ import annotations

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


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        return getattr(import_module(_PLACES[name]), name)
    raise AttributeError(f"module 'opengato' has no attribute {name!r}")
