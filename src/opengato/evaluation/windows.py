"""Parts of episodes as a network reads them in one pass: several at a time, without prompts, each from its beginning."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from opengato.checkpoint import Checkpoint
from opengato.episode import Episode, map_leaves
from opengato.mixture import Sequence as Packed
from opengato.mixture.packing import Piece, pack
from opengato.model.batch import Batch, collate
from opengato.tokens.compact import Form
from opengato.tokens.encode import Encoded
from opengato.tokens.layout import Layout

_TOGETHER = 8  # windows a batch
_GRAIN = 64  # their lengths are multiples of it


@dataclass(frozen=True)
class Window:
    """Some of an episode's tokens, as `pack` asks a dataset for them; `size`: how many positions they take, at most the context."""

    encoded: Encoded
    form: Form
    size: int

    def gather(self, timesteps: np.ndarray, into: np.ndarray | None = None) -> Encoded:
        found = self.encoded.take(timesteps)
        if into is not None:
            into[:] = found.patches
        return found


def in_memory(episode: Episode) -> Episode:
    """The episode with all of its leaves read."""
    observations, actions = (
        map_leaves(lambda leaf: leaf if isinstance(leaf, list) else np.asarray(leaf), nested)
        for nested in (episode.observations, episode.actions)
    )
    return Episode(observations, actions, episode.rewards, episode.task)


def batches(checkpoint: Checkpoint, layout: Layout, windows: Sequence[Window]) -> Iterator[tuple[list[Packed], Batch]]:
    """The windows in order, a row each, some at a time: as sequences, and as a batch on the network's device."""
    config, rng, zero = checkpoint.model.config, np.random.default_rng(0), np.zeros(1, np.int64)
    for first in range(0, len(windows), _TOGETHER):
        part = windows[first : first + _TOGETHER]
        length = min(-(-max(window.size for window in part) // _GRAIN) * _GRAIN, config.context)
        sequences = []
        for window in part:
            steps = np.arange(len(window.encoded))
            piece = Piece(window, layout, 0, steps, zero.repeat(len(steps)), zero.repeat(len(steps)), 0)  # type: ignore[arg-type]
            sequences.append(pack([piece], length, config.fold, rng))
        yield sequences, collate(sequences, config).to(checkpoint.model.table.device)
