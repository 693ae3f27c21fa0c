"""The leaves of observations and actions, nested as their spaces are, by the paths of their fields."""

from __future__ import annotations

from typing import Any

from gymnasium import spaces


def get_path(nested: Any, path: str) -> Any:
    """The leaf of a nested structure at a field's path, whose names may have dots themselves. Raises KeyError where there is none."""
    if not path:
        return nested
    if isinstance(nested, tuple):
        index, _, rest = path.partition(".")
        return get_path(nested[int(index)], rest)
    if path in nested:
        return nested[path]
    for key, inside in nested.items():
        if path.startswith(f"{key}.") and isinstance(inside, dict | tuple):
            try:
                return get_path(inside, path[len(key) + 1 :])
            except (KeyError, IndexError, ValueError):
                pass  # another name may begin alike
    raise KeyError(path)


def rebuild(space: spaces.Space, values: dict[str, Any], path: str = "") -> Any:
    """Leaves by their fields' paths in the structure of a space."""
    if isinstance(space, spaces.Dict):
        return {key: rebuild(sub, values, f"{path}.{key}".lstrip(".")) for key, sub in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(rebuild(sub, values, f"{path}.{i}".lstrip(".")) for i, sub in enumerate(space.spaces))
    return values[path]
