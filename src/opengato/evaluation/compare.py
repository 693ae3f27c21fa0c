"""Two agents on the same starts: what one is ahead, by paired seeds.

Where both begin at the same start, what makes it easy or hard is in both returns and falls out of their difference, so that far fewer
episodes tell them apart than two scores side by side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from opengato.errors import OpenGatoError
from opengato.evaluation.interval import Interval, half_width, mean_interval, mean_of_means_interval
from opengato.evaluation.score import EXPERT, MOST, RANDOM, TaskScore, mean, score_percent

_SCALE = EXPERT - RANDOM


@dataclass(frozen=True)
class Difference:
    """How far the second agent is ahead of the first at one task.

    Attributes:
        measure: "score", per cent of the expert, or where that is not to be had "success", per cent of the episodes.
        first, second: of each, on the common seeds. difference: second less first, with its 95% interval.
        better, worse: on how many of the `n` common seeds the second agent did better, and worse.
    """

    task: str
    measure: str
    n: int
    first: float
    second: float
    difference: float
    ci_low: float
    ci_high: float
    better: int
    worse: int
    by_seed: dict[int, float]

    @property
    def counted(self) -> float:
        """Of each at most 100."""
        return min(self.second, MOST) - min(self.first, MOST)


def compare(first: Sequence[TaskScore], second: Sequence[TaskScore]) -> list[Difference]:
    """Their differences at every task that both were evaluated on, in the order of the first.

    Raises:
        OpenGatoError: where they have no task or no seed in common.
    """
    others = {s.task: s for s in second}
    common = [(s, others[s.task]) for s in first if s.task in others]
    if not common:
        raise OpenGatoError(
            f"the two were evaluated on no common task ({', '.join(s.task for s in first)}; {', '.join(others)}): name some with --tasks"
        )
    found = [_difference(one, other) for one, other in common]
    return [d for d in found if d is not None]


def _difference(one: TaskScore, other: TaskScore) -> Difference | None:
    seeds = sorted(set(one.returns) & set(other.returns))
    if not seeds:
        raise OpenGatoError(f"{one.task}: the two have no seed in common, evaluate both with the same version")
    before, after = _values(one, seeds), _values(other, seeds)
    if before is None or after is None:
        return None
    measure = "score" if one.score is not None else "success"
    by_seed = dict(zip(seeds, (b - a for a, b in zip(before, after))))
    differences = list(by_seed.values())
    low, high = mean_interval(differences, -_SCALE, _SCALE)
    return Difference(
        one.task,
        measure,
        len(seeds),
        float(np.mean(before)),
        float(np.mean(after)),
        float(np.mean(differences)),
        low,
        high,
        sum(d > 0 for d in differences),
        sum(d < 0 for d in differences),
        by_seed,
    )


def _values(score: TaskScore, seeds: Sequence[int]) -> list[float] | None:
    """Per cent by seed; None where there is neither a score nor success."""
    if score.score is not None and score.random is not None and score.expert is not None:
        return [score_percent(score.measured[seed], score.random, score.expert) for seed in seeds]
    if score.successes:
        return [_SCALE * score.successes[seed] for seed in seeds]
    return None


def mean_difference(differences: Sequence[Difference]) -> tuple[float, Interval, Interval]:
    """The mean over tasks, each agent counted at most 100 at each, with 95% intervals as `mean_intervals` has them.

    Raises:
        OpenGatoError: where there are none.
    """
    if not differences:
        raise OpenGatoError("no task has a score or a success to compare: measure references with `opengato reference`")
    counted = [d.counted for d in differences]
    found = float(np.mean(counted))
    low, high = mean_of_means_interval([list(d.by_seed.values()) for d in differences], -_SCALE, _SCALE)
    centre = float(np.mean([d.difference for d in differences]))
    these = found - (centre - low), found + (high - centre)
    if len(differences) == 1:
        return found, these, these
    half = half_width(len(differences), float(np.std(counted, ddof=1)))
    return found, (min(found - half, these[0]), max(found + half, these[1])), these


def comparison_to_json(differences: Sequence[Difference]) -> dict[str, Any]:
    """Everything, with the difference of every seed."""
    found, over_tasks, over_episodes = mean_difference(differences)
    return {
        "tasks": {d.task: {k: v for k, v in asdict(d).items() if k != "task"} for d in differences},
        "mean_difference": found,
        "mean_difference_ci": list(over_tasks),
        "mean_difference_ci_of_these_tasks": list(over_episodes),
        "mean_first": mean([min(d.first, MOST) for d in differences]),
        "mean_second": mean([min(d.second, MOST) for d in differences]),
    }
