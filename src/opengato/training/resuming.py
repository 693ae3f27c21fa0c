"""A run goes on only as what it was begun as, unless it is asked to change."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from opengato.errors import OpenGatoError

# Of how a run is trained, what decides which state a step leads to. All else, as its length or its devices, may change from part to part.
_DECIDES = ("train.batch", "train.seed", "train.optimiser.")
# A part of these that either has alone is a difference; elsewhere it is a setting that one version knows and the other does not.
_WHOLE = ("datasets.", "weights.", "stages.", "recipe.sampling.return_thresholds.")


def check_same_run(path: Path, resolved: dict[str, Any]) -> None:
    """Raise OpenGatoError where the run whose configuration was written to `path` was begun with another one than `resolved`."""
    if not path.is_file():
        return
    begun, now = _flat(json.loads(path.read_text())), _flat(json.loads(json.dumps(resolved)))
    for name in sorted(begun.keys() | now.keys()):
        if name.startswith("train.") and not name.startswith(_DECIDES):
            continue
        if ((name in begun and name in now) or name.startswith(_WHOLE)) and begun.get(name) != now.get(name):
            raise OpenGatoError(
                f"the run in {path.parent} was begun with {name} {_said(begun, name)} and would go on with {_said(now, name)}: "
                "choose another --out, or go on with the change by --allow-changes"
            )


def _flat(nested: Any, name: str = "") -> dict[str, Any]:
    """Dotted name -> value of everything in nested dictionaries."""
    if not isinstance(nested, dict):
        return {name: nested}
    return {inner: value for key, part in nested.items() for inner, value in _flat(part, f"{name}.{key}" if name else str(key)).items()}


def _said(values: dict[str, Any], name: str) -> str:
    return f"{values[name]!r}" if name in values else "nothing"
