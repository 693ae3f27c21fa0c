"""What a run will see of its data, before it begins."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from opengato.mixture.sampling import Mixture, Source


@dataclass(frozen=True)
class TaskInfo:
    """What a run sees of one dataset.

    Attributes:
        share: of the positions of the run. epochs: how often each timestep that may be drawn is seen on the mean, prompts not counted.
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
    """Of every dataset, in the order of the domains, for a run of so many sequences; shares over all its stages."""
    firsts = [min(first, sequences) for first, _ in mixture.stages] + [sequences]
    lengths = np.diff(firsts) / max(sequences, 1)
    rows = []
    for domain, sources in enumerate(mixture.sources):
        for number, source in enumerate(sources):
            stages = [float(s.domains[domain] * s.within[domain][number]) for _, s in mixture.stages]
            rows.append(_of(source, mixture, float(np.dot(lengths, stages)), sequences))
    return rows


def _of(source: Source, mixture: Mixture, share: float, sequences: int) -> TaskInfo:
    episodes = source.data.episodes
    begins, ends = episodes[source.kept], episodes[source.kept + 1]
    timesteps = int((ends - begins).sum())
    positions = float((source.starts[ends] - source.starts[begins]).sum())
    tokens = float((source.data.sizes[ends] - source.data.sizes[begins]).sum())
    drawn = share * sequences * mixture.length
    return TaskInfo(
        source.data.task,
        share,
        drawn / positions,
        len(source.kept),
        {reason: count for reason, count in source.left_out.items() if count},
        timesteps,
        tokens / timesteps,
        positions / timesteps,
        mixture.length * timesteps / positions,
    )
