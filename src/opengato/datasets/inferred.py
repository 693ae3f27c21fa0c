"""Datasets of other programs, whose formats do not state what an action may be: their spaces are inferred from what they hold.

A reader (`Source`) says which fields there are, and how an episode is read; `Inferred` makes a `Dataset` of it. Numbers that are seen may
be any; numbers that are done lie in [-1, 1] where all of them do, else between their own smallest and largest; whole numbers, seen or done,
between theirs. One pass finds these (`survey`), decodes no picture for it, and is remembered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from gymnasium import spaces

from opengato.datasets.survey import Column, Survey, survey
from opengato.episode import Episode, leaves
from opengato.errors import OpenGatoError
from opengato.tokens.spaces import text_space
from opengato.tokens.vocabulary import DISCRETE_SIZE

NUMBERS = 1024  # that a field may have; more are a depth map, a point cloud or an embedding, which have no tokens here
_ANY = 2**53  # bounds of whole numbers before they are known


class Source(Protocol):
    """Episodes of a format.

    Attributes:
        name, task, fingerprint: as in `Dataset`.
        observation_space, action_space: which fields there are, see `field_space`; bounds are not known yet.
        exact: whether the spaces are known all the same, because they are written down in the dataset.
        unused: of what the dataset has and is not read, the name and why.
    """

    @property
    def name(self) -> str: ...
    @property
    def task(self) -> str: ...
    @property
    def fingerprint(self) -> str: ...
    @property
    def observation_space(self) -> spaces.Space: ...
    @property
    def action_space(self) -> spaces.Space: ...
    @property
    def exact(self) -> bool: ...
    @property
    def unused(self) -> dict[str, str]: ...

    def readers(self, start: int = 0) -> Iterator[Callable[[], Episode]]:
        """Of every episode from number `start` on, in order, what reads it; that raises OpenGatoError where it is damaged."""
        ...

    def count(self) -> int | None:
        """How many episodes there are; None where only reading all of them would tell."""
        ...

    def mark(self, count: int) -> str | None:
        """As in `Dataset`."""
        ...


class Inferred:
    """A `Dataset` of a `Source`. Every episode is checked: its fields have one length, and each of them a timestep at least.

    An episode that cannot be read raises as its leaves are taken, so that the others can still be.

    Args:
        source: what is read. root: cache folder of the survey; default: the user's.
    """

    def __init__(self, source: Source, root: Path | None = None):
        self.source, self._root = source, root
        self.name, self.task, self.fingerprint = source.name, source.task, source.fingerprint

    @cached_property
    def survey(self) -> Survey:
        """What its numbers are like."""
        source = self.source
        found = survey(source.name, source.fingerprint, self.episodes(), source.observation_space, source.action_space, self._root)
        if not found.episodes:
            raise OpenGatoError(f"{self.name} has no episode that can be read: {found.damaged[0] if found.damaged else 'it is empty'}")
        return found

    @cached_property
    def observation_space(self) -> spaces.Space:
        return self.source.observation_space if self.source.exact else self._bounded(self.source.observation_space, "observation")

    @cached_property
    def action_space(self) -> spaces.Space:
        return self.source.action_space if self.source.exact else self._bounded(self.source.action_space, "action")

    def episodes(self, start: int = 0) -> Iterator[Episode]:
        for number, read in enumerate(self.source.readers(start), start):
            try:
                episode = read()
                _check(episode)
            except OpenGatoError as error:
                lost = _Lost(OpenGatoError(f"episode {number} of {self.name}: {error}"))
                episode = Episode(lost, lost, np.zeros(1, np.float32), self.task)
            yield episode

    def count(self) -> int | None:
        return self.source.count()

    def mark(self, count: int) -> str | None:
        return self.source.mark(count)

    def _bounded(self, space: spaces.Space, path: str) -> spaces.Space:
        """A space whose bounds are those of the survey; `path` begins with "observation" or "action"."""
        if isinstance(space, spaces.Dict):
            return spaces.Dict({key: self._bounded(sub, f"{path}.{key}") for key, sub in space.spaces.items()})
        if isinstance(space, spaces.Tuple):
            return spaces.Tuple([self._bounded(sub, f"{path}.{index}") for index, sub in enumerate(space.spaces)])
        if not isinstance(space, spaces.Box) or path not in self.survey.columns:
            return space
        column = self.survey.columns[path]
        if np.issubdtype(space.dtype, np.integer):
            return _whole(space, column)
        return _done(space, column) if path.startswith("action") else space


def _whole(space: spaces.Box, column: Column) -> spaces.Space:
    """Of whole numbers; those that take more values than there are ids for are numbers like others."""
    shape = space.shape
    low, high = np.minimum(column.low, 0), column.high
    if (high - low).max() >= DISCRETE_SIZE:
        return spaces.Box(-np.inf, np.inf, shape, np.float32)
    if not shape:
        return spaces.Discrete(int(high[0] - low[0]) + 1, start=int(low[0]))
    return spaces.Box(low.reshape(shape).astype(np.int64), high.reshape(shape).astype(np.int64), shape, np.int64)


def _done(space: spaces.Box, column: Column) -> spaces.Box:
    low, high = column.low, column.high
    if (low >= -1).all() and (high <= 1).all():
        low, high = np.full_like(low, -1), np.full_like(high, 1)
    high = np.where(high > low, high, low + 1e-3)  # a number that never varies has a span of its own
    bounds = [bound.reshape(space.shape).astype(np.float32) for bound in (low, high)]
    return spaces.Box(bounds[0], bounds[1], space.shape, np.float32)


class _Lost:
    """A leaf of an episode that cannot be read."""

    def __init__(self, error: OpenGatoError):
        self._error = error

    def __len__(self) -> int:
        return 1

    def __getitem__(self, key: Any) -> Any:
        raise self._error

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        raise self._error


def field_space(dtype: Any, shape: tuple[int, ...]) -> spaces.Space | str:
    """The space of a field of numbers or pictures without bounds, or why it has none; `dtype`: as NumPy names it.

    uint8 (H, W, 1 or 3): a picture. Floats: float32 numbers. Whole numbers: int64. Truth values: MultiBinary, one of them: Discrete(2).
    """
    kind = np.dtype(dtype)
    if kind == np.uint8 and len(shape) == 3:
        return spaces.Box(0, 255, shape, np.uint8) if shape[2] in (1, 3) else f"a picture of {shape[2]} channels, not 1 or 3"
    if kind.kind not in "fiub":
        return f"it holds {kind} where numbers, pictures and texts can be read"
    if int(np.prod(shape)) > NUMBERS:
        return f"{int(np.prod(shape)):,} numbers a timestep, more than the {NUMBERS:,} that a field may have"
    if int(np.prod(shape)) == 0:
        return "it has no numbers"
    if kind.kind == "f":
        return spaces.Box(-np.inf, np.inf, shape, np.float32)
    if kind.kind == "b":
        return spaces.MultiBinary(shape) if shape else spaces.Discrete(2)
    return spaces.Box(-_ANY, _ANY, shape, np.int64)


def nest(fields: dict[str, Any]) -> Any:
    """Fields by dotted path to nested dicts; a field of path "" is the whole. Raises OpenGatoError where one stands in another."""
    if set(fields) == {""}:
        return fields[""]
    out: dict[str, Any] = {}
    for path in sorted(fields):
        *way, last = path.split(".")
        here = out
        for key in way:
            here = here.setdefault(key, {})
            if not isinstance(here, dict):
                raise OpenGatoError(f"field {path!r} stands inside field {key!r}, which is one itself: rename it")
        if not path or last in here:
            raise OpenGatoError(f"field {path!r} is a field and holds others: rename it")
        here[last] = fields[path]
    return out


def space_of(fields: dict[str, spaces.Space]) -> spaces.Space:
    """The space of fields by dotted path, see `nest`."""

    def wrap(nested: Any) -> spaces.Space:
        return spaces.Dict({key: wrap(value) for key, value in nested.items()}) if isinstance(nested, dict) else nested

    return wrap(nest(fields))


def number_of(leaf: np.ndarray, space: spaces.Space) -> np.ndarray:
    """A leaf in the dtype of its space."""
    return np.asarray(leaf).astype(space.dtype)


def task_name(text: str) -> str:
    """The name of a file or folder as the second part of a task's id."""
    return "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in text).strip("-") or "unnamed"


TEXT = text_space()


def _check(episode: Episode) -> None:
    length = len(episode)
    if not length:
        raise OpenGatoError("it has no timesteps")
    for side, nested in (("observation", episode.observations), ("action", episode.actions)):
        for path, leaf in leaves(nested):
            if len(leaf) != length:
                raise OpenGatoError(
                    f"{f'{side}.{path}'.rstrip('.')} has {len(leaf)} timesteps where the episode has {length}: frames and rows disagree"
                )
