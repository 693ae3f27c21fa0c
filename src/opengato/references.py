"""Reference scores: the random agent's and the expert's mean return, measured by the code that records episodes."""

from __future__ import annotations

import json
import os
import statistics
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import gymnasium as gym

from opengato.collection import record_episode
from opengato.domains.task import Expert, Reference, Task, reference_scores, references_file
from opengato.errors import OpenGatoError
from opengato.jobs import Begun, Done, Job, Workers

FIRST_SEED = 10_000


class RandomAgent:
    """Draws every action uniformly from the action space, seeded by the episode."""

    def reset(self, env: gym.Env, observation: Any, seed: int) -> None:
        self._space = env.action_space
        self._space.seed(seed)

    def act(self, observation: Any) -> Any:
        return self._space.sample()


def _returns(task: Task, expert: bool, seeds: tuple[int, ...]) -> Iterator[Begun | Done]:
    """The work of a measuring process: the return of an episode a seed."""
    yield Begun(seeds[0])  # making them is part of it
    env = task.make()
    agent: Expert = RandomAgent()
    if expert:
        assert task.make_expert is not None
        agent = task.make_expert()
    try:
        for seed in seeds:
            yield Begun(seed)
            yield Done(seed, record_episode(task, env, agent, seed)[0].episode_return)
    finally:
        env.close()


def measure(task: Task, episodes_random: int, episodes_expert: int, pool: Workers, seed: int = FIRST_SEED) -> Reference:
    """Return of `action_space.sample` and of the expert, over episodes of the same seeds, run by the code that records episodes.

    Args:
        episodes_random, episodes_expert: how many of each, at least one.
        pool: the processes to run them in; the means do not depend on how many there are.
        seed: of the first episode.

    Raises:
        OpenGatoError: where the task has no expert, where its expert finishes no episode, or the random agent fails to finish one.
    """
    if task.make_expert is None:
        raise OpenGatoError(f"task {task.id!r} has no expert: there is nothing to measure a score against")
    if min(episodes_random, episodes_expert) < 1:
        raise OpenGatoError(f"episodes is {min(episodes_random, episodes_expert)} for {task.id!r}: measure 1 or more")
    sizes = {False: episodes_random, True: episodes_expert}  # by whether it is the expert
    parts = min(pool.count, max(sizes.values()))
    chunks = ((expert, tuple(range(seed + i, seed + n, parts))) for i in range(parts) for expert, n in sizes.items())
    jobs = iter([Job(expert, (task, expert), seeds) for expert, seeds in chunks if seeds])
    returns: dict[Any, list[float]] = {False: [], True: []}
    for result in pool.run(_returns, lambda: next(jobs, None)):
        if result.failure is None:
            returns[result.name].append(result.value)
        elif not result.name:  # an episode that the expert fails to finish is left out
            raise OpenGatoError(f"the random agent's episode {result.seed} of {task.id!r} failed: {result.failure}")
    random, best = returns[False], returns[True]
    if not best:
        raise OpenGatoError(f"the expert of {task.id!r} finished no episode: it cannot be a reference")
    command = f"opengato reference {task.id} --episodes {episodes_random} --expert-episodes {episodes_expert}"
    (random_mean, random_sd), (best_mean, best_sd) = _mean_and_deviation(random), _mean_and_deviation(best)
    return Reference(random_mean, best_mean, len(random), len(best), command, random_sd, best_sd)


def _mean_and_deviation(values: list[float]) -> tuple[float, float | None]:
    """Of a sample; the same in whichever order the episodes come."""
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None


def update_references(
    tasks: list[Task], random_episodes: int, expert_episodes: int, workers: int | None = None, path: Path | None = None
) -> None:
    """Measure the tasks' references and store them, after each task.

    Args:
        tasks, random_episodes, expert_episodes: as in `measure`.
        workers: processes; default: one a core.
        path: the table; default: references.json of the package that brings the task.
    """
    with Workers(workers) as pool:
        for task in tasks:
            found = measure(task, random_episodes, expert_episodes, pool)
            kept = path or references_file(task.references)
            table = json.loads(kept.read_text()) if kept.is_file() else {}
            table[task.id] = asdict(found)
            partial = kept.with_name(f"{kept.name}.{os.getpid()}.partial")
            partial.write_text(json.dumps(table, indent=1, sort_keys=True) + "\n")
            os.replace(partial, kept)
            reference_scores.cache_clear()
            if found.problem:
                print(f"{task.id}: {found.problem}, so that it has no score: mend the expert")
            print(f"{task.id}: random {found.random:.4g} (n={found.n_random}), expert {found.expert:.4g} (n={found.n_expert})", flush=True)
