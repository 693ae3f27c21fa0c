"""A dataset whose observations are read as another space, which an agent has learned to read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from gymnasium import spaces

from opengato.datasets.dataset import Dataset
from opengato.episode import Episode, map_leaves
from opengato.tokens.layout import Layout


@dataclass(frozen=True)
class Viewed:
    """`source` as `layout` reads it, which has a view; attributes as in `Dataset`."""

    source: Dataset
    layout: Layout

    @cached_property
    def _digest(self) -> str:
        return hashlib.blake2b(json.dumps(self.layout.to_json(), sort_keys=True).encode(), digest_size=8).hexdigest()

    @property
    def name(self) -> str:
        return f"{self.source.name}, read as {self._digest}"

    @property
    def task(self) -> str:
        return self.source.task

    @property
    def observation_space(self) -> spaces.Space:
        """What the observations are read as."""
        assert self.layout.view is not None
        return self.layout.view.space

    @property
    def action_space(self) -> spaces.Space:
        return self.source.action_space

    @property
    def fingerprint(self) -> str:
        return f"{self.source.fingerprint} {self._digest}"

    def episodes(self, start: int = 0) -> Iterator[Episode]:
        for episode in self.source.episodes(start):
            yield replace(episode, observations=self.layout.read(map_leaves(_loaded, episode.observations)))

    def count(self) -> int | None:
        return self.source.count()

    def mark(self, count: int) -> str | None:
        mark = self.source.mark(count)
        return None if mark is None else f"{mark} {self._digest}"


def _loaded(leaf: Any) -> Any:
    return leaf if isinstance(leaf, list) else np.asarray(leaf)
