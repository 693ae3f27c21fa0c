"""What demonstrations cost: CPU-seconds an episode and episodes an hour of a core, and where a planner's time goes.

    python benchmarks/collect.py modular-rl/walker-7-main dm-control/walker-walk [--episodes 1] [--steps 1000] [--json FILE]

One process, one thread, seconds of the processor. "acting" is the share of an episode that the expert takes, "rollout" the share of that
which MuJoCo's own rollout takes: what is left of it is Python. `--steps` cuts the episodes short, and an episode is one so cut.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from opengato.domains import match_tasks
from opengato.errors import OpenGatoError

FIRST_SEED = 10_000


@dataclass
class Collect:
    """Time the experts."""

    tasks: tyro.conf.Positional[list[str]]
    """Tasks, domains or shell patterns."""
    episodes: int = 1
    steps: int = 1_000
    """Where an episode is cut."""
    json: Path | None = None


class Clock:
    """Seconds of the processor within calls of a function, however many."""

    def __init__(self, function):
        self.function, self.seconds = function, 0.0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        begun = time.process_time()
        try:
            return self.function(*args, **kwargs)
        finally:
            self.seconds += time.process_time() - begun


def rollout_clock() -> Clock:
    """A clock in place of MuJoCo's rollout, for all planners that are made."""
    from mujoco import rollout

    clock = Clock(rollout.Rollout.rollout)
    rollout.Rollout.rollout = lambda self, *args, **kwargs: clock(self, *args, **kwargs)
    return clock


def measure(task, episodes: int, steps: int, rollout: Clock) -> dict[str, Any]:
    if task.make_expert is None:
        raise OpenGatoError(f"task {task.id!r} has no expert to time: name one that has, as `opengato tasks` says")
    env, expert = task.make(), task.make_expert()
    act = Clock(expert.act)
    rollout.seconds, taken, returns, begun = 0.0, 0, [], time.process_time()
    for seed in range(FIRST_SEED, FIRST_SEED + episodes):
        observation, _ = env.reset(seed=seed)
        expert.reset(env, observation, seed)
        returns.append(0.0)
        for _ in range(steps):
            observation, reward, terminated, truncated, _ = env.step(act(observation))
            returns[-1] += float(reward)
            taken += 1
            if terminated or truncated:
                break
    seconds = time.process_time() - begun
    env.close()
    return {
        "task": task.id,
        "episodes": episodes,
        "steps": taken,
        "returns": returns,
        "cpu_s_episode": seconds / episodes,
        "cpu_s_1000_steps": seconds / taken * 1_000,
        "episodes_hour": 3_600 * episodes / seconds,
        "acting": act.seconds / seconds,
        "rollout": rollout.seconds / act.seconds,
    }


def main(settings: Collect) -> None:
    rollout = rollout_clock()
    rows = []
    print(f"{'task':40} {'steps':>6} {'CPU-s':>7} {'of 1000':>8} {'an hour':>8} {'acting':>7} {'rollout':>8}")
    for task in match_tasks(settings.tasks):
        row = measure(task, settings.episodes, settings.steps, rollout)
        rows.append(row)
        cost = f"{row['cpu_s_episode']:7.1f} {row['cpu_s_1000_steps']:8.1f} {row['episodes_hour']:8.1f}"
        print(f"{row['task']:40} {row['steps']:6} {cost} {row['acting']:7.0%} {row['rollout']:8.0%}", flush=True)
        if settings.json is not None:
            settings.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main(tyro.cli(Collect))
