"""What is observed, read as another space: one that a network has learned to read.

A network of the folding family finds a number, a symbol or a word by its place among all that is observed. Other sensors of the same body,
a view of fewer cells, fields in another order put the same things in other places, where it would have to learn each of them anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from gymnasium import spaces

from opengato.episode import leaves
from opengato.errors import OpenGatoError
from opengato.tokens.fields import Field
from opengato.tokens.nested import get_path, rebuild
from opengato.tokens.spaces import from_json, to_json
from opengato.tokens.statistics import Statistics
from opengato.tokens.vocabulary import CONTINUOUS, DISCRETE, GRID, GRIDS, IMAGE, PATCH_SIZE

NOTHING = -1  # in place of a source
SYMBOLS = (DISCRETE, *GRIDS)


@dataclass(frozen=True)
class View:
    """Where what a known space holds is taken from, in what is observed.

    Numbers, and likewise symbols, are counted through all fields of an observation that hold them, in their order in tokens.

    Attributes:
        space: what is observed is read as this one.
        numbers: int64 (C,), for each of its C numbers which of those observed it is; NOTHING where it is not observed: then it is what the
            others let expect, by the moments of the layout.
        symbols: int64 (S,), the same of its symbols; one that is not observed is the smallest of its slot, in MiniGrid a cell out of sight.
        others: path of each of its fields of words or pictures -> the path of the one observed.
    """

    space: spaces.Space
    numbers: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    symbols: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    others: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As JSON."""
        sources = {"numbers": self.numbers.tolist(), "symbols": self.symbols.tolist()}
        return {"space": to_json(self.space), **sources, "others": dict(self.others)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> View:
        """What `to_json` gave."""
        numbers, symbols = (np.array(data[name], np.int64) for name in ("numbers", "symbols"))
        return cls(from_json(data["space"]), numbers, symbols, data["others"])

    def read(self, observed: Sequence[Field], known: Sequence[Field], observations: Any, statistics: Statistics | None) -> Any:
        """T observations as if they were of `space`.

        Args:
            observed, known: the fields of the space that is observed, and of `space`. observations: nested as the first; leaves (T, …).
            statistics: of the numbers of `space`.

        Raises OpenGatoError for a field that has other numbers of values than its space.
        """
        length = len(next(leaf for _, leaf in leaves(observations)))
        numbers = self._read_numbers(_gathered(observed, observations, length, [CONTINUOUS]), statistics)
        symbols = _gathered(observed, observations, length, SYMBOLS)
        found: dict[str, Any] = {}
        seen = {CONTINUOUS: 0, DISCRETE: 0}
        for one in known:
            if one.path in self.others:
                found[one.path] = get_path(observations, self.others[one.path])
                continue
            kind = CONTINUOUS if one.kind == CONTINUOUS else DISCRETE
            begin, count = seen[kind], one.count or 0
            seen[kind] += count
            if kind == CONTINUOUS:
                values = numbers[:, begin : begin + count]
            else:
                assert one.low is not None
                there = (sources := self.symbols[begin : begin + count]) != NOTHING
                values = np.tile(one.low, (length, 1))
                values[:, there] = symbols[:, sources[there]]
            found[one.path] = values.reshape(length, *(one.space.shape or ()))
        return rebuild(self.space, found)

    def _read_numbers(self, numbers: np.ndarray, statistics: Statistics | None) -> np.ndarray:
        """(T, C) from those that are observed, (T, N)."""
        there = self.numbers != NOTHING
        if there.all():
            return numbers[:, self.numbers]
        found = np.zeros((len(numbers), len(self.numbers)))
        found[:, there] = numbers[:, self.numbers[there]]
        if statistics is not None and statistics.count:
            found[:, ~there] = statistics.expected(there, found[:, there])
        return found


def kind_of_values(one: Field) -> int:
    """What an observed field holds: its kind; of a picture that is smaller than a patch, that of a grid of cells.

    MiniGrid's own environments say of their cells that they are a picture of 7 × 7.
    """
    shape = one.space.shape or ()
    if one.kind == IMAGE and max(shape[:2]) < PATCH_SIZE:
        return GRID + shape[2] - 1
    return one.kind


def values_begin(fields: Sequence[Field], kinds: Sequence[int]) -> list[tuple[Field, int, int]]:
    """The observed fields that hold values of these kinds, where those of each begin among those of all, and how many it has."""
    found, begin = [], 0
    for one in fields:
        if kind_of_values(one) in kinds:
            count = int(np.prod(one.space.shape or ()))
            found.append((one, begin, count))
            begin += count
    return found


def _gathered(fields: Sequence[Field], observations: Any, length: int, kinds: Sequence[int]) -> np.ndarray:
    """All values of the fields of these kinds, (T, N)."""
    found = []
    for one, _, count in values_begin(fields, kinds):
        values = np.asarray(get_path(observations, one.path)).reshape(length, -1)
        if values.shape[1] != count:
            raise OpenGatoError(
                f"field {one.path or '(root)'} has {values.shape[1]} values a timestep where its space {one.space} has {count}"
            )
        found.append(values)
    return np.concatenate(found, 1) if found else np.zeros((length, 0))
