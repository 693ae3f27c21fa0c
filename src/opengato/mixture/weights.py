"""What share of a run each task has: domains by weight, tasks within a domain by their own, and both may change as a run goes on.

Weights are given by name: a domain ("babyai"), a task ("babyai/go-to") or a pattern of tasks ("babyai/go-to-*"). Those of domains say how
the run is shared between them (Table 1 of the paper); those of tasks, 1 unless they are given, how a domain's share is between its tasks.
Where two patterns name a task the later one counts.
"""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from opengato.errors import OpenGatoError

_LEAST_GAP = 0.1  # what a task that is solved still weighs beside one that scores nothing


@dataclass(frozen=True)
class Stage:
    """From sequence `first` on a run draws by these weights, name -> weight."""

    first: int
    weights: Mapping[str, float]


def split(weights: Mapping[str, float], tasks: Sequence[str]) -> tuple[dict[str, float], dict[str, float]]:
    """Domain -> weight, as given, and of each task its weight within its domain.

    Raises OpenGatoError for a weight that is none, or a name of a task or a pattern that no task has.
    """
    domains, within = {}, dict.fromkeys(tasks, 1.0)
    for name, weight in weights.items():
        if not (math.isfinite(weight) and weight >= 0):
            raise OpenGatoError(f"the weight of {name!r} is {weight}: give a number, 0 or more")
        if "/" not in name:
            domains[name] = float(weight)
            continue
        named = [task for task in tasks if fnmatch.fnmatchcase(task, name)]
        if not named:
            raise OpenGatoError(f"the weights name {name!r}, of which there is no data: there is {', '.join(sorted(tasks)[:8])} …")
        within.update(dict.fromkeys(named, float(weight)))
    return domains, within


def of_datasets(tasks: Sequence[str], weights: Sequence[float | None]) -> dict[str, float]:
    """Weights by name, of datasets that were given their own: a domain weighs as all of its datasets together.

    Args:
        tasks: of every dataset. weights: its own, or None, which is 1 beside datasets that have one; nothing is said where none has.

    Raises OpenGatoError where two datasets of one task weigh differently.
    """
    if all(weight is None for weight in weights):
        return {}
    found: dict[str, float] = {}
    domains: dict[str, float] = {}
    for task, given in zip(tasks, weights):
        weight = 1.0 if given is None else given
        if found.setdefault(task, weight) != weight:
            raise OpenGatoError(f"task {task!r} is of two datasets, with @{found[task]:g} and @{weight:g}: give both the same weight")
        domain = task.split("/")[0]
        domains[domain] = domains.get(domain, 0.0) + weight
    return domains | found


def by_gap(scores: Mapping[str, Any]) -> dict[str, float]:
    """Weights by how far an agent's last evaluation was from the expert, of the tasks that have a score.

    `scores`: what `opengato eval --json` prints, task -> "score" in % under "tasks". One with no score weighs 1, a solved one a tenth.
    """
    if "tasks" not in scores:
        raise OpenGatoError("these are no scores: give the file that `opengato eval CHECKPOINT --json` was written to")
    found = {task: row.get("score") for task, row in scores["tasks"].items()}
    return {task: max(_LEAST_GAP, 1.0 - max(score, 0.0) / 100) for task, score in found.items() if score is not None}


class Shares:
    """What is drawn how often.

    Args:
        weights: see the module. domains: those with data, in order, and of each the tasks and sizes (timesteps to draw) of its datasets.
        size_power: within a domain a task weighs, besides, as its size to this power; 0: all alike.
        short: likewise of every dataset, the share of its positions that is in short sequences.

    Attributes:
        domains: float64 (D,), summing to 1. within: of every domain float64, summing to 1.
        short: share of the sequences that are short.
    """

    def __init__(
        self,
        weights: Mapping[str, float],
        domains: Sequence[str],
        tasks: Sequence[Sequence[str]],
        sizes: Sequence[Sequence[int]],
        size_power: float,
        short: Sequence[Sequence[float]],
    ):
        of_domains, of_tasks = split(weights, [task for part in tasks for task in part])
        share = np.array([of_domains.get(domain, 0.0) for domain in domains], np.float64)
        if not share.sum() > 0:
            raise OpenGatoError(f"the weights of {', '.join(domains)} are all 0: give one of them more")
        self.domains = share / share.sum()
        self.within = []
        of_short = np.zeros(len(domains))
        self._within: dict[str, list[np.ndarray | None]] = {"long": [], "short": []}
        for number, (domain, weight, part, size) in enumerate(zip(domains, self.domains, tasks, sizes)):
            counts = np.array([of_tasks[task] for task in part]) * np.array(size, np.float64) ** size_power
            if weight and not counts.sum() > 0:
                raise OpenGatoError(f"domain {domain!r} has a weight, and all of its tasks have 0: give one of them more")
            within = counts / max(counts.sum(), 1e-300)
            self.within.append(within)
            of_short[number] = (within * short[number]).sum()
            for sort, each in (("long", within * (1 - np.array(short[number]))), ("short", within * short[number])):
                # Alike, they are drawn as they always were: runs that were begun go on with the same sequences.
                self._within[sort].append(None if (each == each[0]).all() else np.cumsum(each))
        self.short = float((self.domains * of_short).sum())
        sorts = {"long": self.domains * (1 - of_short), "short": self.domains * of_short}
        self._domains = {sort: np.cumsum(part) / max(part.sum(), 1e-12) for sort, part in sorts.items()}

    def domain(self, sort: str, rng: np.random.Generator) -> int:
        """Draw the number of a domain, for a sequence of this sort."""
        return _draw(self._domains[sort], rng)

    def task(self, sort: str, domain: int, rng: np.random.Generator) -> int:
        """Draw the number of one of its datasets, for a sequence of this sort."""
        cumulative = self._within[sort][domain]
        return int(rng.integers(len(self.within[domain]))) if cumulative is None else _draw(cumulative / cumulative[-1], rng)


def _draw(cumulative: np.ndarray, rng: np.random.Generator) -> int:
    return min(int(np.searchsorted(cumulative, rng.random(), side="right")), len(cumulative) - 1)


def check_stages(stages: Sequence[Stage]) -> None:
    """Raise OpenGatoError where the first does not begin at 0, or one does not begin after the one before."""
    firsts = [stage.first for stage in stages]
    if not firsts or firsts[0] != 0 or any(a >= b for a, b in pairwise(firsts)):
        raise OpenGatoError(f"the stages of the weights begin at {firsts}: let the first begin at 0, and each after the one before")
