"""How likely an agent finds what is said in an episode: nats of every token of its answers, however long they are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from opengato.checkpoint import Checkpoint
from opengato.episode import Episode, map_leaves
from opengato.mixture.packing import Loose, pack_alone
from opengato.model.batch import collate
from opengato.tokens.compact import Form
from opengato.tokens.encode import Encoded, encode
from opengato.tokens.layout import Layout
from opengato.tokens.vocabulary import IS_TARGET

_TOGETHER = 8  # windows a batch
_GRAIN = 64  # their lengths are multiples of it


@dataclass(frozen=True)
class _Window(Loose):
    """Some of an episode's tokens, how many positions they take, and how many of the last targets count."""

    size: int
    counted: int


def said_nats(checkpoint: Checkpoint, layout: Layout, episodes: Iterable[Episode]) -> Iterator[np.ndarray]:
    """Of every episode float32 (N,), nats of the tokens that are said in it, each after what came before it in the episode.

    Where an episode is longer than the context it is read in windows: of whole timesteps, or of a long text such that every word but the
    first ones has at least half a context of the text before it.
    """
    form, fold, context = Form(layout), checkpoint.model.config.fold, checkpoint.model.config.context
    for episode in episodes:
        observations, actions = (map_leaves(_loaded, nested) for nested in (episode.observations, episode.actions))
        loaded = Episode(observations, actions, episode.rewards, episode.task)
        encoded = encode(layout, loaded, checkpoint.tokenizer)
        starts = fold.positions(encoded.kinds, encoded.offsets)[1]
        windows: list[_Window] = []
        first = 0
        while first < len(encoded):
            stop = max(int(np.searchsorted(starts, starts[first] + context, side="right")) - 1, first + 1)
            part, size = encoded.take(np.arange(first, stop)), int(starts[stop] - starts[first])
            if size <= context:
                windows.append(_Window(part, form, size, int((part.kinds >= IS_TARGET).sum())))
            else:
                windows += _runs(part, form, size, context)
            first = stop
        yield _nats(checkpoint, layout, windows)


def _loaded(leaf: object) -> object:
    return leaf if isinstance(leaf, list) else np.asarray(leaf)


def _runs(timestep: Encoded, form: Form, size: int, context: int) -> Iterator[_Window]:
    """A long text in runs of words that overlap by half, each after what the text answers to."""
    head = int(np.flatnonzero(timestep.kinds >= IS_TARGET)[0])
    words = len(timestep.kinds) - head
    room = context - (size - words)
    done = 0
    while done < words:
        begin = max(0, done - room // 2)
        end = min(begin + room, words)
        keep = np.append(np.arange(head), np.arange(head + begin, head + end))
        tokens, kinds, local = (getattr(timestep, name)[keep] for name in ("tokens", "kinds", "local"))
        part = Encoded(tokens, kinds, local, np.array([0, len(keep)]), timestep.patches, timestep.boxes)
        yield _Window(part, form, context, end - done)
        done = end


@torch.inference_mode()
def _nats(checkpoint: Checkpoint, layout: Layout, windows: Sequence[_Window]) -> np.ndarray:
    config, rng = checkpoint.model.config, np.random.default_rng(0)
    losses = []
    for first in range(0, len(windows), _TOGETHER):
        part = windows[first : first + _TOGETHER]
        length = min(-(-max(window.size for window in part) // _GRAIN) * _GRAIN, config.context)
        sequences = [pack_alone(window, layout, length, config.fold, rng) for window in part]
        with checkpoint.model.autocast():
            found = checkpoint.model(collate(sequences, config).to(checkpoint.model.table.device)).float().cpu().numpy()
        ends = np.cumsum([int(sequence.predicted.sum()) for sequence in sequences])
        losses += [found[end - window.counted : end] for end, window in zip(ends, part)]
    return np.concatenate(losses)
