"""What LeRobot calls the fields of a space: in its datasets, and in the batches that its policies are given."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from gymnasium import spaces

from opengato.datasets.survey import is_picture
from opengato.episode import leaves
from opengato.errors import OpenGatoError

_TASK_FIELDS = ("task", "mission", "instruction", "language_instruction")


def nested_spaces(space: spaces.Space) -> Any:
    """A space as the nested structure of its leaves' spaces, which `leaves` and `get_path` go through."""
    if isinstance(space, spaces.Dict):
        return {key: nested_spaces(sub) for key, sub in space.spaces.items()}
    return tuple(map(nested_spaces, space.spaces)) if isinstance(space, spaces.Tuple) else space


def feature_names(space: spaces.Space, side: str) -> dict[str, tuple[str, spaces.Space]]:
    """Of every field of a space, by its path, the feature's name, "observation.images.front" of "images.front", and the field's space.

    Args:
        side: "observation" or "action".

    Raises OpenGatoError where a name has a slash, which LeRobot refuses, or two fields would have the same.
    """
    found: dict[str, tuple[str, spaces.Space]] = {}
    for path, sub in leaves(nested_spaces(space)):
        name = f"{side}.{path}".rstrip(".")
        if side == "observation" and not path:
            name += ".image" if is_picture(sub) else ".state"
        if "/" in name:
            raise OpenGatoError(f"field {name!r} has a '/', which no feature of LeRobot's may have: rename it")
        if path in found:
            raise OpenGatoError(f"two fields are both {path!r}, one by a name with a dot in it: rename one of them")
        found[path] = name, sub
    return found


def task_field(texts: Collection[str]) -> str | None:
    """Of the paths of observed texts that of the one which is LeRobot's task: by its name, or the only one; None where there is none."""
    named = next((path for path in _TASK_FIELDS if path in texts), None)
    return named if named is not None or len(texts) != 1 else next(iter(texts))
