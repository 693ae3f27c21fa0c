"""Some timesteps of demonstrations, to try ways of reading them on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from typing import Any

import numpy as np

from opengato.datasets.dataset import Dataset
from opengato.episode import Nested, map_leaves, stack

EPISODES = 20  # demonstrations that are looked at, at most
MOMENTS = 256  # timesteps of them, spread over all


@dataclass(frozen=True)
class Shown:
    """T timesteps of demonstrations."""

    observations: Nested
    actions: Nested
    count: int

    @classmethod
    def of(cls, dataset: Dataset) -> Shown:
        episodes = list(islice(dataset.episodes(), EPISODES))
        each = max(1, MOMENTS // max(1, len(episodes)))
        seen: list[Nested] = []
        done: list[Nested] = []
        for episode in episodes:
            for t in np.unique(np.linspace(0, len(episode) - 1, each).astype(int)):
                seen.append(_at(episode.observations, int(t)))
                done.append(_at(episode.actions, int(t)))
        return cls(stack(seen) if seen else [], stack(done) if done else [], len(seen))

    @cached_property
    def shuffled(self) -> Shown:
        """The actions beside the observations of other timesteps."""
        order = np.roll(np.random.default_rng(0).permutation(self.count), 1)

        def taken(leaf: Any) -> Any:
            return [leaf[t] for t in order] if isinstance(leaf, list) else leaf[order]

        return replace(self, observations=map_leaves(taken, self.observations))


def _at(nested: Nested, t: int) -> Nested:
    """One timestep; leaves may be lazy."""
    return map_leaves(lambda leaf: leaf[t] if isinstance(leaf, list) else np.asarray(leaf[t : t + 1])[0], nested)
