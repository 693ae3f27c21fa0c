"""Scores: where an agent's return lies between the random agent's and the expert's (paper, section 4.1).

A simulator's reward may be no measure, where experts that always succeed have less of it than chance has: success is it then.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, median
from typing import Any, Literal, NamedTuple

import numpy as np

from opengato.domains.task import Human, Reference
from opengato.errors import OpenGatoError
from opengato.evaluation.interval import Interval, half_width, mean_interval, mean_of_means_interval, wilson

THRESHOLDS = (0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100)
Share = Literal["score", "success"]  # of the expert, or of a task's episodes
RANDOM, EXPERT = 0.0, 100.0  # per cent
MOST = EXPERT  # that a task counts in a mean: one game played far above its expert must not hide ten that were lost
SCORED_BY_SUCCESS = "scored by success, which the random agent's and the expert's numbers are of: an expert's return is no measure there"
BEATEN = 150.0  # an expert that an agent beats by half is a poor measure of it


def score_percent(episode_return: float, random: float, expert: float) -> float:
    """100 · (return − random) / (expert − random). Raises OpenGatoError where the expert is not above the random agent."""
    if not expert > random:
        raise OpenGatoError(
            f"the expert's return {expert:g} is not above the random agent's {random:g}, so there is no score: measure the references again"
        )
    return 100.0 * (episode_return - random) / (expert - random)


@dataclass(frozen=True)
class TaskScore:
    """One task's score: per cent of the way from the random agent to the expert.

    Attributes:
        returns, successes: seed -> of every episode that finished; no successes where the task defines none.
        random, expert: the reference returns, or shares of success where `by_success`; None without references.
        score: of the mean return, with its 95% interval; None where there are no references, or `unmeasurable` says why there can be none.
        reference_half: half of the 95% interval that the references alone would give it.
        failed: seed -> reason of the episodes that did not finish, of which the score knows nothing.
        starts: how many different starts the episodes had, None where that is unknown.
        seen: the share of the episodes whose start was among those the agent was trained on, None where the agent does not say.
        in_training: whether the agent was trained on the task.
        by_success: whether the score is of successes, see `Reference.by_success`.
        human: per cent of the way from the published random agent to people, see `Human`, that the mean return is; None where nothing is
            published.
    """

    task: str
    returns: Mapping[int, float]
    successes: Mapping[int, bool]
    random: float | None
    expert: float | None
    score: float | None
    ci_low: float | None
    ci_high: float | None
    reference_half: float | None = None
    unmeasurable: str | None = None
    failed: Mapping[int, str] = field(default_factory=dict)
    starts: int | None = None
    seen: float | None = None
    in_training: bool = True
    by_success: bool = False
    human: float | None = None

    @property
    def measured(self) -> dict[int, float]:
        """seed -> what the score is of, to be compared with `random` and `expert`."""
        return {seed: float(value) for seed, value in (self.successes if self.by_success else self.returns).items()}

    @property
    def label(self) -> str:
        """The task, and that it was not in training where it was not."""
        return self.task if self.in_training else f"{self.task} (not in training)"

    @property
    def domain(self) -> str:
        return self.task.split("/")[0]

    @property
    def n(self) -> int:
        """Episodes that finished."""
        return len(self.returns)

    @property
    def mean_return(self) -> float:
        return fmean(self.returns.values())

    @property
    def success(self) -> float | None:
        """The share of the episodes that succeeded."""
        return sum(self.successes.values()) / len(self.successes) if self.successes else None

    @property
    def success_interval(self) -> Interval | None:
        """Wilson's."""
        return wilson(sum(self.successes.values()), len(self.successes)) if self.successes else None

    @property
    def score_failures_as_random(self) -> float | None:
        """The score, had every episode that failed been the random agent's."""
        return None if self.score is None else (self.n * self.score + len(self.failed) * RANDOM) / (self.n + len(self.failed))

    def to_json(self) -> dict[str, Any]:
        """Everything, each episode by its seed included."""
        seeds = sorted(self.returns)
        return {
            "score": self.score,
            "ci": [self.ci_low, self.ci_high],
            "success": self.success,
            "success_ci": list(self.success_interval or (None, None)),
            "return": self.mean_return,
            "random": self.random,
            "expert": self.expert,
            "reference_half": self.reference_half,
            "unmeasurable": self.unmeasurable,
            "score_failures_as_random": self.score_failures_as_random,
            "n": self.n,
            "starts": self.starts,
            "seen": self.seen,
            "in_training": self.in_training,
            "by_success": self.by_success,
            "human": self.human,
            "failed": failures_to_json(self.failed),
            "seeds": seeds,
            "returns": [self.returns[seed] for seed in seeds],
            "successes": [self.successes[seed] for seed in seeds] if self.successes else None,
        }

    @classmethod
    def from_json(cls, task: str, data: dict[str, Any]) -> TaskScore:
        """What `to_json` gave."""
        return cls(
            task,
            dict(zip(data["seeds"], data["returns"])),
            dict(zip(data["seeds"], data["successes"] or [])),
            data["random"],
            data["expert"],
            data["score"],
            data["ci"][0],
            data["ci"][1],
            data["reference_half"],
            data["unmeasurable"],
            {f["seed"]: f["reason"] for f in data["failed"]},
            data["starts"],
            data["seen"],
            data.get("in_training", True),  # before others could be evaluated, all were
            data.get("by_success", False),
            data.get("human"),
        )


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
    returns: Mapping[int, float],
    reference: Reference | None,
    successes: Mapping[int, bool] | None = None,
    failed: Mapping[int, str] | None = None,
    *,
    starts: int | None = None,
    seen: float | None = None,
    in_training: bool = True,
    unmeasurable: str | None = None,
    human: Human | None = None,
) -> TaskScore:
    """Score a task's episodes, by seed; the interval is that of `mean_interval`, widened by what is uncertain of the references.

    Without references, or with such as `Reference.problem` finds fault with, there is neither score nor interval. `unmeasurable`: why
    there can be no references. `human`: what people reach.

    Raises:
        OpenGatoError: where no episode finished.
    """
    if not returns:
        raise OpenGatoError(f"task {task!r} has no finished episode to score")
    score = low = high = half = None
    problem = unmeasurable
    random, expert = _measure(reference) if reference is not None else (None, None)
    if reference is not None and random is not None and expert is not None:
        problem = reference.problem
        if problem is None:
            measured = successes or {} if reference.by_success else returns
            values = [score_percent(value, random.mean, expert.mean) for value in measured.values()]
            score, (low, high) = fmean(values), mean_interval(values, RANDOM, EXPERT)
            half = _reference_half(score, random, expert)
            # Independent errors, each on its own side, add as squares (Zou and Donner 2008).
            low, high = score - math.hypot(score - low, half), score + math.hypot(high - score, half)
    return TaskScore(
        task,
        dict(returns),
        dict(successes or {}),
        random.mean if random else None,
        expert.mean if expert else None,
        score,
        low,
        high,
        half,
        problem,
        dict(failed or {}),
        starts,
        seen,
        in_training,
        reference is not None and reference.by_success,
        None if human is None else human.per_cent(fmean(returns.values())),
    )


class _Side(NamedTuple):
    """What an agent's episodes were in the measure of a score: their mean, standard deviation and number."""

    mean: float
    sd: float
    n: int


def _measure(reference: Reference) -> tuple[_Side, _Side]:
    """The random agent's side and the expert's: returns, or successes where those are the measure."""
    if reference.by_success:
        assert reference.random_success is not None and reference.expert_success is not None
        shares_of = (reference.random_success, reference.n_random), (reference.expert_success, reference.n_expert)
        random, expert = (_Side(share, math.sqrt(share * (1 - share)), n) for share, n in shares_of)
        return random, expert
    return (
        _Side(reference.random, reference.random_sd or 0.0, reference.n_random),
        _Side(reference.expert, reference.expert_sd or 0.0, reference.n_expert),
    )


def _reference_half(score: float, random: _Side, expert: _Side) -> float:
    """What is uncertain of a score since its references are means of episodes, too; per cent."""
    at, scale = score / 100, 100 / (expert.mean - random.mean)
    return scale * math.hypot(half_width(random.n, random.sd) * (1 - at), half_width(expert.n, expert.sd) * at)


class Scored(NamedTuple):
    """A score that there is, its interval, the scores of its episodes, and what it counts in a mean."""

    task: str
    domain: str
    score: float
    ci_low: float
    ci_high: float
    episodes: list[float]
    whole: TaskScore

    @property
    def counted(self) -> float:
        """At most 100."""
        return min(self.score, MOST)


def scored(scores: Sequence[TaskScore]) -> list[Scored]:
    """Those of the tasks that have a score, in order."""
    found = []
    for s in scores:
        if s.score is not None and s.ci_low is not None and s.ci_high is not None:
            assert s.random is not None and s.expert is not None
            episodes = [score_percent(value, s.random, s.expert) for value in s.measured.values()]
            found.append(Scored(s.task, s.domain, s.score, s.ci_low, s.ci_high, episodes, s))
    return found


def shares(scores: Sequence[TaskScore], share: Share = "score") -> list[tuple[str, float]]:
    """Domain and per cent of the tasks that have it, in order."""
    if share == "score":
        return [(s.domain, s.score) for s in scored(scores)]
    return [(s.domain, 100 * s.success) for s in scores if s.success is not None]


def mean_intervals(scores: Sequence[TaskScore]) -> tuple[Interval, Interval]:
    """95% intervals of the mean score, each task counted at most 100: over tasks and episodes, and over the episodes of these tasks.

    The first says what other tasks of this kind would give, the second what this evaluation would give again; of one task both are the
    second. Raises OpenGatoError without a score.
    """
    rows = scored(scores)
    if not rows:
        raise OpenGatoError("no task has a score, so there is no interval of their mean: measure references with `opengato reference`")
    mean = fmean([s.counted for s in rows])
    low, high = mean_of_means_interval([s.episodes for s in rows], RANDOM, EXPERT)
    centre = fmean([s.score for s in rows])
    half = math.hypot(*(s.whole.reference_half or 0.0 for s in rows)) / len(rows)
    these = mean - math.hypot(centre - low, half), min(mean + math.hypot(high - centre, half), MOST)
    if len(rows) == 1:
        return these, these
    spread = half_width(len(rows), float(np.std([s.counted for s in rows], ddof=1)))
    return (min(mean - spread, these[0]), min(max(mean + spread, these[1]), MOST)), these


def interquartile_mean(scores: Sequence[TaskScore]) -> float | None:
    """The mean of the middle half of all episodes' scores, each task of the same weight (Agarwal et al. 2021); None without a score."""
    rows = scored(scores)
    if not rows:
        return None
    values = np.concatenate([s.episodes for s in rows])
    weights = np.concatenate([np.full(len(s.episodes), 1 / len(s.episodes)) for s in rows]) / len(rows)
    order = np.argsort(values, kind="stable")
    ends = np.concatenate([[0.0], np.cumsum(weights[order])])
    inside = np.diff(np.clip(ends, 0.25, 0.75))
    return float((values[order] * inside).sum() / inside.sum())


def beside_people(scores: Sequence[TaskScore]) -> dict[str, float] | None:
    """How many tasks people's returns are published of, at or above how many of these the agent is, and at twice; median, per cent."""
    found = [s.human for s in scores if s.human is not None]
    if not found:
        return None
    return {
        "tasks": len(found),
        "at_or_above": sum(value >= 100 for value in found),
        "at_or_above_twice": sum(value >= 200 for value in found),
        "median": median(found),
    }


def number(value: float | None, form: str) -> str:
    """A number of a table, a dash where there is none."""
    return "–" if value is None else format(value, form)


def spread(interval: Sequence[float | None] | None, form: str) -> str:
    """An interval of a table, a dash where there is none."""
    low, high = interval or (None, None)
    return "–" if low is None or high is None else f"{low:{form}} … {high:{form}}"


def mean(values: Sequence[float]) -> float | None:
    """Of no values None."""
    return fmean(values) if values else None


def summarise(scores: Sequence[TaskScore], unscored: Mapping[str, Mapping[int, str]] | None = None) -> dict[str, Any]:
    """All scores as JSON: by task, mean, by domain and over domains (section 5.1), counts above thresholds (Figure 5).

    Each task counts at most 100 in a mean, but in `mean_score_unclipped` and the interquartile mean. Tasks without a score are in no mean
    of scores; a mean of nothing is None. `unscored`: task -> its failed seeds and their reasons, where no episode finished: listed without
    a score, and in no mean but that which takes failures for the random agent's. Raises OpenGatoError where no episode finished at all.
    """
    if not scores:
        task, failed = next(iter((unscored or {"none": {}}).items()))
        raise OpenGatoError(f"no episode of any task finished, so there is no score; {task}: seed {describe_failures(failed)}")
    percents = scored(scores)
    domains = {d: fmean([s.counted for s in percents if s.domain == d]) for d in sorted({s.domain for s in percents})}
    over_tasks, over_episodes = mean_intervals(scores) if percents else ((None, None), (None, None))
    as_random = [min(s.score_failures_as_random, MOST) for s in scores if s.score_failures_as_random is not None]
    return {
        "tasks": {s.task: s.to_json() for s in scores}
        | {t: {"score": None, "n": 0, "failed": failures_to_json(f)} for t, f in (unscored or {}).items()},
        "mean_score": mean([s.counted for s in percents]),
        "mean_score_ci": list(over_tasks),
        "mean_score_ci_of_these_tasks": list(over_episodes),
        "mean_score_in_training": mean([s.counted for s in percents if s.whole.in_training]),
        "mean_score_not_in_training": mean([s.counted for s in percents if not s.whole.in_training]),
        "mean_score_unclipped": mean([s.score for s in percents]),
        "mean_score_failures_as_random": mean([*as_random, *(RANDOM for _ in unscored or {})]) if percents else None,
        "interquartile_mean": interquartile_mean(scores),
        "mean_success": mean([s.success for s in scores if s.success is not None]),
        "human": beside_people(scores),
        "domains": domains,
        "mean_over_domains": mean(list(domains.values())),
        "count_at_or_above": {str(t): sum(s.score >= t for s in percents) for t in THRESHOLDS},
        "beaten_experts": [s.task for s in percents if s.score > BEATEN],
    }


def read_scores(data: Mapping[str, Any]) -> list[TaskScore]:
    """The scores that `summarise` gave as JSON, of the tasks with a finished episode."""
    return [TaskScore.from_json(task, found) for task, found in data["tasks"].items() if found["n"]]


def load_scores(path: Path) -> list[TaskScore]:
    """The scores in a file with what `opengato eval --json` printed. Raises OpenGatoError where it holds something else."""
    try:
        return read_scores(json.loads(path.read_text()))
    except OSError as error:
        raise OpenGatoError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise OpenGatoError(f"{path} holds no scores: name a file with what `opengato eval --json` printed") from None
