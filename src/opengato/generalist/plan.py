"""What a budget of hours, cores and disk buys: which tasks, how many demonstrations of each, how long a training, how many rollouts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from opengato.errors import OpenGatoError
from opengato.generalist.tasks import PARTS, Part
from opengato.recipes import TABLE_1

COLLECT, TRAIN, EVALUATE = 0.3, 0.5, 0.2  # of the hours
FEWEST = 10  # demonstrations: a task whose expert is too slow for as many is left out
_AN_EPISODE = 1.0  # second of one core that the network takes beside the simulator, roughly
_ROLLOUTS = 10, 50  # fewest and most, of each task

# Domains that the paper has not weigh roughly as their number of tasks would in Table 1, where a task has a seventh of a per cent.
SHARES = TABLE_1 | {
    "minigrid": 5.0,
    "openspiel": 3.0,
    "ogbench": 5.0,
    "gymnasium-robotics": 2.0,
    "textworld": 0.7,
    "memory": 0.3,
    "dialogue": 1.0,
}


@dataclass(frozen=True)
class Budget:
    """Of one round.

    Attributes:
        hours: of the clock. cores: that collect and evaluate. disk: GB of demonstrations.
    """

    hours: float
    cores: int
    disk: float

    def __post_init__(self) -> None:
        for name in ("hours", "cores", "disk"):
            if not getattr(self, name) > 0:
                raise OpenGatoError(f"{name} is {getattr(self, name)}: give more than 0")


@dataclass(frozen=True)
class Demonstrations:
    """Of one task.

    Attributes:
        episodes: of the first round, at most; seconds: of one core, that they may take.
        noise: share of random actions. most: episodes of all rounds together.
    """

    episodes: int
    seconds: float
    noise: float
    most: int


@dataclass(frozen=True)
class Plan:
    """What is done in a round.

    Attributes:
        demonstrations: task -> what is recorded. left_out: tasks whose experts are too slow for the budget.
        training: seconds. rollouts: episodes of each task in the evaluation. gigabytes: that the demonstrations will take.
    """

    demonstrations: dict[str, Demonstrations]
    left_out: tuple[str, ...]
    training: float
    rollouts: int
    gigabytes: float

    def lines(self) -> list[str]:
        """For people, a line a domain."""
        told = []
        for domain in dict.fromkeys(task.split("/")[0] for task in self.demonstrations):
            of = [d for task, d in self.demonstrations.items() if task.startswith(f"{domain}/")]
            told.append(
                f"{domain:24}{len(of):4} tasks, up to {max(d.episodes for d in of):5,} demonstrations of each, "
                f"{sum(d.seconds for d in of) / 60:5.1f} minutes of a core"
            )
        if self.left_out:
            told.append(f"left out, as {FEWEST} demonstrations would take too long: {', '.join(self.left_out)}")
        return [
            *told,
            f"{len(self.demonstrations)} tasks, {self.gigabytes:.1f} GB, {self.training / 60:.0f} minutes of training, "
            f"{self.rollouts} rollouts of each task",
        ]


def plan(budget: Budget, parts: Sequence[Part] = PARTS, domains: Sequence[str] | None = None) -> Plan:
    """Share the budget out: every task gets as many seconds, times its part's share, and what the quick ones leave the others have.

    Args:
        domains: those to take; None: all.

    Raises:
        OpenGatoError: for a domain that has no tasks here, and where the budget buys no task at all.
    """
    known = [part.domain for part in parts]
    if unknown_ones := sorted(set(domains or ()) - set(known)):
        raise OpenGatoError(f"domain {unknown_ones[0]!r} is not among the generalist's: choose from {', '.join(dict.fromkeys(known))}")
    chosen = [part for part in parts if domains is None or part.domain in domains]
    seconds = _shared_out(budget.hours * 3600 * COLLECT * budget.cores, chosen)
    kept = [(part, each) for part, each in zip(chosen, seconds, strict=True) if each >= FEWEST * part.seconds]
    if not kept:
        raise OpenGatoError(
            f"hours is {budget.hours:g}, too little for {FEWEST} demonstrations of any task on {budget.cores} cores: give more"
        )
    if len(kept) < len(chosen):  # what those would have had is shared out again
        seconds = _shared_out(sum(seconds_of * len(p.tasks) for p, seconds_of in zip(chosen, seconds)), [part for part, _ in kept])
        kept = list(zip([part for part, _ in kept], seconds, strict=True))
    bought = [part for part, _ in kept]
    counts = _on_disk([min(part.episodes, round(each / part.seconds)) for part, each in kept], bought, budget.disk)
    most = _on_disk([part.episodes for part in bought], bought, budget.disk)
    tasks = sum(len(part.tasks) for part, _ in kept)
    cost = sum(len(part.tasks) * (part.seconds + _AN_EPISODE) for part, _ in kept)
    rollouts = int(budget.hours * 3600 * EVALUATE * budget.cores / cost) if tasks else 0
    return Plan(
        {
            task: Demonstrations(count, each, part.noise, max(count, cap))
            for count, cap, (part, each) in zip(counts, most, kept)
            for task in part.ids
        },
        tuple(task for part in chosen if part not in [p for p, _ in kept] for task in part.ids),
        budget.hours * 3600 * TRAIN,
        min(max(rollouts, _ROLLOUTS[0]), _ROLLOUTS[1]),
        _gigabytes(counts, bought),
    )


def _gigabytes(counts: Sequence[int], parts: Sequence[Part]) -> float:
    """What so many episodes of each task of every part take."""
    return sum(count * part.kilobytes * len(part.tasks) for count, part in zip(counts, parts, strict=True)) / 1e6


def _on_disk(counts: list[int], parts: Sequence[Part], disk: float) -> list[int]:
    """Fewer episodes where they would take more than `disk` GB, of every part the same share, and at least FEWEST."""
    share = min(1.0, disk / _gigabytes(counts, parts))
    return [min(count, max(FEWEST, int(count * share))) for count in counts]


def _shared_out(total: float, parts: Sequence[Part]) -> list[float]:
    """Seconds of each task of every part: `share` times the same level, but no more than its episodes take; together at most `total`."""
    seconds = [0.0] * len(parts)
    rising = set(range(len(parts)))
    while rising:
        level = (total - sum(seconds[i] * len(parts[i].tasks) for i in range(len(parts)) if i not in rising)) / sum(
            parts[i].share * len(parts[i].tasks) for i in rising
        )
        full = {i for i in rising if parts[i].episodes * parts[i].seconds <= level * parts[i].share}
        for i in full or rising:
            seconds[i] = min(parts[i].episodes * parts[i].seconds, level * parts[i].share)
        if not full:
            break
        rising -= full
    return seconds
