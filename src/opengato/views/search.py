"""Ways of reading one space as another, tried by how well an agent foretells with each what was demonstrated."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations

import numpy as np
import torch

from opengato.checkpoint import Checkpoint
from opengato.errors import OpenGatoError
from opengato.mixture.packing import Loose, Piece, pack
from opengato.model.batch import collate
from opengato.tokens.compact import Form
from opengato.tokens.encode import encode_timesteps
from opengato.tokens.layout import Layout
from opengato.tokens.view import NOTHING, View, values_begin
from opengato.tokens.vocabulary import CONTINUOUS
from opengato.views.proposals import Moments, proposals, put
from opengato.views.shown import Shown

REFINED_FIELDS = 4  # up to so many fields of numbers are tried in all places together
BEAM = 8  # ways of placing some of them that are gone on with
FEW_NUMBERS = 10  # up to so many may stand in any order: the more there are, the more is found that is not so


@dataclass(frozen=True)
class ReadAs:
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


@dataclass(frozen=True)
class Search:
    """Among the ways of reading the space of `plain` as that of `known`, the agent's layout of the task `like`."""

    agent: Checkpoint
    plain: Layout
    like: str
    known: Layout
    shown: Shown
    moments: Moments

    def reading(self, view: View) -> ReadAs | None:
        """How well the agent foretells so; None where an observation is none of the known space."""
        layout = self.known.seen(self.plain.observation_space, view)
        loss = _loss(self.agent, layout, self.shown)
        chance = _loss(self.agent, layout, self.shown.shuffled)
        return None if loss is None or chance is None else ReadAs(layout, self.like, loss, chance)

    @cached_property
    def _fits(self) -> np.ndarray:
        """Which observed numbers (N) may be read as which of the known ones (C), bool (N, C), see `Moments.fits`."""
        return self.moments.fits(Moments.known(self.known.statistics, self.known.numbers))

    def _all_fit(self, numbers: np.ndarray) -> bool:
        """Whether each known number, int64 (C,) as in `View`, that is observed may be read as it is."""
        there = np.flatnonzero(numbers != NOTHING)
        return bool(self._fits[numbers[there], there].all())

    def first(self) -> ReadAs | None:
        """The best of what names, order and moments propose; None where not everything that is observed finds a place that fits."""
        readings = [self.reading(view) for view in proposals(self.plain, self.known, self.moments) if self._all_fit(view.numbers)]
        return max((one for one in readings if one is not None), key=lambda one: one.saved, default=None)

    def refined(self, reading: ReadAs) -> ReadAs:
        """The same or a better one: every field of numbers where it serves best, all of them tried together; few numbers in any order."""
        blocks = [begin + np.arange(size) for _, begin, size in values_begin(self.plain.observation, [CONTINUOUS])]
        if not blocks or len(blocks) > REFINED_FIELDS:
            return reading
        last: list[ReadAs] = []
        empty = replace(reading.view, numbers=np.full(self.known.numbers, NOTHING))
        partial: list[tuple[View, frozenset[int]]] = [(empty, frozenset())]
        for _ in blocks:
            longer: dict[bytes, tuple[ReadAs, frozenset[int]]] = {}
            for view, placed in partial:
                for number in set(range(len(blocks))) - placed:
                    for found in self._placed(view, blocks[number]):
                        longer.setdefault(found.view.numbers.tobytes(), (found, placed | {number}))
            kept = sorted(longer.values(), key=lambda one: -one[0].saved)[:BEAM]
            partial = [(found.view, placed) for found, placed in kept]
            last = [found for found, _ in kept]
        complete = [reading, *last]
        for block in blocks:  # with all others in their places
            complete.extend(self._placed(max(complete, key=lambda one: one.saved).view, block))
        best = max(complete, key=lambda one: one.saved)
        return self._in_any_order(best) if self.known.numbers <= FEW_NUMBERS else best

    def _placed(self, view: View, block: np.ndarray) -> Iterator[ReadAs]:
        """Readings with these observed numbers in a row, wherever no others stand and they fit."""
        emptied = np.where(np.isin(view.numbers, block), NOTHING, view.numbers)
        for place in range(len(emptied) - len(block) + 1):
            if (emptied[place : place + len(block)] == NOTHING).all() and self._fits[block, place + np.arange(len(block))].all():
                found = self.reading(replace(view, numbers=put(emptied, place, block)))
                if found is not None:
                    yield found

    def _in_any_order(self, reading: ReadAs) -> ReadAs:
        """The same or a better one, one number after the other moved to where it serves best, for what stands there."""
        before = None
        while reading is not before:
            before = reading
            for place, other in combinations(range(self.known.numbers), 2):
                numbers = reading.view.numbers.copy()
                numbers[[place, other]] = numbers[[other, place]]
                moved = self.reading(replace(reading.view, numbers=numbers)) if self._all_fit(numbers) else None
                if moved is not None and moved.saved > reading.saved:
                    reading = moved
        return reading


def _loss(agent: Checkpoint, layout: Layout, shown: Shown) -> float | None:
    """Mean nats of a demonstrated action, each timestep seen alone; None where an observation is none of the space it is read as."""
    try:
        encoded = encode_timesteps(layout, agent.tokenizer, shown.observations, shown.actions, shown.count)
    except OpenGatoError:
        return None
    config, form = agent.model.config, Form(layout)
    _, starts = config.fold.positions(encoded.kinds, encoded.offsets)
    longest = int(np.diff(starts).max())
    together = max(1, config.context // longest)
    sequences = []
    for first in range(0, shown.count, together):
        some = np.arange(first, min(first + together, shown.count))
        piece = Piece(Loose(encoded, form), layout, 0, some, some - first, np.zeros_like(some), 0)  # type: ignore[arg-type]
        sequences.append(pack([piece], together * longest, config.fold, np.random.default_rng(0)))
    batch = collate(sequences, config).to(agent.model.table.device)
    with torch.inference_mode(), agent.model.autocast():
        return float(agent.model(batch).float().sum()) / shown.count
