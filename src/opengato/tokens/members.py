"""Observations and actions, checked against their space before they go on: a NaN must not reach a motor, a memory or a dataset.

There is no second check of what a member of a space is: robots, clients of a server, recorded episodes and what becomes tokens are all
held to this one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces

from opengato.errors import OpenGatoError
from opengato.sentences import listed, short
from opengato.tokens.spaces import to_json


def conform(
    space: spaces.Space, value: Any, name: str, bounded: bool = True, steps: int | None = None, characters: int | None = None
) -> Any:
    """A copy of `value` as a member of a space: arrays of its dtypes and shapes, ints for Discrete, strings for Text.

    A copy, since cameras and motor buses refill their buffers while an agent still looks at them. The value may be hostile: lists are
    measured before anything is made of them, and no sentence grows with what it complains about.

    Args:
        name: of the value, for errors: "the observation".
        bounded: refuse floats outside a Box's bounds.
        steps: of an episode that the value has; every array then has an axis for them before its own, and texts are lists. None: one value.
        characters: of one text, at most; None: any number.

    Raises OpenGatoError with the field and the value: another structure or shape, NaN, infinity, outside the bounds, numbers of another
    kind, such as floats for pixels (their scale is likely another one too), and texts that are no Unicode.
    """
    return _Members(name, bounded, steps, characters).member(space, value, "")


def refuse(name: str, array: np.ndarray, bad: np.ndarray, remedy: str | spaces.Space, timestep: int | None = None) -> None:
    """Raises OpenGatoError that names the first bad entry of an array, where there is one.

    `bad`: bool, of the array's shape. `remedy`: what to do, or the space to fit into, which is written out only where it is needed:
    that of a grid takes half a millisecond. `timestep`: the number of the array's first row, where its first axis is time; None: it has
    none.
    """
    if not bad.any():
        return
    index = tuple(int(i) for i in np.argwhere(bad)[0])
    at = index if timestep is None else index[1:]
    places = ([] if timestep is None else [f"timestep {timestep + index[0]}"]) + ([f"entry {at[0] if len(at) == 1 else at}"] if at else [])
    where = f" at {', '.join(places)}" if places else ""
    if isinstance(remedy, spaces.Space):
        remedy = f"its space is {short(str(remedy), 120)}"
    raise OpenGatoError(f"{name} is {short(array[index].item())}{where}: {remedy}")


@dataclass(frozen=True)
class _Members:
    """`conform`, of one value; a path is that of a field inside it."""

    name: str
    bounded: bool
    steps: int | None
    characters: int | None

    def member(self, space: spaces.Space, value: Any, path: str) -> Any:
        name = f"{self.name} field {short(path)}" if path else self.name
        if isinstance(space, spaces.Dict):
            if not isinstance(value, dict):
                raise OpenGatoError(f"{name} is {short(value)}: give a map of {listed(space.spaces)}")
            if missing := set(space.spaces) - set(value):
                raise OpenGatoError(f"{name} lacks {listed(missing)}: give {listed(space.spaces)}")
            if extra := set(value) - set(space.spaces):
                raise OpenGatoError(f"{name} has {listed(extra)}, which its space does not know: give {listed(space.spaces)}")
            return {key: self.member(sub, value[key], f"{path}.{key}".lstrip(".")) for key, sub in space.spaces.items()}
        if isinstance(space, spaces.Tuple):
            if not isinstance(value, list | tuple) or len(value) != len(space.spaces):
                raise OpenGatoError(f"{name} is {short(value)}: give a list of {len(space.spaces)}")
            return tuple(self.member(sub, value[i], f"{path}.{i}".lstrip(".")) for i, sub in enumerate(space.spaces))
        if isinstance(space, spaces.Text):
            return self._text(value, name) if self.steps is None else self._texts(value, name, self.steps)
        to_json(space)  # refuses spaces of other kinds
        array = self._numbers(space, value, name)
        return int(array) if isinstance(space, spaces.Discrete) and self.steps is None else array

    def _texts(self, value: Any, name: str, steps: int) -> list[str]:
        plain = isinstance(value, np.ndarray) and value.dtype.kind == "U" and value.shape == (steps,)
        texts = value.tolist() if plain else value
        if not isinstance(texts, list) or len(texts) != steps:
            raise OpenGatoError(f"{name} is {short(value)}: give a list of {steps} texts")
        return [self._text(text, f"{name}, timestep {t},") for t, text in enumerate(texts)]

    def _text(self, value: Any, name: str) -> str:
        if isinstance(value, np.ndarray) and value.dtype.kind == "U" and value.ndim == 0:
            value = value.item()
        if not isinstance(value, str):
            raise OpenGatoError(f"{name} is {short(value)}: give a text")
        if self.characters is not None and len(value) > self.characters:
            raise OpenGatoError(f"{name} has {len(value)} characters where {self.characters} are allowed: shorten it")
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise OpenGatoError(f"{name} has a lone surrogate at character {error.start}: it is not valid Unicode") from None
        return str(value)

    def _numbers(self, space: spaces.Space, value: Any, name: str) -> np.ndarray:
        """Numbers of a Box, Discrete, MultiDiscrete or MultiBinary space, (*steps, *shape), of its dtype."""
        lead = () if self.steps is None else (self.steps,)
        wanted, shape = np.dtype(space.dtype), lead + tuple(space.shape or ())
        is_array = hasattr(value, "__array__")
        # A list is looked at before it becomes an array: of unequal texts, or nested deeply, it could be a thousand times its size.
        try:
            array = np.asarray(value if is_array or _plain(value, shape) else None)
        except (ValueError, TypeError, OverflowError):
            array = np.asarray(None)
        allowed, kind = _kinds(space, wanted)
        if array.dtype.kind not in allowed:
            found = array.dtype if is_array else short(value)
            raise OpenGatoError(f"{name} is {found}: give {kind} of shape {shape}")
        if array.shape != shape:
            given, wants = array.shape[len(lead) :], shape[len(lead) :]
            if array.shape[: len(lead)] != lead:
                given, wants = array.shape, shape
            raise OpenGatoError(f"{name} has shape {given} where its space has {wants}: reshape it")
        first = None if self.steps is None else 0
        if wanted.kind == "f":
            with np.errstate(over="ignore"):
                out = array.astype(wanted)
            refuse(name, array, ~np.isfinite(out), "check the sensor, the simulator or the agent that gave it", first)
        else:
            out = array
        if self.bounded or wanted.kind != "f":
            low, high = _bounds(space)
            # Of floats those of the space's dtype: a float32 bound and the same number in float64 differ by rounding.
            refuse(name, array, (out < low) | (out > high), space, first)
        return out if out is not array else array.astype(wanted)


def _kinds(space: spaces.Space, wanted: np.dtype) -> tuple[str, str]:
    """The kinds of numbers, as NumPy names them, that a space takes, and what they are called."""
    if wanted.kind == "f":
        return "fiu", "floats"
    if isinstance(space, spaces.MultiBinary) or wanted.kind == "b":
        return "biu", "0 and 1"
    return "iu", "integers" if wanted != np.uint8 else "uint8"


def _plain(value: Any, shape: tuple[int, ...]) -> bool:
    """Whether these are numbers, arrays of them, or lists of both, that together have this shape."""
    if isinstance(value, np.ndarray | np.generic):
        return value.dtype.kind in "biuf" and value.shape == shape
    if not shape:
        return isinstance(value, bool | int | float)
    return isinstance(value, list | tuple) and len(value) == shape[0] and all(_plain(entry, shape[1:]) for entry in value)


def _bounds(space: spaces.Space) -> tuple[Any, Any]:
    if isinstance(space, spaces.Box):
        return space.low, space.high
    if isinstance(space, spaces.Discrete):
        return int(space.start), int(space.start + space.n - 1)
    if isinstance(space, spaces.MultiDiscrete):
        return space.start, space.start + space.nvec - 1
    return 0, 1  # MultiBinary
