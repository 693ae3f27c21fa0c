"""DM Control's manipulation tasks: the Jaco arm reaches, lifts, places, stacks and takes apart, from features or from a camera.

The 25 of `dm_control.manipulation` under their own names: "-features" sees the arm, the hand and every prop; "-vision" the arm, the hand
and a camera of 84×84 pixels, drawn without shadows and reflections, which cost most of a software renderer's time. Rewards lie in [0, 1],
episodes are 250 steps, actions are the velocities of six joints and three fingers, radians a second. `info["success"]`: the step's reward
is full.
"""

from __future__ import annotations

import os
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from opengato.domains.dm_manipulation_experts import EXPERTS
from opengato.domains.task import Task

FULL = 0.99  # of a reward of 1: the suite's tolerances end just below

_BODY = {
    "jaco_arm/joints_pos": 12,
    "jaco_arm/joints_torque": 6,
    "jaco_arm/joints_vel": 6,
    "jaco_arm/jaco_hand/joints_pos": 3,
    "jaco_arm/jaco_hand/joints_vel": 3,
    "jaco_arm/jaco_hand/pinch_site_pos": 3,
    "jaco_arm/jaco_hand/pinch_site_rmat": 9,
}
_PROP = {"angular_velocity": 3, "linear_velocity": 3, "orientation": 4, "position": 3}
_BRICKS = ("duplo2x4", "duplo2x4_2", "duplo2x4_4", "duplo2x4_6", "duplo2x4_8")

# Task -> props that its features tell of, what else they tell and how many numbers that is, and whether there is one from a camera.
NAMES: dict[str, tuple[tuple[str, ...], dict[str, int], bool]] = {
    "stack_2_bricks": (_BRICKS[:2], {}, True),
    "stack_2_bricks_moveable_base": (_BRICKS[:2], {}, True),
    "stack_3_bricks": (_BRICKS[:3], {}, True),
    "stack_3_bricks_random_order": (_BRICKS[:3], {"desired_order": 3}, False),
    "stack_2_of_3_bricks_random_order": (_BRICKS[:3], {"desired_order": 2}, True),
    "reassemble_3_bricks_fixed_order": (_BRICKS[:3], {}, True),
    "reassemble_5_bricks_random_order": (_BRICKS, {"desired_order": 5}, True),
    "lift_brick": (_BRICKS[:1], {}, True),
    "lift_large_box": (("unnamed_model",), {}, True),
    "place_brick": (_BRICKS[:1], {"pedestal/position": 3}, True),
    "place_cradle": (_BRICKS[:1], {"pedestal/position": 3}, True),
    "reach_duplo": (_BRICKS[:1], {}, True),
    "reach_site": ((), {"target_position": 3}, True),
}
_FAST = np.array([0.6283185] * 3 + [0.8377580] * 3 + [5.0] * 3, np.float32)
ACTION_SPACE = spaces.Box(-_FAST, _FAST, dtype=np.float32)


def _spaces(name: str, camera: bool) -> spaces.Dict:
    props, others, _ = NAMES[name]
    told = dict(_BODY)
    if not camera:
        told |= others | {f"{prop}/{what}": n for prop in props for what, n in _PROP.items()}
    found: dict[str, spaces.Space] = {key.replace("/", "."): spaces.Box(-np.inf, np.inf, (n,), np.float32) for key, n in told.items()}
    if camera:
        found["front_close"] = spaces.Box(0, 255, (84, 84, 3), np.uint8)
    return spaces.Dict(found)


class Jaco(gym.Env):
    """One task of the suite; reset's seed seeds its randomness. A field's name has dots in place of the suite's slashes."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 25}  # noqa: RUF012
    render_mode = "rgb_array"
    action_space = ACTION_SPACE

    def __init__(self, name: str, camera: bool):
        os.environ.setdefault("MUJOCO_GL", "egl")
        from dm_control import manipulation

        self.observation_space = _spaces(name, camera)
        self.inner: Any = manipulation.load(f"{name}_{'vision' if camera else 'features'}", seed=0)
        world = self.inner.task.root_entity.mjcf_model
        for light in world.find_all("light"):
            light.castshadow = "false"
        for material in world.find_all("material"):
            material.reflectance = 0.0
        world.visual.quality.offsamples = 0

    def _observe(self, raw: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        named = {key.replace("/", "."): value[0] for key, value in raw.items()}
        return {
            key: np.array(named[key]) if space.dtype == np.uint8 else np.asarray(named[key], np.float32).ravel()
            for key, space in self.observation_space.items()  # type: ignore[attr-defined]
        }

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[dict[str, np.ndarray], dict]:
        super().reset(seed=seed)
        if seed is not None:
            self.inner.random_state.seed(seed % 2**32)
        order = getattr(self.inner.task, "_initial_order", None)
        if order is not None:  # which is shuffled in place: a seed's start would depend on the episode before it
            order[:] = np.arange(len(order))
        return self._observe(self.inner.reset().observation), {"success": False}

    def step(self, action: np.ndarray) -> tuple[dict[str, np.ndarray], float, bool, bool, dict]:
        step = self.inner.step(np.asarray(action, np.float64))
        ended, reward = step.last(), float(step.reward or 0.0)
        ends = ended and step.discount == 0
        return self._observe(step.observation), reward, bool(ends), bool(ended and not ends), {"success": reward >= FULL}

    def render(self) -> np.ndarray:
        return self.inner.physics.render(240, 320, camera_id=0)

    def close(self) -> None:
        self.inner.close()


def _start(env: gym.Env) -> dict[str, np.ndarray]:
    """The state, and what a task moves of the world itself."""
    physics = env.unwrapped.inner.physics  # type: ignore[attr-defined]
    moved = {name: np.array(getattr(physics.model, name)) for name in ("body_pos", "geom_pos", "site_pos")}
    return {"state": physics.get_state(), **moved}


def _task(name: str, camera: bool) -> Task:
    expert = EXPERTS.get(name)
    return Task(
        id=f"dm-manipulation/{name}_{'vision' if camera else 'features'}".replace("_", "-"),
        observation_space=_spaces(name, camera),
        action_space=ACTION_SPACE,
        make_env=partial(Jaco, name, camera),
        make_expert=expert,
        requires="dm_control",
        extra="dmc",
        expert_name="inverse kinematics" if expert else "none",
        has_success=True,
        start=_start,
    )


TASKS = [_task(name, camera) for name, (_, _, seen) in NAMES.items() for camera in (False, True) if seen or not camera]
