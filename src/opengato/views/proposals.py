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
from opengato.tokens.view import NOTHING, SYMBOLS, View, kind_of_values, values_begin
from opengato.tokens.vocabulary import CONTINUOUS, GRIDS, IMAGE, TEXT

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
    named = others(plain.observation, known.observation)
    if named is None:
        return
    apart = moments.apart(Moments.known(known.statistics, known.numbers))
    for numbers, symbols in product(_of_numbers(plain, known, apart), _of_symbols(plain, known)):
        yield View(known.observation_space, numbers, symbols, named)


def others(observed: Sequence[Field], known: Sequence[Field]) -> dict[str, str] | None:
    """Words and pictures: those of the same name, or the only ones; None where one of either side has no counterpart."""
    found: dict[str, str] = {}
    for kind in (TEXT, IMAGE):
        here, there = ([one for one in fields if kind_of_values(one) == kind] for fields in (observed, known))
        if len(here) != len(there):
            return None
        for one in there:
            source = next((other for other in here if other.path == one.path), here[0] if len(here) == 1 else None)
            if source is None or (kind == IMAGE and source.space.shape != one.space.shape):
                return None
            found[one.path] = source.path
    return found


def _of_numbers(plain: Layout, known: Layout, apart: np.ndarray) -> list[np.ndarray]:
    """Places of numbers: fields by their names and then by their moments, in their order, or each number for itself."""
    count, room = apart.shape
    if count > room:
        return []
    here, there = (values_begin(layout.observation, [CONTINUOUS]) for layout in (plain, known))
    named = np.full(room, NOTHING)
    for one, begin, size in here:
        for other, place, same in there:
            if (one.path, size) == (other.path, same):
                named[place : place + size] = begin + np.arange(size)
    in_blocks, in_order = named.copy(), np.append(np.arange(count), np.full(room - count, NOTHING))
    for _, begin, size in sorted(here, key=lambda part: -part[2]):
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
    here, there = (values_begin(layout.observation, SYMBOLS) for layout in (plain, known))
    if any(one.kind == IMAGE for one, _, _ in there):
        return []  # what it has learned to look at as a picture is none of symbols
    found = [np.full(sum(size for _, _, size in there), NOTHING)]
    for one, begin, count in here:
        kind = kind_of_values(one)
        same = [(other, place) for other, place, _ in there if other.kind == kind]
        named = [(other, place) for other, place in same if other.path == one.path] or same
        if len(named) != 1:
            return []
        other, place = named[0]
        own = begin + np.arange(count)
        ways = list(_inside(own.reshape(one.space.shape or ()), other)) if kind in GRIDS else [own] * (count == other.count)
        found = [put(places, place, way) for places, way in product(found, ways)]
    return found


def _inside(own: np.ndarray, other: Field) -> Iterator[np.ndarray]:
    """The sources of a grid's symbols, where another, whose are `own`, is a part of it: anywhere that has room."""
    size, room = own.shape, other.space.shape
    assert room is not None
    if len(size) != len(room):
        return
    for down, right in product(range(room[0] - size[0] + 1), range(room[1] - size[1] + 1)):
        places = np.full(room, NOTHING)
        places[down : down + size[0], right : right + size[1]] = own
        yield places.ravel()


def put(places: np.ndarray, begin: int, way: np.ndarray) -> np.ndarray:
    """Sources with those of `way` from `begin` on in place of what was there."""
    places = places.copy()
    places[begin : begin + len(way)] = way
    return places
