"""Reference scores: the random agent's and the expert's mean return, measured by the code that records episodes."""

from __future__ import annotations

import json
import math
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from importlib import resources
from pathlib import Path
from typing import Any

import gymnasium as gym

from opengato.collect import record_episode
from opengato.domains.task import Expert, Reference, Task, reference_scores
from opengato.errors import OpenGatoError
from opengato.workers import single_threaded

FIRST_SEED = 10_000  # collection starts from 0, evaluation from 100,000


class RandomAgent:
    """Draws every action uniformly from the action space, seeded by the episode."""

    def reset(self, env: gym.Env, observation: Any, seed: int) -> None:
        self._space = env.action_space
        self._space.seed(seed)

    def act(self, observation: Any) -> Any:
        return self._space.sample()


def _returns(task: Task, expert: bool, seeds: list[int]) -> list[float]:
    """The returns of some episodes; an episode in which the expert fails is left out."""
    env: gym.Env | None = None
    agent: Expert = RandomAgent()
    returns = []
    for seed in seeds:
        try:
            if env is None:
                env = task.make()
                if expert:
                    assert task.make_expert is not None
                    agent = task.make_expert()
            returns.append(record_episode(task, env, agent, seed)[0].episode_return)
        except Exception:
            if not expert:
                raise
            env = None  # what a failed episode leaves behind must not touch the next one
    if env is not None:
        env.close()
    return returns


def measure(
    task: Task, episodes_random: int, episodes_expert: int, seed: int = FIRST_SEED, workers: int | None = None, pool: Any = None
) -> Reference:
    """Mean return of `action_space.sample` and of the expert, over episodes of the same seeds, run by the code that records episodes.

    Args:
        episodes_random, episodes_expert: how many of each, at least one.
        seed: of the first episode.
        workers: processes, default one a core. The means do not depend on it.
        pool: an executor to use instead of a new one, so that several tasks share its processes.

    Raises:
        OpenGatoError: where the task has no expert, or its expert finishes no episode.
    """
    if task.make_expert is None:
        raise OpenGatoError(f"task {task.id!r} has no expert: there is nothing to measure a score against")
    if min(episodes_random, episodes_expert) < 1:
        raise OpenGatoError(f"episodes is {min(episodes_random, episodes_expert)} for {task.id!r}: measure 1 or more")
    count = workers or os.cpu_count() or 1
    if pool is None:
        with single_threaded(), ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn")) as own:
            return measure(task, episodes_random, episodes_expert, seed, count, own)
    waiting = []
    for expert, n in ((False, episodes_random), (True, episodes_expert)):
        waiting.append([pool.submit(_returns, task, expert, list(range(seed + i, seed + n, count))) for i in range(min(count, n))])
    # fsum: the same mean in whichever order the episodes come.
    random, best = ([r for future in futures for r in future.result()] for futures in waiting)
    if not best:
        raise OpenGatoError(f"the expert of {task.id!r} finished no episode: it cannot be a reference")
    command = f"opengato reference {task.id} --episodes {episodes_random} --expert-episodes {episodes_expert}"
    return Reference(math.fsum(random) / len(random), math.fsum(best) / len(best), len(random), len(best), command)


def update_references(
    tasks: list[Task], random_episodes: int, expert_episodes: int, workers: int | None = None, path: Path | None = None
) -> None:
    """Measure the tasks' references and store them, after each task.

    Args:
        tasks, random_episodes, expert_episodes, workers: as in `measure`.
        path: the table; default: domains/references.json of the package.
    """
    path = path or Path(str(resources.files("opengato.domains") / "references.json"))
    count = workers or os.cpu_count() or 1
    with single_threaded(), ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn")) as pool:
        for task in tasks:
            found = measure(task, random_episodes, expert_episodes, workers=count, pool=pool)
            table = json.loads(path.read_text()) if path.is_file() else {}
            table[task.id] = asdict(found)
            partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
            partial.write_text(json.dumps(table, indent=1, sort_keys=True) + "\n")
            os.replace(partial, path)
            reference_scores.cache_clear()
            print(f"{task.id}: random {found.random:.4g} (n={found.n_random}), expert {found.expert:.4g} (n={found.n_expert})", flush=True)
