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

from opengato.domains.task import Expert, Task
from opengato.errors import OpenGatoError
from opengato.experts.icem import Planner, PlannerConfig, Reward, Rolled


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
        try:
            # Shadows and reflections cost most of a software renderer's time.
            return self.inner.physics.render(240, 320, camera_id=0, render_flag_overrides={"shadow": False, "reflection": False})
        except Exception as error:
            raise OpenGatoError(
                f"MuJoCo cannot render here ({error}): install a GL library (Debian: libegl1 libgl1-mesa-dri) and set MUJOCO_GL=egl"
            ) from error

    def close(self) -> None:
        self.inner.close()


def _start(env: gym.Env) -> dict[str, np.ndarray]:
    """The state, and what tasks move of the world itself."""
    physics = env.unwrapped.inner.physics  # type: ignore[attr-defined]
    moved = {name: np.array(getattr(physics.model, name)) for name in ("body_pos", "geom_pos", "site_pos")}
    return {"state": physics.get_state(), **moved}


def tolerance(
    x: np.ndarray, low: float = 0.0, high: float = 0.0, margin: float = 0.0, sigmoid: str = "gaussian", at_margin: float = 0.1
) -> np.ndarray:
    """`dm_control.utils.rewards.tolerance` over arrays: 1 inside [low, high], falling outside."""
    from dm_control.utils import rewards

    return np.asarray(rewards.tolerance(x, (low, high), margin, sigmoid, at_margin), np.float64)


# ---- the suite's own rewards, over arrays: each takes the environment's physics and returns a function of what was rolled out --------


def _small_control(actions: np.ndarray) -> np.ndarray:
    return (4 + tolerance(actions, margin=1, sigmoid="quadratic", at_margin=0.0).mean(-1)) / 5


def cartpole(physics: Any) -> Reward:
    def reward(r: Rolled) -> np.ndarray:
        upright = (np.cos(r.qpos[..., 1]) + 1) / 2
        centred = (1 + tolerance(r.qpos[..., 0], margin=2)) / 2
        calm = (1 + tolerance(r.qvel[..., 1], margin=5)) / 2
        return upright * centred * _small_control(r.actions) * calm

    return reward


def _reach(physics: Any) -> Callable[[Rolled], np.ndarray]:
    """The distance of a reacher's finger from its target, metres."""
    target = np.array(physics.named.model.geom_pos["target", :2])
    upper, lower = physics.named.model.body_pos[["hand", "finger"], 0]

    def distance(r: Rolled) -> np.ndarray:
        shoulder, wrist = r.qpos[..., 0], r.qpos[..., 0] + r.qpos[..., 1]
        x = upper * np.cos(shoulder) + lower * np.cos(wrist)
        y = upper * np.sin(shoulder) + lower * np.sin(wrist)
        return np.hypot(x - target[0], y - target[1])

    return distance


def reacher(physics: Any) -> Reward:
    distance, radius = _reach(physics), float(physics.named.model.geom_size[["target", "finger"], 0].sum())
    return lambda r: tolerance(distance(r), high=radius)


def finger_spin(physics: Any) -> Reward:
    return lambda r: (r.qvel[..., 2] <= -15.0).astype(np.float64)


def _ball(r: Rolled) -> tuple[np.ndarray, np.ndarray]:
    """How far a ball is to the right of and above the middle of its cup, metres."""
    return r.qpos[..., 2] - r.qpos[..., 0], (0.2 + r.qpos[..., 3]) - (0.6 - 0.05 + r.qpos[..., 1])


def ball_in_cup(physics: Any) -> Reward:
    room = 0.05 - 0.025  # half the target's side, less the ball's radius

    def reward(r: Rolled) -> np.ndarray:
        x, z = _ball(r)
        return ((np.abs(x) < room) & (np.abs(z) < room)).astype(np.float64)

    return reward


def point_mass(physics: Any) -> Reward:
    size = float(physics.named.model.geom_size["target", 0])

    def reward(r: Rolled) -> np.ndarray:
        return tolerance(np.hypot(r.qpos[..., 0], r.qpos[..., 1]), high=size, margin=size) * _small_control(r.actions)

    return reward


def pendulum(physics: Any) -> Reward:
    return lambda r: tolerance(np.cos(r.qpos[..., 0]), np.cos(np.deg2rad(8)), 1)


def walker(physics: Any, speed: float = 0.0) -> Reward:
    def reward(r: Rolled) -> np.ndarray:
        standing = tolerance(1.3 + r.qpos[..., 0], 1.2, np.inf, margin=0.6)
        stand = (3 * standing + (1 + np.cos(r.qpos[..., 2])) / 2) / 4
        if speed == 0:
            return stand
        return stand * (5 * tolerance(r.sensors[..., 0], speed, np.inf, speed / 2, "linear", 0.5) + 1) / 6

    return reward


def cheetah(physics: Any) -> Reward:
    return lambda r: tolerance(r.sensors[..., 0], 10, np.inf, 10, "linear", 0.0)


def _hopper_height(physics: Any) -> Callable[[Rolled], np.ndarray]:
    """Height of a hopper's torso above its foot (their centres of mass), metres: a chain of hinges about y."""
    model = physics.named.model
    torso_centre, foot_centre = np.array(model.body_ipos["torso"]), np.array(model.body_ipos["foot"])
    links = [np.array(model.body_pos[name]) for name in ("pelvis", "thigh", "calf", "foot")]
    signs = [float(model.jnt_axis[name, "y"]) for name in ("rooty", "waist", "hip", "knee", "ankle")]

    def height(r: Rolled) -> np.ndarray:
        angle = signs[0] * r.qpos[..., 2]

        def z(offset: np.ndarray) -> np.ndarray:
            return offset[2] * np.cos(angle) - offset[0] * np.sin(angle)

        torso, foot = z(torso_centre), z(links[0])
        for k in range(1, 5):
            angle = angle + signs[k] * r.qpos[..., 2 + k]
            foot = foot + z(links[k] if k < 4 else foot_centre)
        return torso - foot

    return height


def hopper_stand(physics: Any) -> Reward:
    height = _hopper_height(physics)
    return lambda r: tolerance(height(r), 0.6, 2) * _small_control(r.actions)


# ---- hints that planning needs beyond the reward, where that is flat within the horizon ----------------------------------------------


def _cartpole_hint(physics: Any) -> Reward:
    """The rail's end lies beyond the horizon."""
    return lambda r: -0.1 * np.square(r.qpos[..., 0]) - 0.02 * np.square(r.qvel[..., 0])


def _reacher_hint(physics: Any) -> Reward:
    distance = _reach(physics)
    return lambda r: -4.0 * distance(r) - 0.01 * np.square(r.qvel).sum(-1)


def _finger_hint(physics: Any) -> Reward:
    """Spin as fast as counts; come near the spinner's end, whence one can push."""

    def hint(r: Rolled) -> np.ndarray:
        return 0.5 * np.clip(-r.qvel[..., 2] / 18.0, -1, 1) - 0.005 * np.square(r.qvel[..., :2]).mean(-1)

    return hint


def _ball_hint(physics: Any) -> Reward:
    """The ball must come over the rim and fall in."""

    def hint(r: Rolled) -> np.ndarray:
        x, z = _ball(r)
        return -2.0 * np.hypot(x, z - 0.05 * (np.abs(x) > 0.04)) - 0.3 * (z < 0)

    return hint


def _point_mass_hint(physics: Any) -> Reward:
    return lambda r: -3.0 * np.hypot(r.qpos[..., 0], r.qpos[..., 1]) - 0.05 * np.square(r.qvel).sum(-1)


def _pendulum_hint(physics: Any) -> Reward:
    """Energy, and rest at the top."""
    return lambda r: np.cos(r.qpos[..., 0]) - 0.01 * np.square(r.qvel[..., 0]) * (np.cos(r.qpos[..., 0]) > 0.9)


def _walker_hint(physics: Any) -> Reward:
    """Upright well before the reward asks for it."""
    return lambda r: 0.5 * np.minimum(1.3 + r.qpos[..., 0], 1.25) + 0.3 * np.cos(r.qpos[..., 2])


def _hopper_hint(physics: Any) -> Reward:
    height = _hopper_height(physics)
    return lambda r: np.minimum(height(r), 0.8) + 0.3 * np.cos(r.qpos[..., 2]) - 0.01 * np.square(r.qvel[..., :2]).sum(-1)


def _no_hint(physics: Any) -> Reward:
    return lambda r: np.zeros(r.qpos.shape[:2])


@dataclass(frozen=True)
class _Recipe:
    """How a task is planned: its reward and the hint beside it, given the environment's physics, and how far to look."""

    reward: Callable[[Any], Reward]
    hint: Callable[[Any], Reward]
    planner: PlannerConfig

    def objective(self, physics: Any) -> Reward:
        reward, hint = self.reward(physics), self.hint(physics)
        return lambda r: reward(r) + hint(r)


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
            self.recipe.objective(self._physics),
            self.recipe.planner,
            seed,
        )

    def act(self, observation: Any) -> np.ndarray:
        return self._planner.act(self._physics.data.ptr).astype(np.float32)


RECIPES: dict[tuple[str, str], _Recipe] = {
    ("cartpole", "balance"): _Recipe(
        cartpole,
        _cartpole_hint,
        PlannerConfig(horizon=50, step=2, stretch=2, knots=8, samples=20, elites=5, iterations=2, replan=4, std=0.3),
    ),
    ("cartpole", "swingup"): _Recipe(
        cartpole, _cartpole_hint, PlannerConfig(horizon=50, step=2, stretch=2, knots=11, samples=40, elites=6, replan=4, std=0.7)
    ),
    ("reacher", "easy"): _Recipe(
        reacher, _reacher_hint, PlannerConfig(horizon=12, step=2, stretch=2, knots=5, samples=20, action_cost=0.05)
    ),
    ("reacher", "hard"): _Recipe(
        reacher, _reacher_hint, PlannerConfig(horizon=12, step=2, stretch=2, knots=5, samples=20, action_cost=0.05)
    ),
    ("finger", "spin"): _Recipe(finger_spin, _finger_hint, PlannerConfig(horizon=20, knots=6, samples=24)),
    ("ball_in_cup", "catch"): _Recipe(ball_in_cup, _ball_hint, PlannerConfig(horizon=30, knots=8, samples=24)),
    ("point_mass", "easy"): _Recipe(point_mass, _point_mass_hint, PlannerConfig(horizon=20, step=2, stretch=2, knots=6, samples=20)),
    ("pendulum", "swingup"): _Recipe(pendulum, _pendulum_hint, PlannerConfig(horizon=50, step=2, stretch=2, knots=11, samples=24, std=0.7)),
    ("walker", "stand"): _Recipe(walker, _walker_hint, PlannerConfig(horizon=24, knots=7, samples=24)),
    ("walker", "walk"): _Recipe(partial(walker, speed=1.0), _walker_hint, PlannerConfig(horizon=24, knots=7, samples=30)),
    ("cheetah", "run"): _Recipe(cheetah, _no_hint, PlannerConfig(horizon=30, knots=9, samples=30, std=0.7)),
    ("hopper", "stand"): _Recipe(hopper_stand, _hopper_hint, PlannerConfig(horizon=30, knots=8, samples=30)),
}

# Observations (name -> length) and number of actuators, stated so that listing tasks needs no simulator. cartpole swingup is one of the
# four tasks that the paper holds out of pretraining.
SPACES: dict[tuple[str, str], tuple[dict[str, int], int]] = {
    ("cartpole", "balance"): ({"position": 3, "velocity": 2}, 1),
    ("cartpole", "swingup"): ({"position": 3, "velocity": 2}, 1),
    ("reacher", "easy"): ({"position": 2, "to_target": 2, "velocity": 2}, 2),
    ("reacher", "hard"): ({"position": 2, "to_target": 2, "velocity": 2}, 2),
    ("finger", "spin"): ({"position": 4, "velocity": 3, "touch": 2}, 2),
    ("ball_in_cup", "catch"): ({"position": 4, "velocity": 4}, 2),
    ("point_mass", "easy"): ({"position": 2, "velocity": 2}, 2),
    ("pendulum", "swingup"): ({"orientation": 2, "velocity": 1}, 1),
    ("walker", "stand"): ({"orientations": 14, "height": 1, "velocity": 9}, 6),
    ("walker", "walk"): ({"orientations": 14, "height": 1, "velocity": 9}, 6),
    ("cheetah", "run"): ({"position": 8, "velocity": 9}, 6),
    ("hopper", "stand"): ({"position": 6, "velocity": 7, "touch": 2}, 4),
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
        burst=30,
        start=_start,
    )


TASKS = [_task(key) for key in RECIPES]
