"""How a checkpoint best reads spaces that it has never seen: as that one of those it knows by which it foretells demonstrations best.

Every observed value must find a place. Where it may be is proposed by the names of fields, by their order, and by how numbers are
distributed; which proposal is right the network itself says, by the likelihood of what was demonstrated.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations, islice, product
from typing import Any

import numpy as np
import torch

from opengato.checkpoint import Checkpoint
from opengato.console import notice
from opengato.datasets.dataset import Dataset
from opengato.datasets.open import find_dataset
from opengato.datasets.reading import Reading as DatasetReading
from opengato.episode import Nested, map_leaves, stack
from opengato.errors import OpenGatoError
from opengato.layouts import same_observed
from opengato.mixture.packing import Loose, Piece, pack
from opengato.model.batch import collate
from opengato.tokens.compact import Form
from opengato.tokens.encode import encode_timesteps
from opengato.tokens.layout import Field, Layout
from opengato.tokens.nested import get_path
from opengato.tokens.statistics import Statistics
from opengato.tokens.view import NOTHING, View
from opengato.tokens.vocabulary import ACTION_DISCRETE, ACTION_TEXT, CONTINUOUS, DISCRETE, GRIDS, IMAGE, TEXT

EPISODES = 20  # demonstrations that are looked at, at most
MOMENTS = 256  # timesteps of them, spread over all
SAVED = 0.25  # of the nats of an action, by what is observed beside it: less may be chance, or a body that moves alike
REFINED = 3  # of the spaces that it knows, in how many every field is tried in all places
BEAM = 8  # ways of placing some fields that are gone on with
FEW_NUMBERS = 10  # up to so many may stand in any order: the more there are, the more is found that is not so
_SMALL = 1e-3  # deviations below it are alike


@dataclass(frozen=True)
class Reading:
    """A way of reading a space, and how well the agent foretells what was demonstrated.

    Attributes:
        layout: of the new space, with the view. like: a task of the agent's whose space it is read as.
        loss: mean nats of a demonstrated action. chance: the same where each action stands beside what was observed at another time.
    """

    layout: Layout
    like: str
    loss: float
    chance: float

    @property
    def view(self) -> View:
        """That of the layout."""
        assert self.layout.view is not None
        return self.layout.view

    @property
    def saved(self) -> float:
        """The share of an action's nats that what is observed saves."""
        return 1 - self.loss / self.chance if self.chance > 0 else 0.0


def find_view(agent: Checkpoint, dataset: Dataset) -> Reading | None:
    """The best reading of a dataset's observations as a space that the agent knows; None where there is none by which it foretells much.

    Deterministic. Some seconds of a core.
    """
    plain = Layout(dataset.observation_space, dataset.action_space)
    if any(one.kind == ACTION_TEXT for one in plain.action):
        return None
    shown = _Shown.of(dataset)
    moments = _Moments.of(plain, shown.observations)
    found = []
    for like, known in _alike(agent.layouts, plain).items():
        search = _Search(agent, plain, like, known, shown, moments)
        if (first := search.first()) is not None:
            found.append((first, search))
    found.sort(key=lambda one: -one[0].saved)
    best = max((search.refined(first) for first, search in found[:REFINED]), key=lambda reading: reading.saved, default=None)
    return best if best is not None and best.saved >= SAVED else None


def find_views(agent: Checkpoint, names: Sequence[str], reading: DatasetReading | None = None) -> dict[str, Layout]:
    """By the names of datasets, the layouts of those observed in spaces that the agent does not know but can read as one that it does.

    Says what was found. One that an earlier fine-tuning found is kept to.
    """
    found: dict[str, Layout] = {}
    for name in names:
        dataset = find_dataset(name, reading)
        known = same_observed(agent.layouts, dataset.observation_space)
        if known is not None:
            if known.view is not None:
                found[name] = Layout(dataset.observation_space, dataset.action_space, known.statistics, known.view)
            continue
        best = find_view(agent, dataset)
        if best is None:
            continue
        found[name] = best.layout
        notice(
            f"{name}: the checkpoint does not know what is observed; it is read as in {best.like}, by which it foretells the demonstrated "
            f"actions in {best.loss:.2f} nats in place of {best.chance:.2f} ({described(best.layout)})"
        )
    return found


def described(layout: Layout) -> str:
    """What of a layout's view is read as what, in runs of places."""
    assert layout.view is not None
    plain = Layout(layout.observation_space, layout.action_space)
    parts = [f"{source or 'observation'} as {path or 'observation'}" for path, source in layout.view.others.items()]
    for kinds, sources in (([CONTINUOUS], layout.view.numbers), ((DISCRETE, *GRIDS), layout.view.symbols)):
        there = _begins(layout.observation, kinds)
        for one, begin in _begins(plain.observation, kinds):
            at = [int(place) for value in range(begin, begin + (one.count or 0)) for place in np.flatnonzero(sources == value)]
            field, first = max((part for part in there if part[1] <= at[0]), key=lambda part: part[1])
            begins = [place - first for number, place in enumerate(at) if number == 0 or place != at[number - 1] + 1]
            where = f" from {begins[0]}" if len(begins) == 1 else f" at {', '.join(str(place - first) for place in at)}"
            parts.append(f"{one.path or 'observation'} as {field.path or 'observation'}{where if one.kind == CONTINUOUS else ''}")
    return "; ".join(parts)


@dataclass(frozen=True)
class _Shown:
    """T timesteps of demonstrations."""

    observations: Nested
    actions: Nested
    count: int

    @classmethod
    def of(cls, dataset: Dataset) -> _Shown:
        episodes = list(islice(dataset.episodes(), EPISODES))
        each = max(1, MOMENTS // max(1, len(episodes)))
        seen: list[Nested] = []
        done: list[Nested] = []
        for episode in episodes:
            for t in np.unique(np.linspace(0, len(episode) - 1, each).astype(int)):
                seen.append(_at(episode.observations, int(t)))
                done.append(_at(episode.actions, int(t)))
        return cls(stack(seen), stack(done), len(seen))

    @cached_property
    def shuffled(self) -> _Shown:
        """The actions beside the observations of other timesteps."""
        order = np.roll(np.random.default_rng(0).permutation(self.count), 1)

        def taken(leaf: Any) -> Any:
            return [leaf[t] for t in order] if isinstance(leaf, list) else leaf[order]

        return replace(self, observations=map_leaves(taken, self.observations))


def _at(nested: Nested, t: int) -> Nested:
    """One timestep; leaves may be lazy."""
    return map_leaves(lambda leaf: leaf[t] if isinstance(leaf, list) else np.asarray(leaf[t : t + 1])[0], nested)


def _alike(layouts: Mapping[str, Layout], plain: Layout) -> dict[str, Layout]:
    """By a task of each, the different layouts of the agent whose actions are those of `plain`."""
    wanted, found, seen = _choices(plain), {}, set()
    for task, layout in layouts.items():
        if id(layout) not in seen and layout.view is None and _choices(layout) == wanted:
            seen.add(id(layout))
            found[task] = layout
    return found


def _choices(layout: Layout) -> list[Any]:
    """What can be chosen: of every field of the action its kind, how many numbers, and how many values each has, if so many."""
    sizes = [one.high.tolist() if one.kind == ACTION_DISCRETE and one.high is not None else None for one in layout.action]
    return [(one.kind, one.count, size) for one, size in zip(layout.action, sizes)]


def _loss(agent: Checkpoint, layout: Layout, shown: _Shown) -> float | None:
    """Mean nats of a demonstrated action, each timestep seen alone; None where an observation is none of the space it is read as."""
    try:
        encoded = encode_timesteps(layout, agent.tokenizer, shown.observations, shown.actions, shown.count)
    except OpenGatoError:
        return None
    config, every = agent.model.config, np.arange(shown.count)
    _, starts = config.fold.positions(encoded.kinds, encoded.offsets)
    piece = Piece(Loose(encoded, Form(layout)), layout, 0, every, every, np.zeros_like(every), 0)  # type: ignore[arg-type]
    batch = collate([pack([piece], int(starts[-1]), config.fold, np.random.default_rng(0))], config)
    with torch.inference_mode(), agent.model.autocast():
        losses = agent.model(batch.to(agent.model.table.device)).float().cpu()
    return float(losses.sum()) / shown.count


@dataclass(frozen=True)
class _Search:
    """Among the ways of reading the space of `plain` as that of `known`, the agent's layout of the task `like`."""

    agent: Checkpoint
    plain: Layout
    like: str
    known: Layout
    shown: _Shown
    moments: _Moments

    def reading(self, view: View) -> Reading | None:
        """How well the agent foretells so; None where an observation is none of the known space."""
        layout = self.known.seen(self.plain.observation_space, view)
        loss = _loss(self.agent, layout, self.shown)
        chance = _loss(self.agent, layout, self.shown.shuffled)
        return None if loss is None or chance is None else Reading(layout, self.like, loss, chance)

    def first(self) -> Reading | None:
        """The best of what names, order and moments propose; None where not everything that is observed finds a place."""
        readings = [self.reading(view) for view in _proposals(self.plain, self.known, self.moments)]
        return max((one for one in readings if one is not None), key=lambda one: one.saved, default=None)

    def refined(self, reading: Reading) -> Reading:
        """The same or a better one: every field of numbers where it serves best, all of them tried together; few numbers in any order."""
        blocks = [begin + np.arange(one.count or 0) for one, begin in _begins(self.plain.observation, [CONTINUOUS])]
        empty = replace(reading.view, numbers=np.full(self.known.numbers, NOTHING))
        partial: list[tuple[View, frozenset[int]]] = [(empty, frozenset())]
        for _ in blocks:
            longer: dict[bytes, tuple[Reading, frozenset[int]]] = {}
            for view, placed in partial:
                for number in set(range(len(blocks))) - placed:
                    for found in self._placed(view, blocks[number]):
                        longer.setdefault(found.view.numbers.tobytes(), (found, placed | {number}))
            kept = sorted(longer.values(), key=lambda one: -one[0].saved)[:BEAM]
            partial = [(found.view, placed) for found, placed in kept]
            last = [found for found, _ in kept]
        complete = [reading, *last] if blocks else [reading]
        for block in blocks:  # with all others in their places
            complete.extend(self._placed(max(complete, key=lambda one: one.saved).view, block))
        best = max(complete, key=lambda one: one.saved)
        return self._in_any_order(best) if sum(map(len, blocks)) <= FEW_NUMBERS else best

    def _placed(self, view: View, block: np.ndarray) -> Iterator[Reading]:
        """Readings with these observed numbers in a row, wherever no others stand."""
        emptied = np.where(np.isin(view.numbers, block), NOTHING, view.numbers)
        for place in range(len(emptied) - len(block) + 1):
            if (emptied[place : place + len(block)] == NOTHING).all():
                found = self.reading(replace(view, numbers=_with(emptied, place, block)))
                if found is not None:
                    yield found

    def _in_any_order(self, reading: Reading) -> Reading:
        """The same or a better one, one number after the other moved to where it serves best, for what stands there."""
        before = None
        while reading is not before:
            before = reading
            for place, other in combinations(range(self.known.numbers), 2):
                numbers = reading.view.numbers.copy()
                numbers[[place, other]] = numbers[[other, place]]
                moved = self.reading(replace(reading.view, numbers=numbers))
                if moved is not None and moved.saved > reading.saved:
                    reading = moved
        return reading


# ---- where things may be


@dataclass(frozen=True)
class _Moments:
    """Mean and standard deviation of N numbers, float64 (N,) each."""

    mean: np.ndarray
    deviation: np.ndarray

    @classmethod
    def of(cls, plain: Layout, observations: Nested) -> _Moments:
        """Of the numbers that are observed."""
        parts = [np.asarray(get_path(observations, one.path)) for one in plain.observation if one.kind == CONTINUOUS]
        values = np.concatenate([part.reshape(len(part), -1) for part in parts], 1) if parts else np.zeros((1, 0))
        return cls(values.mean(0), values.std(0))

    @classmethod
    def known(cls, statistics: Statistics | None, count: int) -> _Moments:
        """Of those that the agent has learned with."""
        if statistics is None:
            return cls(np.zeros(count), np.ones(count))
        return cls(statistics.mean, np.sqrt(np.diag(statistics.products) / max(statistics.count, 1)))

    def apart(self, other: _Moments) -> np.ndarray:
        """How unlike each of these N numbers is each of the other C, (N, C)."""
        spread = self.deviation[:, None] + other.deviation + _SMALL
        wider = np.abs(np.log((self.deviation[:, None] + _SMALL) / (other.deviation + _SMALL)))
        return np.abs(self.mean[:, None] - other.mean) / spread + wider


def _proposals(plain: Layout, known: Layout, moments: _Moments) -> Iterator[View]:
    """Views that find a place for everything that is observed."""
    others = _others(plain.observation, known.observation)
    if others is None:
        return
    apart = moments.apart(_Moments.known(known.statistics, known.numbers))
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


def _begins(fields: Sequence[Field], kinds: Sequence[int]) -> list[tuple[Field, int]]:
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
    here, there = (_begins(layout.observation, [CONTINUOUS]) for layout in (plain, known))
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
    here, there = (_begins(layout.observation, kinds) for layout in (plain, known))
    room = sum(one.count or 0 for one, _ in there)
    found = [np.full(room, NOTHING)]
    for one, begin in here:
        same = [(other, place) for other, place in there if other.kind == one.kind]
        named = [(other, place) for other, place in same if other.path == one.path] or same
        if len(named) != 1:
            return []
        other, place = named[0]
        ways = list(_inside(one, other, begin)) if one.kind in GRIDS else [begin + np.arange(one.count or 0)] * (one.count == other.count)
        found = [_with(places, place, way) for places, way in product(found, ways)]
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


def _with(places: np.ndarray, begin: int, way: np.ndarray) -> np.ndarray:
    places = places.copy()
    places[begin : begin + len(way)] = way
    return places
