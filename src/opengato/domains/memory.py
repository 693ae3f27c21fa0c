"""Memory: corridors whose end must be chosen by what was seen only at their beginning; nothing else in the project needs a past so plainly.

An observation is four numbers: the cue (-1 left, 1 right; 0 after the first timestep), whether this is the junction, and two of noise that
mean nothing. An action is 0 to 2: forward, left, right. The junction is `length` steps ahead, a number drawn anew for every episode. The
right turn there is a reward of 1 and a success, the wrong one ends the episode without; a turn in the corridor stays where it is. An agent
without memory succeeds in half of the episodes at best, whatever it has learned (a T-maze, Bakker 2001).
"""

from __future__ import annotations

from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from opengato.domains.task import Task

FORWARD, LEFT, RIGHT = range(3)
OBSERVATION_SPACE = spaces.Box(-4.0, 4.0, (4,), np.float32)
ACTION_SPACE = spaces.Discrete(3)

# Task name -> shortest and longest corridor.
CORRIDORS = {"t-maze-short": (2, 6), "t-maze": (8, 40)}


class TMaze(gym.Env):
    """A corridor of `shortest` to `longest` steps; `info["success"]` is 1 once the right turn was taken."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012
    render_mode = "rgb_array"

    def __init__(self, shortest: int, longest: int):
        self.observation_space, self.action_space = OBSERVATION_SPACE, ACTION_SPACE
        self.shortest, self.longest = shortest, longest

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.length = int(self.np_random.integers(self.shortest, self.longest + 1))
        self.cue = int(self.np_random.integers(2)) * 2 - 1
        self.place = self.steps = 0
        return self._observe(), {"success": False}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict]:
        self.steps += 1
        at_junction, right = self.place == self.length, False
        if at_junction and action != FORWARD:
            right = action == (LEFT if self.cue < 0 else RIGHT)
        elif action == FORWARD:
            self.place = min(self.place + 1, self.length)
        ended = at_junction and action != FORWARD
        return self._observe(), float(right), ended, not ended and self.steps >= 2 * self.longest + 10, {"success": right}

    def _observe(self) -> np.ndarray:
        noise = self.np_random.standard_normal(2).clip(-4, 4)
        return np.array([self.cue if self.steps == 0 else 0, self.place == self.length, *noise], np.float32)

    def render(self) -> np.ndarray:
        """The corridor, 8 pixels a step, seen from above; the agent in red, the right end in green."""
        picture = np.full((24, 8 * (self.longest + 1), 3), 40, np.uint8)
        picture[8:16, : 8 * (self.length + 1)] = 200
        picture[:, 8 * self.length : 8 * (self.length + 1)] = 200
        rows = slice(0, 8) if self.cue < 0 else slice(16, 24)
        picture[rows, 8 * self.length : 8 * (self.length + 1)] = (60, 180, 60)
        picture[8:16, 8 * self.place : 8 * (self.place + 1)] = (200, 40, 40)
        return picture


def _start(env: gym.Env) -> tuple[int, int, str]:
    maze: Any = env.unwrapped
    return maze.length, maze.cue, str(maze.np_random.bit_generator.state)  # which draws the noise to come


class Walker:
    """Goes forward to the junction and takes the turn that the environment knows to be right."""

    def reset(self, env: gym.Env, observation: Any, seed: int) -> None:
        self._maze: Any = env.unwrapped

    def act(self, observation: np.ndarray) -> int:
        if self._maze.place < self._maze.length:
            return FORWARD
        return LEFT if self._maze.cue < 0 else RIGHT


TASKS = [
    Task(
        id=f"memory/{name}",
        observation_space=OBSERVATION_SPACE,
        action_space=ACTION_SPACE,
        make_env=partial(TMaze, *lengths),
        make_expert=Walker,
        requires="gymnasium",
        extra="",
        expert_name="scripted",
        has_success=True,
        start=_start,
        needs_past=True,
    )
    for name, lengths in CORRIDORS.items()
]
