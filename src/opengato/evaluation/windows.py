"""Parts of episodes as a network reads them in one pass: several at a time, without prompts, each from its beginning."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from opengato.checkpoint import Checkpoint
from opengato.episode import Episode, map_leaves
from opengato.mixture import Sequence as Packed
from opengato.mixture.packing import Loose, pack_alone
from opengato.model.batch import Batch, collate
from opengato.tokens.layout import Layout

_TOGETHER = 8  # windows a batch
_GRAIN = 64  # their lengths are multiples of it


@dataclass(frozen=True)
class Window(Loose):
    """Some of an episode's tokens; `size`: how many positions they take, at most the context."""

    size: int


def in_memory(episode: Episode) -> Episode:
    """The episode with all of its leaves read."""
    observations, actions = (
        map_leaves(lambda leaf: leaf if isinstance(leaf, list) else np.asarray(leaf), nested)
        for nested in (episode.observations, episode.actions)
    )
    return Episode(observations, actions, episode.rewards, episode.task)


def batches(checkpoint: Checkpoint, layout: Layout, windows: Sequence[Window]) -> Iterator[tuple[list[Packed], Batch]]:
    """The windows in order, a row each, some at a time: as sequences, and as a batch on the network's device."""
    config, rng = checkpoint.model.config, np.random.default_rng(0)
    for first in range(0, len(windows), _TOGETHER):
        part = windows[first : first + _TOGETHER]
        length = min(-(-max(window.size for window in part) // _GRAIN) * _GRAIN, config.context)
        sequences = [pack_alone(window, layout, length, config.fold, rng) for window in part]
        yield sequences, collate(sequences, config).to(checkpoint.model.table.device)
