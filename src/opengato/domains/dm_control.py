"""DM Control Suite from state, solved by planning (iCEM) on the simulator itself."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from opengato.domains.icem import Planner, PlannerConfig, Reward
from opengato.domains.task import Expert, Task
from opengato.errors import OpenGatoError


class Suite(gym.Env):
    """A task of `dm_control.suite`: its named observations, rewards in [0, 1], 1,000 control steps; reset's seed seeds its randomness."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 50}  # noqa: RUF012
    render_mode = "rgb_array"

    def __init__(self, domain: str, task: str, observation_space: spaces.Dict, action_space: spaces.Box):
        os.environ.setdefault("MUJOCO_GL", "egl")
        from dm_control import suite

        self.inner = suite.load(domain, task, task_kwargs={"random": 0})
        self.observation_space, self.action_space = observation_space, action_space

    def _observation(self, raw: dict[str, Any]) -> dict[str, np.ndarray]:
        return {key: np.atleast_1d(np.asarray(value, np.float32)) for key, value in raw.items()}

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[dict[str, np.ndarray], dict]:
        super().reset(seed=seed)
        if seed is not None:
            self.inner.task.random.seed(seed % 2**32)
        return self._observation(self.inner.reset().observation), {}

    def step(self, action: np.ndarray) -> tuple[dict[str, np.ndarray], float, bool, bool, dict]:
        step = self.inner.step(np.asarray(action, np.float64))
        ended = step.last()
        return (
            self._observation(step.observation),
            float(step.reward or 0.0),
            ended and step.discount == 0,
            ended and step.discount != 0,
            {},
        )

    def render(self) -> np.ndarray:
        import mujoco

        try:
            # Shadows and reflections cost most of a software renderer's time.
            option = mujoco.MjvOption()
            return self.inner.physics.render(
                240, 320, camera_id=0, scene_option=option, render_flag_overrides={"shadow": False, "reflection": False}
            )
        except Exception as error:
            raise OpenGatoError(
                f"MuJoCo cannot render here ({error}): install a GL library (Debian: libegl1 libgl1-mesa-dri) and set MUJOCO_GL=egl"
            ) from error

    def close(self) -> None:
        self.inner.close()


def tolerance(
    x: np.ndarray, low: float = 0.0, high: float = 0.0, margin: float = 0.0, sigmoid: str = "gaussian", at_margin: float = 0.1
) -> np.ndarray:
    """`dm_control.utils.rewards.tolerance` over arrays: 1 inside [low, high], falling outside."""
    from dm_control.utils import rewards

    return rewards.tolerance(x, (low, high), margin, sigmoid, at_margin)


def _cartpole(qpos: np.ndarray, qvel: np.ndarray, actions: np.ndarray) -> np.ndarray:
    """The suite's smooth reward, less a pull to the middle: the rail's end lies beyond the horizon."""
    upright = (np.cos(qpos[..., 1]) + 1) / 2
    centred = (1 + tolerance(qpos[..., 0], margin=2)) / 2
    control = (4 + tolerance(actions[..., 0], margin=1, sigmoid="quadratic", at_margin=0.0)) / 5
    calm = (1 + tolerance(qvel[..., 1], margin=5)) / 2
    return upright * centred * control * calm - 0.1 * np.square(qpos[..., 0]) - 0.02 * np.square(qvel[..., 0])


def _pendulum(qpos: np.ndarray, qvel: np.ndarray, actions: np.ndarray) -> np.ndarray:
    """Shaped: the suite rewards only the last eight degrees."""
    return (np.cos(qpos[..., 0]) + 1) / 2 - 0.01 * np.square(qvel[..., 0]) * (np.cos(qpos[..., 0]) > 0.9)


def _reacher(target: np.ndarray, radius: float, qpos: np.ndarray, qvel: np.ndarray, actions: np.ndarray) -> np.ndarray:
    """Shaped: the suite rewards only contact; the distance leads there, and low speed keeps it."""
    shoulder, wrist = qpos[..., 0], qpos[..., 0] + qpos[..., 1]
    x = 0.12 * np.cos(shoulder) + 0.12 * np.cos(wrist)
    y = 0.12 * np.sin(shoulder) + 0.12 * np.sin(wrist)
    distance = np.hypot(x - target[0], y - target[1])
    return (distance < radius) - 4.0 * distance - 0.005 * np.square(qvel).sum(-1)


def _point_mass(qpos: np.ndarray, qvel: np.ndarray, actions: np.ndarray) -> np.ndarray:
    """Shaped: distance to the middle."""
    return tolerance(np.hypot(qpos[..., 0], qpos[..., 1]), high=0.015, margin=0.3) - 0.02 * np.square(qvel).sum(-1)


def _reacher_reward(physics: Any) -> Reward:
    model = physics.named.model
    radius = float(model.geom_size[["target", "finger"], 0].sum())
    return partial(_reacher, np.array(model.geom_pos["target", :2]), radius)


def _plain(reward: Reward, physics: Any) -> Reward:
    return reward


@dataclass(frozen=True)
class _Recipe:
    """How a task is planned: the reward, given the environment's physics, and how far to look."""

    reward: Callable[[Any], Reward]
    planner: PlannerConfig


class PlanningExpert:
    """iCEM on a copy of the environment's model; replans from whatever state it is asked about."""

    def __init__(self, recipe: _Recipe):
        self.recipe = recipe

    def reset(self, env: gym.Env, observation: Any, seed: int) -> None:
        suite = env.unwrapped.inner  # type: ignore[attr-defined]
        self._physics = suite.physics
        # The episode may have changed the model (a new target), so it is copied at every reset.
        self._planner = Planner(
            self._physics.model.ptr,
            round(suite.control_timestep() / self._physics.timestep()),
            self.recipe.reward(self._physics),
            self.recipe.planner,
            seed,
        )

    def act(self, observation: Any) -> np.ndarray:
        return self._planner.act(self._physics.data.ptr).astype(np.float32)


RECIPES: dict[tuple[str, str], _Recipe] = {
    ("cartpole", "balance"): _Recipe(
        partial(_plain, _cartpole), PlannerConfig(horizon=100, hold=10, samples=24, elites=4, iterations=3, replan=4, std=0.2)
    ),
    ("cartpole", "swingup"): _Recipe(partial(_plain, _cartpole), PlannerConfig(horizon=100, hold=5, samples=40, replan=2, std=0.7)),
    ("reacher", "easy"): _Recipe(_reacher_reward, PlannerConfig(horizon=24, hold=3, samples=24, replan=2, std=0.5, action_cost=0.05)),
    ("reacher", "hard"): _Recipe(_reacher_reward, PlannerConfig(horizon=24, hold=3, samples=32, replan=2, std=0.5, action_cost=0.05)),
    ("pendulum", "swingup"): _Recipe(partial(_plain, _pendulum), PlannerConfig(horizon=75, hold=5, samples=32, replan=2, std=0.7)),
    ("point_mass", "easy"): _Recipe(partial(_plain, _point_mass), PlannerConfig(horizon=40, hold=4, samples=24, replan=2, std=0.5)),
}

# Observations (name -> length) and number of actuators, stated so that listing tasks needs no simulator. cartpole swingup is one of the
# four tasks that the paper holds out of pretraining.
SPACES: dict[tuple[str, str], tuple[dict[str, int], int]] = {
    ("cartpole", "balance"): ({"position": 3, "velocity": 2}, 1),
    ("cartpole", "swingup"): ({"position": 3, "velocity": 2}, 1),
    ("reacher", "easy"): ({"position": 2, "to_target": 2, "velocity": 2}, 2),
    ("reacher", "hard"): ({"position": 2, "to_target": 2, "velocity": 2}, 2),
    ("pendulum", "swingup"): ({"orientation": 2, "velocity": 1}, 1),
    ("point_mass", "easy"): ({"position": 2, "velocity": 2}, 2),
}


def _spaces(observation: dict[str, int], actuators: int) -> tuple[spaces.Dict, spaces.Box]:
    return (
        spaces.Dict({k: spaces.Box(-np.inf, np.inf, (n,), np.float32) for k, n in observation.items()}),
        spaces.Box(-1.0, 1.0, (actuators,), np.float32),
    )


def _make_expert(recipe: _Recipe) -> Expert:
    return PlanningExpert(recipe)


def _task(key: tuple[str, str]) -> Task:
    domain, name = key
    observation_space, action_space = _spaces(*SPACES[key])
    return Task(
        id=f"dm-control/{domain}-{name}".replace("_", "-"),
        observation_space=observation_space,
        action_space=action_space,
        make_env=partial(Suite, domain, name, observation_space, action_space),
        make_expert=partial(_make_expert, RECIPES[key]),
        requires="dm_control",
        extra="dmc",
        expert_name="iCEM planning over mujoco.rollout",
    )


TASKS = [_task(key) for key in RECIPES]
