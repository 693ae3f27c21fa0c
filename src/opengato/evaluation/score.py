"""Scores: where an agent's return lies between the random agent's and the expert's (paper, section 4.1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from opengato.errors import OpenGatoError

THRESHOLDS = (0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100)
MOST = 100.0  # per cent that a task counts in a mean: one game played far above its expert must not hide ten that were lost


def score_percent(episode_return: float, random: float, expert: float) -> float:
    """100 · (return − random) / (expert − random)."""
    if expert == random:
        raise OpenGatoError(
            f"the expert's return {expert} equals the random agent's, so no score can be given: measure the references again"
        )
    return 100.0 * (episode_return - random) / (expert - random)


@dataclass(frozen=True)
class TaskScore:
    """One task's score: percentages of the expert, returns, and a 95% bootstrap interval of the score over episodes.

    `random`, `expert`, `score` and the interval are None where the task has no stored references: it is in no mean then.
    `failed`: seed -> reason of the episodes that did not finish, of which the score knows nothing; `n` counts those that did.
    """

    task: str
    n: int
    mean_return: float
    random: float | None
    expert: float | None
    score: float | None
    ci_low: float | None
    ci_high: float | None
    success: float | None
    failed: Mapping[int, str] = field(default_factory=dict)

    @property
    def domain(self) -> str:
        return self.task.split("/")[0]

    def to_json(self) -> dict[str, Any]:
        return {
            "score": self.score,
            "return": self.mean_return,
            "random": self.random,
            "expert": self.expert,
            "success": self.success,
            "n": self.n,
            "ci": [self.ci_low, self.ci_high],
            "failed": failures_to_json(self.failed),
        }

    @classmethod
    def from_json(cls, task: str, data: dict[str, Any]) -> TaskScore:
        low, high = data["ci"]
        failed = {f["seed"]: f["reason"] for f in data.get("failed", [])}
        return cls(task, data["n"], data["return"], data["random"], data["expert"], data["score"], low, high, data["success"], failed)


def failures_to_json(failed: Mapping[int, str]) -> list[dict[str, Any]]:
    """seed -> reason as JSON, by seed."""
    return [{"seed": seed, "reason": failed[seed]} for seed in sorted(failed)]


def describe_failures(failed: Mapping[int, str]) -> str:
    """seed -> reason as words: "100003, 100007: the reason; 100009: another"."""
    by_reason: dict[str, list[str]] = {}
    for seed in sorted(failed):
        by_reason.setdefault(failed[seed], []).append(str(seed))
    return "; ".join(f"{', '.join(seeds)}: {reason}" for reason, seeds in by_reason.items())


def task_score(
    task: str,
    returns: Sequence[float],
    random: float | None,
    expert: float | None,
    successes: Sequence[bool | None] = (),
    failed: Mapping[int, str] | None = None,
) -> TaskScore:
    """Score a task's episodes; the interval is the percentile bootstrap of 10,000 resamples with a fixed seed.

    Without the random agent's and the expert's return there is neither score nor interval.
    """
    if not returns:
        raise OpenGatoError(f"task {task!r} has no finished episode to score")
    score = low = high = None
    if random is not None and expert is not None:
        values = np.array([score_percent(r, random, expert) for r in returns])
        draws = np.random.default_rng(0).integers(len(values), size=(10_000, len(values)))
        low, high = (float(end) for end in np.percentile(values[draws].mean(1), [2.5, 97.5]))
        score = float(values.mean())
    known = [s for s in successes if s is not None]
    success = float(np.mean(known)) if known else None
    return TaskScore(task, len(returns), float(np.mean(returns)), random, expert, score, low, high, success, dict(failed or {}))


class Scored(NamedTuple):
    """A score that there is, its interval, and what it counts in a mean."""

    task: str
    domain: str
    score: float
    ci_low: float
    ci_high: float

    @property
    def counted(self) -> float:
        """At most 100."""
        return min(self.score, MOST)


def scored(scores: Sequence[TaskScore]) -> list[Scored]:
    """Those of the tasks with references, in order."""
    return [
        Scored(s.task, s.domain, s.score, s.ci_low, s.ci_high)
        for s in scores
        if s.score is not None and s.ci_low is not None and s.ci_high is not None
    ]


def number(value: float | None, form: str) -> str:
    """A number of a table, a dash where there is none."""
    return "–" if value is None else format(value, form)


def mean(values: Sequence[float]) -> float | None:
    """Of no values None."""
    return float(np.mean(values)) if values else None


def summarise(scores: Sequence[TaskScore], unscored: Mapping[str, Mapping[int, str]] | None = None) -> dict[str, Any]:
    """All scores as JSON: by task, mean, by domain and over domains (section 5.1), counts above thresholds (Figure 5).

    Each task counts at most 100 in a mean, but in `mean_score_unclipped`. Tasks without references are in no mean of scores; a mean of
    nothing is None. `unscored`: task -> its failed seeds and their reasons, where no episode finished: listed without a score, and in no
    mean. Raises OpenGatoError where no episode finished at all.
    """
    if not scores:
        task, failed = next(iter((unscored or {"none": {}}).items()))
        raise OpenGatoError(f"no episode of any task finished, so there is no score; {task}: seed {describe_failures(failed)}")
    percents = scored(scores)
    domains = {d: float(np.mean([s.counted for s in percents if s.domain == d])) for d in sorted({s.domain for s in percents})}
    return {
        "tasks": {s.task: s.to_json() for s in scores}
        | {t: {"score": None, "n": 0, "failed": failures_to_json(f)} for t, f in (unscored or {}).items()},
        "mean_score": mean([s.counted for s in percents]),
        "mean_score_unclipped": mean([s.score for s in percents]),
        "mean_success": mean([s.success for s in scores if s.success is not None]),
        "domains": domains,
        "mean_over_domains": mean(list(domains.values())),
        "count_at_or_above": {str(t): sum(s.score >= t for s in percents) for t in THRESHOLDS},
    }
