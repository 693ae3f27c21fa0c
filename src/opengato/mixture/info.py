"""What a run will see of its data, before it begins."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from opengato.mixture.sampling import Mixture, Source

_SEQUENCES = 400  # of a run that are looked at


@dataclass(frozen=True)
class TaskInfo:
    """What a run sees of one dataset.

    Attributes:
        share: of the positions of the run, prompts among them. epochs: how often each timestep that may be drawn is seen on the mean.
        episodes: how many may be drawn. left_out: why others may not, reason -> how many.
        timesteps: in the episodes that may be drawn. tokens, positions: of a timestep on the mean.
        context: how many timesteps a context covers.
    """

    task: str
    share: float
    epochs: float
    episodes: int
    left_out: dict[str, int]
    timesteps: int
    tokens: float
    positions: float
    context: float


def information(mixture: Mixture, sequences: int) -> list[TaskInfo]:
    """Of every dataset, in the order of the domains, for a run of so many sequences.

    Shares are counted in up to 400 of its own sequences, from its first to its last: windows differ in length, so that tasks that are drawn
    as often do not have the same share.
    """
    looked_at = np.unique(np.linspace(0, sequences - 1, min(sequences, _SEQUENCES)).astype(np.int64))
    seen: Counter[int] = Counter()
    known = {id(source.data): source for sources in mixture.sources for source in sources}
    for n in looked_at:
        for piece in mixture.pieces(int(n))[0]:
            room = mixture.length - piece.base
            seen[id(piece.data)] += min(known[id(piece.data)].size(piece.timesteps) + piece.head, room)
    per_sequence = {data: count / len(looked_at) for data, count in seen.items()}
    total = sum(per_sequence.values())
    return [_of(source, mixture.length, per_sequence.get(data, 0.0), total, sequences) for data, source in known.items()]


def _of(source: Source, length: int, per_sequence: float, total: float, sequences: int) -> TaskInfo:
    episodes = source.data.episodes
    begins, ends = episodes[source.kept], episodes[source.kept + 1]
    timesteps = source.timesteps
    positions = float((source.starts[ends] - source.starts[begins]).sum())
    tokens = float((source.data.sizes[ends] - source.data.sizes[begins]).sum())
    return TaskInfo(
        source.data.task,
        per_sequence / total,
        per_sequence * sequences / positions,
        len(source.kept),
        {reason: count for reason, count in source.left_out.items() if count},
        timesteps,
        tokens / timesteps,
        positions / timesteps,
        length * timesteps / positions,
    )
