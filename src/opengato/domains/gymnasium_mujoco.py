"""Gymnasium's MuJoCo bodies, version 5, from their own observations, solved by planning (iCEM) on the simulator itself.

Rewards, ends and the limits of 1,000 steps (50 for the reacher, 100 for the pusher) are Gymnasium's.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from opengato.domains.task import Expert, Task
from opengato.experts.icem import PlannerConfig, Reward, Rolled
from opengato.experts.kinematics import Poses
from opengato.experts.planning import EXPERT_NAME, PlanningExpert, Simulation


class Body(gym.Env):
    """One of Gymnasium's environments; reset's seed draws what its own reset draws."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 50}  # noqa: RUF012
    render_mode = "rgb_array"

    def __init__(self, name: str, limit: int, observation_space: spaces.Space, action_space: spaces.Box):
        os.environ.setdefault("MUJOCO_GL", "egl")
        self.observation_space, self.action_space, self.limit = observation_space, action_space, limit
        self.inner: Any = self._make(name)
        self._steps = 0

    def _make(self, name: str) -> Any:
        """The gymnasium.envs.mujoco.MujocoEnv of an id."""
        return gym.make(name, render_mode="rgb_array", width=240, height=240, disable_env_checker=True).unwrapped

    def _observation(self, raw: np.ndarray) -> Any:
        return np.asarray(raw, np.float32)

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[Any, dict]:
        super().reset(seed=seed)
        raw, _ = self.inner.reset(seed=seed)
        self._steps = 0
        return self._observation(raw), {}

    def step(self, action: np.ndarray) -> tuple[Any, float, bool, bool, dict]:
        raw, reward, ended, _, _ = self.inner.step(np.asarray(action, np.float64))
        self._steps += 1
        ended = bool(ended)
        return self._observation(raw), float(reward), ended, not ended and self._steps >= self.limit, {}

    def render(self) -> np.ndarray:
        return self.inner.render()

    def close(self) -> None:
        self.inner.close()


def simulation(env: gym.Env) -> Simulation:
    """Where one of Gymnasium's environments has its physics."""
    inner = env.unwrapped.inner  # type: ignore[attr-defined]
    return Simulation(inner.model, inner.data, inner.frame_skip)


def start(env: gym.Env) -> dict[str, np.ndarray]:
    """All of the state: most observations leave out where the body is."""
    data = env.unwrapped.inner.data  # type: ignore[attr-defined]
    return {"positions": data.qpos, "velocities": data.qvel}


# ---- Gymnasium's own rewards, over arrays ----------------------------------------------------------------------------------------------
# But for two things that no pose tells: what contact costs, and that the bodies' frames, by which some are rewarded, are one physics step
# old in there.


def _forward(before: np.ndarray, along: np.ndarray, seconds: float) -> np.ndarray:
    """Speeds (N, T) of a coordinate (N, T) that was `before` at the beginning."""
    return np.diff(along, axis=1, prepend=np.broadcast_to(before, (len(along), 1))) / seconds


def _effort(r: Rolled) -> np.ndarray:
    return np.square(r.actions).sum(-1)


def _alive(healthy: np.ndarray) -> np.ndarray:
    """Whether the episode goes on before each step, (N, T): what comes after its end counts nothing."""
    return np.cumprod(np.concatenate([np.ones_like(healthy[:, :1], float), healthy[:, :-1]], 1), axis=1)


def runner(
    seconds: float, cost: float, bonus: float = 0.0, healthy: Callable[[Rolled], np.ndarray] | None = None, weight: float = 1.0
) -> Reward:
    """Forward speed of the root's x, less the effort, and a bonus while healthy, whose loss is the end; `seconds`: of a control step."""

    def reward(r: Rolled) -> np.ndarray:
        speed = weight * _forward(r.start[0], r.qpos[..., 0], seconds) - cost * _effort(r)
        if healthy is None:
            return speed
        well = healthy(r)
        return (speed + bonus * well) * _alive(well)

    return reward


def hopper_well(r: Rolled) -> np.ndarray:
    state = np.concatenate([r.qpos[..., 2:], r.qvel], -1)
    return (r.qpos[..., 1] > 0.7) & (np.abs(r.qpos[..., 2]) < 0.2) & (np.abs(state) < 100).all(-1)


def walker_well(r: Rolled) -> np.ndarray:
    return (r.qpos[..., 1] > 0.8) & (r.qpos[..., 1] < 2.0) & (np.abs(r.qpos[..., 2]) < 1.0)


def _ant_well(r: Rolled) -> np.ndarray:
    return (r.qpos[..., 2] >= 0.2) & (r.qpos[..., 2] <= 1.0)


def humanoid(r: Rolled) -> np.ndarray:
    model = r.model
    share = model.body_mass / model.body_mass.sum()

    def x(qpos: np.ndarray) -> np.ndarray:
        poses = Poses(model, qpos)
        return np.asarray(sum(share[k] * poses.centre(model.body(k).name)[..., 0] for k in range(1, model.nbody)))

    well = (r.qpos[..., 2] > 1.0) & (r.qpos[..., 2] < 2.0)
    return (1.25 * _forward(x(r.start), x(r.qpos), 0.015) + 5.0 * well - 0.1 * _effort(r)) * _alive(well)


def humanoid_standup(r: Rolled) -> np.ndarray:
    return r.qpos[..., 2] / 0.003 + 1.0 - 0.1 * _effort(r)


def inverted_pendulum(r: Rolled) -> np.ndarray:
    well = np.abs(r.qpos[..., 1]) <= 0.2
    return well * _alive(well)


def inverted_double_pendulum(r: Rolled) -> np.ndarray:
    lower, upper = r.qpos[..., 1], r.qpos[..., 1] + r.qpos[..., 2]
    x, y = r.qpos[..., 0] + 0.6 * (np.sin(lower) + np.sin(upper)), 0.6 * (np.cos(lower) + np.cos(upper))
    well = y > 1.0
    cost = 0.01 * x**2 + (y - 2.0) ** 2 + 1e-3 * r.qvel[..., 1] ** 2 + 5e-3 * r.qvel[..., 2] ** 2
    return (10.0 * well - cost) * _alive(well)


def _between(r: Rolled, one: str, other: str) -> np.ndarray:
    """The distance between two bodies' frames (N, T), metres."""
    return np.linalg.norm(r.at.body(one) - r.at.body(other), axis=-1)


def reacher(r: Rolled) -> np.ndarray:
    return -_between(r, "fingertip", "target") - _effort(r)


def pusher(r: Rolled) -> np.ndarray:
    return -0.5 * _between(r, "object", "tips_arm") - _between(r, "object", "goal") - 0.1 * _effort(r)


# ---- what planning needs beyond the reward ---------------------------------------------------------------------------------------------


def no_hint(r: Rolled) -> np.ndarray:
    return np.zeros(r.qpos.shape[:2])


def _pendulum_hint(r: Rolled) -> np.ndarray:
    """Upright, each pole for itself, in the middle of the rail, whose end lies beyond the horizon, and slow."""
    lean = np.cumsum(r.qpos[..., 1:], -1)
    return -30.0 * np.square(lean).sum(-1) - np.square(r.qpos[..., 0]) - 0.1 * np.square(r.qvel).sum(-1)


def upright_hint(r: Rolled) -> np.ndarray:
    """Of flat bodies: well above where the episode ends, and upright."""
    return np.minimum(r.qpos[..., 1], 1.2) - 2.0 * np.square(r.qpos[..., 2])


def _humanoid_hint(r: Rolled) -> np.ndarray:
    """The trunk high and upright: the root's axis upwards."""
    upright = 1.0 - 2.0 * np.square(r.qpos[..., 4:6]).sum(-1)
    return 5.0 * np.minimum(r.qpos[..., 2], 1.3) + 2.0 * upright


@dataclass(frozen=True)
class _Recipe:
    """A body: the id, its sizes, the bound of its actions, its limit of steps, and how it is planned."""

    env_id: str
    observation: int
    action: int
    bound: float
    limit: int
    reward: Reward
    hint: Reward
    planner: PlannerConfig

    def objective(self, r: Rolled) -> np.ndarray:
        """(N, T) that plans are compared by."""
        return self.reward(r) + self.hint(r)


# What falls at once is planned close to the plan that holds: wide samples all fall, and tell nothing.
_POLE = PlannerConfig(horizon=15, knots=8, samples=24, iterations=3, std=0.1, least_std=0.03, replan=1, change_cost=0.0)
_FLAT = PlannerConfig(horizon=40, knots=11, samples=30)
RECIPES = {
    "ant": _Recipe("Ant-v5", 105, 8, 1.0, 1000, runner(0.05, 0.5, 1.0, _ant_well), no_hint, PlannerConfig(horizon=25, knots=8, samples=30)),
    "half-cheetah": _Recipe(
        "HalfCheetah-v5", 17, 6, 1.0, 1000, runner(0.05, 0.1), no_hint, PlannerConfig(horizon=25, knots=9, samples=30, std=0.7)
    ),
    "hopper": _Recipe("Hopper-v5", 11, 3, 1.0, 1000, runner(0.008, 1e-3, 1.0, hopper_well), upright_hint, _FLAT),
    "humanoid": _Recipe(
        "Humanoid-v5", 348, 17, 0.4, 1000, humanoid, _humanoid_hint, PlannerConfig(horizon=30, knots=8, samples=40, elites=8)
    ),
    "humanoid-standup": _Recipe(
        "HumanoidStandup-v5", 348, 17, 0.4, 1000, humanoid_standup, no_hint, PlannerConfig(horizon=30, knots=8, samples=40, elites=8)
    ),
    "inverted-double-pendulum": _Recipe(
        "InvertedDoublePendulum-v5",
        9,
        1,
        1.0,
        1000,
        inverted_double_pendulum,
        _pendulum_hint,
        _POLE,
    ),
    "inverted-pendulum": _Recipe("InvertedPendulum-v5", 4, 1, 3.0, 1000, inverted_pendulum, _pendulum_hint, _POLE),
    "pusher": _Recipe("Pusher-v5", 23, 7, 2.0, 100, pusher, no_hint, PlannerConfig(horizon=20, knots=6, samples=40)),
    "reacher": _Recipe("Reacher-v5", 10, 2, 1.0, 50, reacher, no_hint, PlannerConfig(horizon=15, knots=5)),
    "swimmer": _Recipe(
        "Swimmer-v5", 8, 2, 1.0, 1000, runner(0.04, 1e-4), no_hint, PlannerConfig(horizon=40, step=2, stretch=2, knots=11, std=0.7)
    ),
    "walker2d": _Recipe("Walker2d-v5", 17, 6, 1.0, 1000, runner(0.008, 1e-3, 1.0, walker_well), upright_hint, _FLAT),
}


def _make_expert(name: str) -> Expert:
    recipe = RECIPES[name]
    return PlanningExpert(simulation, recipe.objective, recipe.planner)


def _task(name: str, recipe: _Recipe) -> Task:
    observation_space = spaces.Box(-np.inf, np.inf, (recipe.observation,), np.float32)
    action_space = spaces.Box(-recipe.bound, recipe.bound, (recipe.action,), np.float32)
    return Task(
        id=f"gymnasium-mujoco/{name}",
        observation_space=observation_space,
        action_space=action_space,
        make_env=partial(Body, recipe.env_id, recipe.limit, observation_space, action_space),
        make_expert=partial(_make_expert, name),
        requires="mujoco",
        extra="mujoco",
        expert_name=EXPERT_NAME,
        burst=30,
        start=start,
    )


TASKS = [_task(name, recipe) for name, recipe in RECIPES.items()]
