"""Puck: a puck on ice that is pushed to a place, and must come to rest there.

An observation is six numbers: the puck's place, its speed and the goal, each as x and y, in metres and metres a second; the rink is
[-1, 1] in both. An action is the push, x and y in [-1, 1], an acceleration of so many m/s². The reward is 1 at the goal and falls with the
distance to 0. An episode has 100 steps of 0.1 s; it is a success if the puck lies within 5 cm of the goal at the end, slower than 5 cm/s.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from opengato.domains import Task

OBSERVATION_SPACE = spaces.Box(-np.inf, np.inf, (6,), np.float32)
ACTION_SPACE = spaces.Box(-1.0, 1.0, (2,), np.float32)
SECONDS, STEPS = 0.1, 100
NEAR = 0.05  # metres, and metres a second

# Task name -> how far from the rink's middle the puck may begin and the goal may be, metres.
RINKS = {"near": 0.3, "far": 0.9}


class Rink(gym.Env):
    """A puck without friction. It stops at the boards."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012
    render_mode = "rgb_array"
    observation_space, action_space = OBSERVATION_SPACE, ACTION_SPACE

    def __init__(self, reach: float):
        self.reach = reach

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.place, self.goal = self.np_random.uniform(-self.reach, self.reach, (2, 2))
        self.speed, self.steps = np.zeros(2), 0
        return self._observe(), {"success": False}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        self.steps += 1
        self.speed = self.speed + np.clip(action, -1.0, 1.0) * SECONDS
        moved = self.place + self.speed * SECONDS
        self.place = moved.clip(-1.0, 1.0)
        self.speed = np.where(moved == self.place, self.speed, 0.0)
        distance = float(np.linalg.norm(self.place - self.goal))
        rests = distance < NEAR and float(np.linalg.norm(self.speed)) < NEAR
        return self._observe(), max(0.0, 1.0 - distance), False, self.steps >= STEPS, {"success": rests}

    def _observe(self) -> np.ndarray:
        return np.concatenate([self.place, self.speed, self.goal]).astype(np.float32)

    def render(self) -> np.ndarray:
        """The rink from above, 96×96; the goal in green, the puck in black."""
        picture = np.full((96, 96, 3), 235, np.uint8)
        for at, colour in ((self.goal, (60, 160, 60)), (self.place, (20, 20, 20))):
            column, row = ((at + 1.0) / 2.0 * 89).round().astype(int)
            picture[row : row + 7, column : column + 7] = colour
        return picture


class Pusher:
    """Pushes towards the goal and brakes in time: a critically damped spring."""

    def reset(self, env: gym.Env, observation: np.ndarray, seed: int) -> None:
        """Nothing is kept between steps."""

    def act(self, observation: np.ndarray) -> np.ndarray:
        place, speed, goal = np.split(np.float64(observation), 3)
        return np.clip(4.0 * (goal - place) - 4.0 * speed, -1.0, 1.0).astype(np.float32)


def _start(env: gym.Env) -> tuple[np.ndarray, np.ndarray]:
    rink: Any = env.unwrapped
    return rink.place, rink.goal


TASKS = [
    Task(
        id=f"puck/{name}",
        observation_space=OBSERVATION_SPACE,
        action_space=ACTION_SPACE,
        make_env=partial(Rink, reach),
        make_expert=Pusher,
        requires="gymnasium",
        extra="",
        expert_name="a damped spring",
        has_success=True,
        start=_start,
        references="opengato_example_domain",
    )
    for name, reach in RINKS.items()
]
