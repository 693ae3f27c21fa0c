"""Where what is observed may stand in a space that is known: by the names of fields, by their order, and by how numbers are distributed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from opengato.episode import Nested
from opengato.tokens.fields import Field
from opengato.tokens.layout import Layout
from opengato.tokens.nested import get_path
from opengato.tokens.statistics import Statistics
from opengato.tokens.view import NOTHING, View
from opengato.tokens.vocabulary import CONTINUOUS, DISCRETE, GRIDS, IMAGE, TEXT

FARTHEST = 4.0  # deviations of a known number that another may be from its mean, to be read as it
_SMALL = 1e-3  # deviations below it are alike


@dataclass(frozen=True)
class Moments:
    """Mean and standard deviation of N numbers, float64 (N,) each."""

    mean: np.ndarray
    deviation: np.ndarray

    @classmethod
    def of(cls, plain: Layout, observations: Nested) -> Moments:
        """Of the numbers that are observed."""
        parts = [np.asarray(get_path(observations, one.path)) for one in plain.observation if one.kind == CONTINUOUS]
        values = np.concatenate([part.reshape(len(part), -1) for part in parts], 1) if parts else np.zeros((1, 0))
        return cls(values.mean(0), values.std(0))

    @classmethod
    def known(cls, statistics: Statistics | None, count: int) -> Moments:
        """Of those that the agent has learned with."""
        if statistics is None:
            return cls(np.zeros(count), np.ones(count))
        return cls(statistics.mean, np.sqrt(np.diag(statistics.products) / max(statistics.count, 1)))

    def fits(self, other: Moments) -> np.ndarray:
        """Whether each of these N numbers is mostly where each of the other C has been, bool (N, C)."""
        found: np.ndarray = np.abs(self.mean[:, None] - other.mean) + self.deviation[:, None] <= FARTHEST * other.deviation + _SMALL
        return found

    def apart(self, other: Moments) -> np.ndarray:
        """How unlike each of these N numbers is each of the other C, (N, C)."""
        spread = self.deviation[:, None] + other.deviation + _SMALL
        wider = np.abs(np.log((self.deviation[:, None] + _SMALL) / (other.deviation + _SMALL)))
        return np.abs(self.mean[:, None] - other.mean) / spread + wider


def proposals(plain: Layout, known: Layout, moments: Moments) -> Iterator[View]:
    """Views that find a place for everything that is observed."""
    others = _others(plain.observation, known.observation)
    if others is None:
        return
    apart = moments.apart(Moments.known(known.statistics, known.numbers))
    for numbers, symbols in product(_of_numbers(plain, known, apart), _of_symbols(plain, known)):
        yield View(known.observation_space, numbers, symbols, others)


def _others(observed: Sequence[Field], known: Sequence[Field]) -> dict[str, str] | None:
    """Words and pictures: those of the same name, or the only ones; None where one of either side has no counterpart."""
    found: dict[str, str] = {}
    for kind in (TEXT, IMAGE):
        here, there = ([one for one in fields if one.kind == kind] for fields in (observed, known))
        if len(here) != len(there):
            return None
        for one in there:
            source = next((other for other in here if other.path == one.path), here[0] if len(here) == 1 else None)
            if source is None or (kind == IMAGE and source.space.shape != one.space.shape):
                return None
            found[one.path] = source.path
    return found


def begins(fields: Sequence[Field], kinds: Sequence[int]) -> list[tuple[Field, int]]:
    """The fields of these kinds, and where the values of each begin among those of all."""
    found, begin = [], 0
    for one in fields:
        if one.kind in kinds:
            found.append((one, begin))
            begin += one.count or 0
    return found


def _of_numbers(plain: Layout, known: Layout, apart: np.ndarray) -> list[np.ndarray]:
    """Places of numbers: fields by their names and then by their moments, in their order, or each number for itself."""
    count, room = apart.shape
    if count > room:
        return []
    here, there = (begins(layout.observation, [CONTINUOUS]) for layout in (plain, known))
    named = np.full(room, NOTHING)
    for one, begin in here:
        for other, place in there:
            if (one.path, one.count) == (other.path, other.count):
                named[place : place + (other.count or 0)] = begin + np.arange(one.count or 0)
    in_blocks, in_order = named.copy(), np.append(np.arange(count), np.full(room - count, NOTHING))
    for one, begin in sorted(here, key=lambda part: -(part[0].count or 0)):
        size = one.count or 0
        if (in_blocks == begin).any():
            continue
        free = [place for place in range(room - size + 1) if (in_blocks[place : place + size] == NOTHING).all()]
        if free:
            place = min(free, key=lambda place: float(np.trace(apart[begin : begin + size, place : place + size])))
            in_blocks[place : place + size] = begin + np.arange(size)
    found = [_completed(start, apart) for start in (named, in_blocks, np.full(room, NOTHING))] + [in_order]
    return list({one.tobytes(): one for one in found}.values())


def _completed(places: np.ndarray, apart: np.ndarray) -> np.ndarray:
    """Every number that has no place yet gets the free one that is most like it, the most alike first."""
    places = places.copy()
    left = np.array([number not in places for number in range(len(apart))], bool)
    cost = np.where(left[:, None] & (places == NOTHING), apart, np.inf)
    for _ in range(int(left.sum())):
        number, place = np.unravel_index(np.argmin(cost), cost.shape)
        places[place] = number
        cost[number], cost[:, place] = np.inf, np.inf
    return places


def _of_symbols(plain: Layout, known: Layout) -> list[np.ndarray]:
    """Places of symbols: a grid anywhere inside one of as many symbols a cell, other fields by their names, or if there is one only."""
    kinds = (DISCRETE, *GRIDS)
    here, there = (begins(layout.observation, kinds) for layout in (plain, known))
    room = sum(one.count or 0 for one, _ in there)
    found = [np.full(room, NOTHING)]
    for one, begin in here:
        same = [(other, place) for other, place in there if other.kind == one.kind]
        named = [(other, place) for other, place in same if other.path == one.path] or same
        if len(named) != 1:
            return []
        other, place = named[0]
        ways = list(_inside(one, other, begin)) if one.kind in GRIDS else [begin + np.arange(one.count or 0)] * (one.count == other.count)
        found = [put(places, place, way) for places, way in product(found, ways)]
    return found


def _inside(one: Field, other: Field, begin: int) -> Iterator[np.ndarray]:
    """A grid's symbols at every place of another that has room for it, as sources of the other's symbols."""
    size, room = one.space.shape, other.space.shape
    assert size is not None and room is not None
    if len(size) != len(room):
        return
    for down, right in product(range(room[0] - size[0] + 1), range(room[1] - size[1] + 1)):
        places = np.full(room, NOTHING)
        places[down : down + size[0], right : right + size[1]] = begin + np.arange(one.count or 0).reshape(size)
        yield places.ravel()


def put(places: np.ndarray, begin: int, way: np.ndarray) -> np.ndarray:
    places = places.copy()
    places[begin : begin + len(way)] = way
    return places
