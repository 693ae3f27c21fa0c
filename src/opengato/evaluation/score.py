"""Scores: where an agent's return lies between the random agent's and the expert's (paper, section 4.1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from opengato.errors import OpenGatoError

THRESHOLDS = (0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100)


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

    `failed`: seed -> reason of the episodes that did not finish, of which the score knows nothing; `n` counts those that did.
    """

    task: str
    n: int
    mean_return: float
    random: float
    expert: float
    score: float
    ci_low: float
    ci_high: float
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
    random: float,
    expert: float,
    successes: Sequence[bool | None] = (),
    failed: Mapping[int, str] | None = None,
) -> TaskScore:
    """Score a task's episodes; the interval is the percentile bootstrap of 10,000 resamples with a fixed seed."""
    if not returns:
        raise OpenGatoError(f"task {task!r} has no finished episode to score")
    values = np.array([score_percent(r, random, expert) for r in returns])
    draws = np.random.default_rng(0).integers(len(values), size=(10_000, len(values)))
    low, high = np.percentile(values[draws].mean(1), [2.5, 97.5])
    known = [s for s in successes if s is not None]
    return TaskScore(
        task,
        len(values),
        float(np.mean(returns)),
        random,
        expert,
        float(values.mean()),
        float(low),
        float(high),
        float(np.mean(known)) if known else None,
        dict(failed or {}),
    )


def summarise(scores: Sequence[TaskScore], unscored: Mapping[str, Mapping[int, str]] | None = None) -> dict[str, Any]:
    """All scores as JSON: by task, mean, by domain and over domains (section 5.1), counts above thresholds (Figure 5).

    `unscored`: task -> its failed seeds and their reasons, where no episode finished: listed without a score, and in no mean. Raises
    OpenGatoError where there is no score at all.
    """
    if not scores:
        task, failed = next(iter((unscored or {"none": {}}).items()))
        raise OpenGatoError(f"no episode of any task finished, so there is no score; {task}: seed {describe_failures(failed)}")
    domains = {d: float(np.mean([s.score for s in scores if s.domain == d])) for d in sorted({s.domain for s in scores})}
    return {
        "tasks": {s.task: s.to_json() for s in scores}
        | {t: {"score": None, "n": 0, "failed": failures_to_json(f)} for t, f in (unscored or {}).items()},
        "mean_score": float(np.mean([s.score for s in scores])),
        "domains": domains,
        "mean_over_domains": float(np.mean(list(domains.values()))),
        "count_at_or_above": {str(t): sum(s.score >= t for s in scores) for t in THRESHOLDS},
    }
