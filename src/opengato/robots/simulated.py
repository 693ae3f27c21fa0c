"""A simulator as a robot: its physics move when, and only when, a control tick comes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gymnasium as gym

from opengato.domains import get_task
from opengato.domains.task import success_of
from opengato.errors import OpenGatoError
from opengato.robots.control import Report, run
from opengato.robots.takeover import Agent


class Simulated:
    """Any Gymnasium environment as a `Robot`, in real time: every command is one step of it, late ticks' commands too.

    Args:
        env: the environment; reset here. rate: control ticks a second. seed: of the first episode.
        has_success: whether its `info["success"]` tells success; None: where it is there, it does.

    Attributes:
        seed: of the current episode. reward, done, terminated, success: of its last step, see `Scored`.
    """

    def __init__(self, env: gym.Env, rate: float = 20.0, seed: int = 0, has_success: bool | None = False):
        self._env, self.rate, self._has_success = env, rate, has_success
        self.observation_space, self.action_space = env.observation_space, env.action_space
        self.reset(seed)

    @classmethod
    def of_task(cls, task_id: str, rate: float = 20.0, seed: int = 0) -> Simulated:
        """The environment of a task, such as "metaworld/reach". Raises OpenGatoError for an unknown one, or a missing simulator."""
        task = get_task(task_id)
        return cls(task.make(), rate, seed, task.has_success)

    def reset(self, seed: int) -> None:
        """Begin an episode; also after a stop."""
        self.seed = seed
        self._observation, _ = self._env.reset(seed=seed)
        self.reward, self.done, self.terminated = 0.0, False, False
        self.success = success_of(self._has_success, {})
        self._stopped = False

    def observe(self) -> Any:
        """What the environment returned last."""
        return self._observation

    def act(self, action: Any) -> None:
        """Step the environment. Raises OpenGatoError after a stop, and after the episode's end."""
        if self._stopped or self.done:
            raise OpenGatoError(f"the simulated robot {'is stopped' if self._stopped else 'has ended its episode'}: reset it first")
        self._observation, reward, terminated, truncated, info = self._env.step(action)
        self.reward, self.terminated, self.done = float(reward), bool(terminated), bool(terminated or truncated)
        self.success = success_of(self._has_success, info)

    def stop(self) -> None:
        """No further step is taken until it is reset."""
        self._stopped = True

    def close(self) -> None:
        """Close the environment."""
        self._env.close()

    def __enter__(self) -> Simulated:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def episodes(robot: Simulated, agent: Agent, task: str, seconds: float, **settings: Any) -> Iterator[Report]:
    """Run one episode after the other, of consecutive seeds, until `seconds` of ticks are used up or the user interrupts.

    Args:
        settings: those of `run`.
    """
    left = max(1, round(seconds * robot.rate))
    while left > 0:
        report = run(robot, agent, task, seconds=left / robot.rate, **settings)
        left -= report.timing.ticks + report.timing.missed
        yield report
        if report.ended == "interrupted":
            return
        if left > 0:
            robot.reset(robot.seed + 1)
