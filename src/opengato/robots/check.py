"""Observations and actions, checked against their space before they go on: a NaN must not reach a motor, nor a memory."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces

from opengato.errors import OpenGatoError
from opengato.tokens.spaces import to_json


def conform(space: spaces.Space, value: Any, name: str, bounded: bool = True) -> Any:
    """A copy of `value` as a member of a space: arrays of its dtypes and shapes, ints for Discrete, strings for Text.

    A copy, since cameras and motor buses refill their buffers while an agent still looks at them.

    Args:
        name: of the value, for errors: "observation".
        bounded: refuse numbers outside a Box's bounds.

    Raises OpenGatoError with the field and the value: another structure or shape, NaN, infinity, outside the bounds, and numbers of
    another kind, such as floats for pixels: their scale is likely another one too.
    """
    if isinstance(space, spaces.Dict):
        if not isinstance(value, dict) or set(value) != set(space.spaces):
            given = sorted(map(str, value)) if isinstance(value, dict) else type(value).__name__
            raise OpenGatoError(f"{name} has {given} where its space has {sorted(space.spaces)}: give these fields, and no others")
        return {key: conform(sub, value[key], f"{name}.{key}", bounded) for key, sub in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        if not isinstance(value, tuple | list) or len(value) != len(space.spaces):
            raise OpenGatoError(f"{name} is {type(value).__name__} where its space has {len(space.spaces)} entries: give a tuple of them")
        return tuple(conform(sub, entry, f"{name}.{i}", bounded) for i, (sub, entry) in enumerate(zip(space.spaces, value)))
    if isinstance(space, spaces.Text):
        if not isinstance(value, str):
            raise OpenGatoError(f"{name} is {type(value).__name__} where its space is text: give a string")
        return str(value)
    to_json(space)  # refuses spaces of other kinds
    return _numbers(space, value, name, bounded)


def _numbers(space: spaces.Space, value: Any, name: str, bounded: bool) -> Any:
    wanted, shape = np.dtype(space.dtype), tuple(space.shape or ())
    array = np.asarray(value)
    if array.dtype.kind not in ("fiu" if wanted.kind == "f" else "biu"):
        raise OpenGatoError(f"{name} has dtype {array.dtype} where its space has {wanted}: convert it")
    if array.shape != shape:
        raise OpenGatoError(f"{name} has shape {array.shape} where its space has {shape}: reshape it")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        _refuse(name, array, ~np.isfinite(array), "check the sensor or the agent that gave it")
    if bounded or wanted.kind != "f":
        low, high = _bounds(space)
        # A float32 bound and the same number in float64 differ by rounding.
        inside = array.astype(wanted) if array.dtype.kind == wanted.kind == "f" else array
        bad = (inside < low) | (inside > high)
        if bad.any():
            _refuse(name, array, bad, f"its space is {space}")
    return int(array) if isinstance(space, spaces.Discrete) else array.astype(wanted)


def _bounds(space: spaces.Space) -> tuple[Any, Any]:
    if isinstance(space, spaces.Box):
        return space.low, space.high
    if isinstance(space, spaces.Discrete):
        return int(space.start), int(space.start + space.n - 1)
    if isinstance(space, spaces.MultiDiscrete):
        return space.start, space.start + space.nvec - 1
    return 0, 1  # MultiBinary


def _refuse(name: str, array: np.ndarray, bad: np.ndarray, remedy: str) -> None:
    at = tuple(int(i) for i in np.argwhere(bad)[0])
    where = f" at entry {at[0] if len(at) == 1 else at}" if at else ""
    raise OpenGatoError(f"{name} is {array[at].item()}{where}: {remedy}")
