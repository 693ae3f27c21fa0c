"""Reference scores: the random agent's and the expert's mean return, measured by the code that records episodes."""

from __future__ import annotations

import json
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from importlib import resources
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from opengato.collect import record_episode
from opengato.domains import Task, get_task
from opengato.domains.task import reference_scores
from opengato.errors import OpenGatoError

FIRST_SEED = 10_000  # collection starts from 0, evaluation from 100,000


class RandomAgent:
    """Draws every action uniformly from the action space, seeded by the episode."""

    def reset(self, env: gym.Env, observation: Any, seed: int) -> None:
        self._space = env.action_space
        self._space.seed(seed)

    def act(self, observation: Any) -> Any:
        return self._space.sample()


def _returns(task_id: str, expert: bool, seeds: list[int]) -> list[float]:
    """The returns of some episodes; an episode in which the expert finds no plan is left out."""
    task = get_task(task_id)
    env = task.make()
    if expert:
        assert task.make_expert is not None
        agent = task.make_expert()
    else:
        agent = RandomAgent()
    returns = []
    for seed in seeds:
        try:
            returns.append(record_episode(task, env, agent, seed)[0].episode_return)
        except (OpenGatoError, AssertionError, RecursionError):
            if not expert:
                raise
    env.close()
    return returns


def update_references(tasks: list[Task], random_episodes: int, expert_episodes: int, workers: int | None = None) -> None:
    """Measure the tasks' references and store them in domains/references.json, after each task."""
    path = Path(str(resources.files("opengato.domains") / "references.json"))
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with ProcessPoolExecutor(workers or os.cpu_count(), mp_context=multiprocessing.get_context("spawn")) as pool:
        count = workers or os.cpu_count() or 1
        waiting = {}
        for task in tasks:
            for expert, n in ((False, random_episodes), (True, expert_episodes)):
                seeds = range(FIRST_SEED, FIRST_SEED + n)
                waiting[task.id, expert] = [pool.submit(_returns, task.id, expert, list(seeds[i::count])) for i in range(min(count, n))]
        for task in tasks:
            random, best = ([r for f in waiting[task.id, e] for r in f.result()] for e in (False, True))
            if not best:
                raise OpenGatoError(f"the expert of {task.id!r} finished no episode: it cannot be a reference")
            table = json.loads(path.read_text()) if path.is_file() else {}
            table[task.id] = {
                "random": float(np.mean(random)),
                "expert": float(np.mean(best)),
                "n_random": len(random),
                "n_expert": len(best),
                "command": f"opengato reference {task.id} --episodes {random_episodes} --expert-episodes {expert_episodes}",
            }
            partial = path.with_suffix(".partial")
            partial.write_text(json.dumps(table, indent=1, sort_keys=True) + "\n")
            os.replace(partial, path)
            reference_scores.cache_clear()
            print(f"{task.id}: random {np.mean(random):.4g} (n={len(random)}), expert {np.mean(best):.4g} (n={len(best)})", flush=True)
