"""OGBench: an arm that moves cubes, opens drawers and presses puzzles' buttons, and a point in mazes; each goal of the benchmark is a task.

An observation has what OGBench's agents see as "state" and, as "goal", what OGBench calls the oracle's representation of it: the cubes'
places, the buttons' states, the drawer's and the window's positions, or the point's place, in the units of "state". Reaching it is the
reward of 1 and ends the episode (Park et al. 2024). `info["success"]` says so.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from opengato.domains.ogbench.experts import CubeMover, MazeWalker, PuzzleSolver, SceneArranger
from opengato.domains.task import Expert, Task

ARM_ACTIONS = spaces.Box(-1.0, 1.0, (5,), np.float32)  # the gripper's x, y, z, yaw and opening, as changes
POINT_ACTIONS = spaces.Box(-1.0, 1.0, (2,), np.float32)

# Environment -> length of the state, of the goal, and the limit of steps. The arm is 19 numbers, a cube 9, a button 4.
ARM = {
    "cube-single": (28, 3, 200),
    "cube-double": (37, 6, 500),
    "cube-triple": (46, 9, 1000),
    "cube-quadruple": (55, 12, 1000),
    "cube-octuple": (91, 24, 1500),
    "scene": (40, 7, 750),
    "puzzle-3x3": (55, 9, 500),
    "puzzle-4x4": (83, 16, 500),
    "puzzle-4x5": (99, 20, 1000),
    "puzzle-4x6": (115, 24, 1000),
}
MAZES = {f"pointmaze-{size}": (2, 2, 1000) for size in ("medium", "large", "giant", "teleport")}
GOALS = 5  # of the benchmark, in every environment


def _spaces(state: int, goal: int) -> spaces.Dict:
    return spaces.Dict({name: spaces.Box(-np.inf, np.inf, (n,), np.float32) for name, n in (("state", state), ("goal", goal))})


class _Goal(gym.Env):
    """One environment of OGBench with one of its five goals; reset's seed draws the places around the start and the order of the cubes."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 20}  # noqa: RUF012
    render_mode = "rgb_array"

    def __init__(self, name: str, number: int):
        os.environ.setdefault("MUJOCO_GL", "egl")
        import ogbench  # noqa: F401  registers the environments

        state, goal, self.limit = (ARM | MAZES)[name]
        self.observation_space = _spaces(state, goal)
        self.inner: Any = gym.make(f"{name}-v0", width=240, height=240, disable_env_checker=True).unwrapped
        self.number, self.steps = number, 0
        self._drawn: Any = None  # the state of its generator, as NumPy's old one keeps it

    def goal(self) -> np.ndarray:
        raise NotImplementedError

    def settle(self) -> None:
        """Take away what OGBench's reset leaves to chance that no seed rules."""

    @contextmanager
    def _chance(self) -> Iterator[None]:
        """OGBench draws from NumPy's global generator: here it draws from this environment's own, and the global one stays as it was."""
        others = np.random.get_state()  # noqa: NPY002
        np.random.set_state(self._drawn)  # noqa: NPY002
        try:
            yield
        finally:
            self._drawn = np.random.get_state()  # noqa: NPY002
            np.random.set_state(others)  # noqa: NPY002

    def _observe(self, state: np.ndarray) -> dict[str, np.ndarray]:
        return {"state": np.asarray(state, np.float32), "goal": self.goal().astype(np.float32)}

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[dict[str, np.ndarray], dict]:
        super().reset(seed=seed)
        if seed is None:
            seed = int(self.np_random.integers(2**31))
        self._drawn = np.random.RandomState(seed % 2**32).get_state()
        with self._chance():
            self.inner.reset(seed=seed, options={"task_id": self.number})
        self.settle()
        self.steps = 0
        return self._observe(self.state()), {"success": False}

    def state(self) -> np.ndarray:
        raise NotImplementedError

    def step(self, action: np.ndarray) -> tuple[dict[str, np.ndarray], float, bool, bool, dict]:
        with self._chance():
            state, _, ended, _, info = self.inner.step(np.asarray(action, np.float64))
        self.steps += 1
        success = bool(info["success"])
        return self._observe(state), float(success), bool(ended), not ended and self.steps >= self.limit, {"success": success}

    def render(self) -> np.ndarray:
        return self.inner.render()

    def close(self) -> None:
        self.inner.close()


class ArmGoal(_Goal):
    """A goal of the arm's: cubes, a scene or a puzzle."""

    action_space = ARM_ACTIONS

    def settle(self) -> None:
        """Its reset plays a few random steps, of which the solver's warm start and the gripper's touch remain."""
        import mujoco

        data = self.inner.data
        for left in (data.qacc_warmstart, data.ctrl, data.cfrc_ext):
            left[:] = 0
        data.time = 0
        mujoco.mj_forward(self.inner.model, data)
        mujoco.mj_rnePostConstraint(self.inner.model, data)
        self.inner.pre_step()

    def state(self) -> np.ndarray:
        return self.inner.compute_observation()

    def goal(self) -> np.ndarray:
        arm, parts = self.inner, []
        if hasattr(arm, "_num_cubes"):
            places = arm.data.mocap_pos[arm._cube_target_mocap_ids]
            parts.append(((places - [0.425, 0.0, 0.0]) * 10.0).ravel())  # the centre and scale of its own observations
        if hasattr(arm, "_num_buttons"):
            parts.append(arm._target_button_states)
        if hasattr(arm, "_target_drawer_pos"):
            parts.append([arm._target_drawer_pos * 18.0, arm._target_window_pos * 15.0])
        return np.concatenate(parts)


class MazeGoal(_Goal):
    """A goal of the point's in a maze."""

    action_space = POINT_ACTIONS

    def state(self) -> np.ndarray:
        return self.inner.get_ob()

    def goal(self) -> np.ndarray:
        return np.asarray(self.inner.cur_goal_xy)


def _make(name: str, number: int) -> gym.Env:
    return MazeGoal(name, number) if name in MAZES else ArmGoal(name, number)


def _make_expert(name: str) -> Expert:
    if name in MAZES:
        return MazeWalker()
    return {"cube": CubeMover, "scene": SceneArranger, "puzzle": PuzzleSolver}[name.split("-")[0]]()


TASKS = [
    Task(
        id=f"ogbench/{name}-task{number}",
        observation_space=_spaces(state, goal),
        action_space=POINT_ACTIONS if name in MAZES else ARM_ACTIONS,
        make_env=partial(_make, name, number),
        make_expert=partial(_make_expert, name),
        requires="ogbench",
        extra="ogbench",
        expert_name="the shortest way" if name in MAZES else "OGBench's oracles, in an order",
        has_success=True,
    )
    for name, (state, goal, _) in (ARM | MAZES).items()
    for number in range(1, GOALS + 1)
]
