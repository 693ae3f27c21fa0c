"""Scores: where an agent's return lies between the random agent's and the expert's (paper, section 4.1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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
    """One task's score: percentages of the expert, returns, and a 95% bootstrap interval of the score over episodes."""

    task: str
    n: int
    mean_return: float
    random: float
    expert: float
    score: float
    ci_low: float
    ci_high: float
    success: float | None

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
        }

    @classmethod
    def from_json(cls, task: str, data: dict[str, Any]) -> TaskScore:
        low, high = data["ci"]
        return cls(task, data["n"], data["return"], data["random"], data["expert"], data["score"], low, high, data["success"])


def task_score(task: str, returns: Sequence[float], random: float, expert: float, successes: Sequence[bool | None] = ()) -> TaskScore:
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
    )


def summarise(scores: Sequence[TaskScore]) -> dict[str, Any]:
    """All scores as JSON: by task, mean, by domain and over domains (section 5.1), counts above thresholds (Figure 5)."""
    domains = {d: float(np.mean([s.score for s in scores if s.domain == d])) for d in sorted({s.domain for s in scores})}
    return {
        "tasks": {s.task: s.to_json() for s in scores},
        "mean_score": float(np.mean([s.score for s in scores])),
        "domains": domains,
        "mean_over_domains": float(np.mean(list(domains.values()))),
        "count_at_or_above": {str(t): sum(s.score >= t for s in scores) for t in THRESHOLDS},
    }
