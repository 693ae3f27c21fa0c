"""Observations and demonstrations from outside, checked against a task's spaces before they come near the engine."""

from __future__ import annotations

import heapq
from typing import Any

import numpy as np
from gymnasium import spaces

from opengato.episode import Episode, leaves
from opengato.errors import OpenGatoError
from opengato.serving.limits import Refusal
from opengato.serving.wire import short
from opengato.tokens.layout import Layout
from opengato.tokens.text import TextTokenizer

PROMPT_TEXTS = 32  # the texts of a demonstration together, in longest texts
LISTED = 20  # names in one sentence at most
TIMESTEPS = 4096  # of a demonstration at most; no context is that long


class Checker:
    """Turns what a client sent into members of a task's spaces, or says in one sentence what is wrong with which field.

    Args:
        tokenizer: of the checkpoint. characters: of one text at most. tokens: of all texts of an observation together, at most, since a
            single endless text would hold up everyone in the batch.
    """

    def __init__(self, tokenizer: TextTokenizer, characters: int, tokens: int):
        self.tokenizer, self.characters, self.tokens = tokenizer, characters, tokens

    def observation(self, layout: Layout, value: Any) -> Any:
        """A member of the layout's observation space: arrays of its dtypes, ints, strings. Raises Refusal."""
        try:
            observation = self._check(layout.observation_space, value, "observation", "", None)
            texts = [leaf for _, leaf in leaves(observation) if isinstance(leaf, str)]
            if texts and (count := sum(map(self.count, texts))) > self.tokens:
                raise OpenGatoError(f"the observation's text is {count} tokens long where {self.tokens} fit: shorten it")
        except OpenGatoError as error:
            raise Refusal("observation", str(error)) from None
        return observation

    def demonstration(self, task: str, layout: Layout, value: Any, timesteps: int) -> Episode:
        """An episode from {"observations": …, "actions": …} with T ≥ 1 timesteps a leaf, cut to the first `timesteps`. Raises Refusal."""
        try:
            if not isinstance(value, dict) or set(value) != {"observations", "actions"}:
                raise OpenGatoError(f"the prompt is {short(value)}: send a map of observations and actions, None or False")
            length = _length(layout.action_space, value["actions"])
            if not length:
                raise OpenGatoError("the prompt has no timesteps: send at least one, or False for no prompt")
            if length > TIMESTEPS:
                raise OpenGatoError(f"the prompt has {length} timesteps where {TIMESTEPS} are allowed: send the first ones")
            observations = self._check(layout.observation_space, value["observations"], "prompt's observation", "", length)
            actions = self._check(layout.action_space, value["actions"], "prompt's action", "", length)
            texts = [leaf for side in (observations, actions) for _, leaf in leaves(side) if isinstance(leaf, list)]
            if (letters := sum(len(text) for leaf in texts for text in leaf[:timesteps])) > PROMPT_TEXTS * self.characters:
                allowed = PROMPT_TEXTS * self.characters
                raise OpenGatoError(f"the prompt's texts have {letters} characters where {allowed} are allowed: send fewer timesteps")
        except OpenGatoError as error:
            raise Refusal("prompt", str(error)) from None
        return Episode(observations, actions, np.zeros(length, np.float32), task)[:timesteps]

    def count(self, text: str) -> int:
        """How many tokens a text is, its end included. Raises OpenGatoError for what is no Unicode."""
        return len(self.tokenizer.encode(text)) + 1

    def _check(self, space: spaces.Space, value: Any, kind: str, path: str, length: int | None) -> Any:
        """`length`: None for one timestep, else the number of timesteps, the leading axis of every leaf."""
        name = f"{kind} field {short(path)}" if path else f"the {kind}"
        if isinstance(space, spaces.Dict):
            if not isinstance(value, dict):
                raise OpenGatoError(f"{name} is {short(value)}: send a map of {listed(space.spaces)}")
            if missing := sorted(set(space.spaces) - set(value)):
                raise OpenGatoError(f"{name} lacks {listed(missing)}: send {listed(space.spaces)}")
            if extra := sorted(set(value) - set(space.spaces)):
                raise OpenGatoError(f"{name} has {listed(extra)}, which the task does not know: send {listed(space.spaces)}")
            return {key: self._check(sub, value[key], kind, f"{path}.{key}".lstrip("."), length) for key, sub in space.spaces.items()}
        if isinstance(space, spaces.Tuple):
            if not isinstance(value, list | tuple) or len(value) != len(space.spaces):
                raise OpenGatoError(f"{name} is {short(value)}: send a list of {len(space.spaces)}")
            return tuple(self._check(sub, value[i], kind, f"{path}.{i}".lstrip("."), length) for i, sub in enumerate(space.spaces))
        if isinstance(space, spaces.Text):
            if length is None:
                return self._text(value, name)
            plain = isinstance(value, np.ndarray) and value.dtype.kind == "U" and value.shape == (length,)
            texts = value.tolist() if plain else value
            if not isinstance(texts, list) or len(texts) != length:
                raise OpenGatoError(f"{name} is {short(value)}: send a list of {length} texts")
            return [self._text(text, f"{name}, timestep {t},") for t, text in enumerate(texts)]
        array = _numbers(space, value, name, () if length is None else (length,))
        return int(array) if isinstance(space, spaces.Discrete) and length is None else array

    def _text(self, value: Any, name: str) -> str:
        if isinstance(value, np.ndarray) and value.dtype.kind == "U" and value.ndim == 0:
            value = value.item()
        if not isinstance(value, str):
            raise OpenGatoError(f"{name} is {short(value)}: send a text")
        if len(value) > self.characters:
            raise OpenGatoError(f"{name} has {len(value)} characters where {self.characters} are allowed: shorten it")
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise OpenGatoError(f"{name} has a lone surrogate at character {error.start}: it is not valid Unicode") from None
        return str(value)


def listed(names: Any) -> str:
    """Names for an error's sentence, the first ones of many."""
    return short(", ".join(short(str(n)) for n in heapq.nsmallest(LISTED, names)), 400) or "nothing"


def _length(space: spaces.Space, value: Any) -> int:
    """The number of timesteps of the first leaf; 0 where there is none. Whether it fits the space is seen later."""
    if isinstance(space, spaces.Dict):
        first = min(space.spaces)
        return _length(space[first], value[first]) if isinstance(value, dict) and first in value else 0
    if isinstance(space, spaces.Tuple):
        return _length(space[0], value[0]) if isinstance(value, list | tuple) and value else 0
    if isinstance(value, np.ndarray):
        return len(value) if value.ndim else 0
    return len(value) if isinstance(value, list) else 0


def _numbers(space: spaces.Space, value: Any, name: str, lead: tuple[int, ...]) -> np.ndarray:
    """Numbers of a Box, Discrete, MultiDiscrete or MultiBinary space, (*lead, *shape), of its dtype, finite and inside it."""
    shape = lead + tuple(space.shape or ())
    # A list is looked at before it becomes an array: of unequal texts, or nested deeply, it could be a thousand times its size.
    fits = isinstance(value, np.ndarray | np.generic) or _plain(value, shape)
    try:
        array = np.asarray(value if fits else None)
    except (ValueError, TypeError, OverflowError):
        array = np.asarray(None)
    wanted, is_array = np.dtype(space.dtype), isinstance(value, np.ndarray | np.generic)
    if isinstance(space, spaces.Box) and wanted.kind == "f":
        allowed, advice = "fiu", "floats"
    elif isinstance(space, spaces.Box) and wanted == np.uint8:
        # Pixels of another dtype are likely of another scale, between 0 and 1 for example: nothing is guessed.
        allowed, advice = "iu" if array.dtype == np.uint8 or not is_array else "", "uint8"
    elif isinstance(space, spaces.MultiBinary):
        allowed, advice = "biu", "0 and 1"
    else:
        allowed, advice = "iu", "integers"
    if array.dtype.kind not in allowed:
        found = array.dtype if is_array else short(value)
        raise OpenGatoError(f"{name} is {found}: send {advice} of shape {shape}")
    if array.shape != shape:
        raise OpenGatoError(f"{name} has shape {array.shape} where the task has {shape}")
    if wanted.kind == "f":
        with np.errstate(over="ignore"):
            out = array.astype(wanted)
        bad = ~np.isfinite(out)
        remedy = f"send finite {wanted}"
    else:
        low, high = _bounds(space)
        bad = (array < low) | (array > high)
        out, remedy = array, f"send values of {short(str(space), 120)}"
    if bad.any():
        at = tuple(int(i) for i in np.argwhere(bad)[0])
        where = f" at entry {at[0] if len(at) == 1 else at}" if at else ""
        raise OpenGatoError(f"{name} is {short(array[at].item())}{where}: {remedy}")
    return np.ascontiguousarray(out, wanted).reshape(shape)


def _plain(value: Any, shape: tuple[int, ...]) -> bool:
    """Whether these are numbers, arrays of them, or lists of both, that together have this shape."""
    if isinstance(value, np.ndarray | np.generic):
        return value.dtype.kind in "biuf" and value.shape == shape
    if not shape:
        return isinstance(value, bool | int | float)
    return isinstance(value, list | tuple) and len(value) == shape[0] and all(_plain(entry, shape[1:]) for entry in value)


def _bounds(space: spaces.Space) -> tuple[Any, Any]:
    if isinstance(space, spaces.Discrete):
        return int(space.start), int(space.start + space.n - 1)
    if isinstance(space, spaces.MultiDiscrete):
        return space.start, space.start + space.nvec - 1
    if isinstance(space, spaces.Box):
        return space.low, space.high
    return 0, 1
