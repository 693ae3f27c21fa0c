"""Observations and actions, checked against their space before they go on: a NaN must not reach a motor, a memory or a dataset."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces

from opengato.errors import OpenGatoError
from opengato.tokens.spaces import to_json


def conform(space: spaces.Space, value: Any, name: str, bounded: bool = True, steps: int | None = None) -> Any:
    """A copy of `value` as a member of a space: arrays of its dtypes and shapes, ints for Discrete, strings for Text.

    A copy, since cameras and motor buses refill their buffers while an agent still looks at them.

    Args:
        name: of the value, for errors: "observation".
        bounded: refuse floats outside a Box's bounds.
        steps: of an episode that the value has; every array then has an axis for them before its own, and texts are lists. None: one value.

    Raises OpenGatoError with the field and the value: another structure or shape, NaN, infinity, outside the bounds, and numbers of
    another kind, such as floats for pixels: their scale is likely another one too.
    """
    if isinstance(space, spaces.Dict):
        if not isinstance(value, dict) or set(value) != set(space.spaces):
            given = sorted(map(str, value)) if isinstance(value, dict) else type(value).__name__
            raise OpenGatoError(f"{name} has {given} where its space has {sorted(space.spaces)}: give these fields, and no others")
        return {key: conform(sub, value[key], f"{name}.{key}", bounded, steps) for key, sub in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        if not isinstance(value, tuple | list) or len(value) != len(space.spaces):
            raise OpenGatoError(f"{name} is {type(value).__name__} where its space has {len(space.spaces)} entries: give a tuple of them")
        return tuple(conform(sub, entry, f"{name}.{i}", bounded, steps) for i, (sub, entry) in enumerate(zip(space.spaces, value)))
    if isinstance(space, spaces.Text):
        texts = [value] if steps is None else value
        if not isinstance(texts, list) or len(texts) != (steps or len(texts)) or not all(isinstance(text, str) for text in texts):
            wanted = "a string" if steps is None else f"a list of {steps} strings"
            raise OpenGatoError(f"{name} is {type(value).__name__} where its space is text: give {wanted}")
        return str(value) if steps is None else list(value)
    to_json(space)  # refuses spaces of other kinds
    array = _numbers(space, value, name, bounded, () if steps is None else (steps,))
    return int(array) if isinstance(space, spaces.Discrete) and steps is None else array


def _numbers(space: spaces.Space, value: Any, name: str, bounded: bool, lead: tuple[int, ...]) -> np.ndarray:
    wanted, shape = np.dtype(space.dtype), lead + tuple(space.shape or ())
    array = np.asarray(value)
    if array.dtype.kind not in ("fiu" if wanted.kind == "f" else "biu"):
        raise OpenGatoError(f"{name} has dtype {array.dtype} where its space has {wanted}: convert it")
    if array.shape != shape:
        given, wants = array.shape[len(lead) :], shape[len(lead) :]
        if array.shape[: len(lead)] != lead:
            given, wants = array.shape, shape
        raise OpenGatoError(f"{name} has shape {given} where its space has {wants}: reshape it")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        _refuse(name, array, ~np.isfinite(array), "check the sensor, the simulator or the agent that gave it", lead)
    if bounded or wanted.kind != "f":
        low, high = _bounds(space)
        # A float32 bound and the same number in float64 differ by rounding.
        inside = array.astype(wanted) if array.dtype.kind == wanted.kind == "f" else array
        bad = (inside < low) | (inside > high)
        if bad.any():
            _refuse(name, array, bad, f"its space is {space}", lead)
    return array.astype(wanted)


def _bounds(space: spaces.Space) -> tuple[Any, Any]:
    if isinstance(space, spaces.Box):
        return space.low, space.high
    if isinstance(space, spaces.Discrete):
        return int(space.start), int(space.start + space.n - 1)
    if isinstance(space, spaces.MultiDiscrete):
        return space.start, space.start + space.nvec - 1
    return 0, 1  # MultiBinary


def _refuse(name: str, array: np.ndarray, bad: np.ndarray, remedy: str, lead: tuple[int, ...]) -> None:
    at = tuple(int(i) for i in np.argwhere(bad)[0])
    when, at = (f" at timestep {at[0]}" if lead else ""), at[len(lead) :]
    where = f" at entry {at[0] if len(at) == 1 else at}" if at else ""
    raise OpenGatoError(f"{name} is {array[(*np.argwhere(bad)[0],)].item()}{where}{when}: {remedy}")
