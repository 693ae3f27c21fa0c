"""Episodes of RGB Stacking's real twin: the expert drives a cell in real time, at 20 Hz through the robots' loop, into a LeRobotDataset.

    python scripts/record_stacking.py rgb-stacking-real/blue-on-green-1 OUT --episodes 10

20 seconds an episode, and what it takes to plan it before the arm moves. Episodes that end without a stack are kept too, and say so.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from opengato.datasets.lerobot_writer import write_lerobot
from opengato.domains import get_task
from opengato.domains.rgb_stacking.environment import RATE, STEPS
from opengato.domains.rgb_stacking.expert import StackingExpert
from opengato.robots import Recorder, Simulated, run


@dataclass
class Record:
    """Record episodes."""

    task: tyro.conf.Positional[str]
    out: tyro.conf.Positional[Path]
    """The dataset's folder, which is made."""
    episodes: int = 10
    seed: int = 0
    """Of the first episode; the others follow."""
    video: bool = False
    """Pictures as MP4 instead of PNG: smaller, and not quite without loss."""
    patience: float = 1.0
    """Seconds without a new action after which the robot is stopped."""


class Planned:
    """The expert as the loop's agent, with its plan made before: a robot that moves cannot wait for simulations."""

    def __init__(self, env: Any, observation: Any, seed: int):
        self._expert = StackingExpert(later=0)
        self._expert.reset(env, observation, seed)

    def reset(self, task: str) -> None:
        """The plan stands."""

    def act(self, observation: Any) -> np.ndarray:
        return self._expert.act(observation)


def main(record: Record) -> None:
    task = get_task(record.task)
    env = task.make()
    recorder = Recorder(source="expert")
    with Simulated(env, RATE, record.seed, task.has_success) as robot:
        for seed in range(record.seed, record.seed + record.episodes):
            robot.reset(seed)
            agent = Planned(env, robot.observe(), seed)
            report = run(robot, agent, task.id, seconds=STEPS / RATE, patience=record.patience, record=recorder)
            print(f"seed {seed}: success {report.success}, {report.timing.ticks} ticks, {report.timing.missed} missed", flush=True)
        episodes = (episode for episode, _ in recorder.episodes)
        write_lerobot(record.out, episodes, task.id, robot.observation_space, robot.action_space, RATE, record.video)


if __name__ == "__main__":
    main(tyro.cli(Record))
