"""Gymnasium-Robotics: the Fetch arm, points and ants in mazes, the Franka kitchen, and two dexterous hands, Adroit's and Shadow's.

Environments, limits and rewards are the package's own, with these differences: an observation leaves out "achieved_goal", which repeats a
part of the rest; a maze's episode ends at its goal; each element of the kitchen is a task of its own, whose seed turns the arm's joints a
little at the start, since the original begins always alike; success is in `info["success"]`: that of Adroit and of the mazes at any step so
far, of the others at the last one.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from opengato.domains.gymnasium_robotics.experts import EXPERTS
from opengato.domains.task import Task


@dataclass(frozen=True)
class _Kind:
    """A registered environment: its id, sizes of the observation, the goal (0: none) and the action, and its limit of steps."""

    env_id: str
    observation: int
    goal: int
    action: int
    limit: int


_HANDS = {
    f"hand-{thing.lower()}-{name}": _Kind(f"HandManipulate{thing}{suffix}-v1", 61, 7, 20, 100)
    for thing, names in {
        "Block": {"rotate-z": "RotateZ", "rotate-parallel": "RotateParallel", "rotate-xyz": "RotateXYZ", "full": "Full"},
        "Egg": {"rotate": "Rotate", "full": "Full"},
        "Pen": {"rotate": "Rotate", "full": "Full"},
    }.items()
    for name, suffix in names.items()
}
_MAZES = {
    f"{body}-maze-{size.lower()}": _Kind(f"{body.capitalize()}Maze_{size}-v{version}", observation, 2, action, limits[size])
    for body, version, observation, action, limits in (
        ("point", 3, 4, 2, {"UMaze": 300, "Open": 300, "Medium": 600, "Large": 800}),
        ("ant", 5, 105, 8, {"UMaze": 700, "Open": 700, "Medium": 1000, "Large": 1000}),
    )
    for size in limits
}
KINDS: dict[str, _Kind] = {
    "fetch-reach": _Kind("FetchReach-v4", 10, 3, 4, 50),
    "fetch-push": _Kind("FetchPush-v4", 25, 3, 4, 50),
    "fetch-slide": _Kind("FetchSlide-v4", 25, 3, 4, 50),
    "fetch-pick-and-place": _Kind("FetchPickAndPlace-v4", 25, 3, 4, 50),
    **_MAZES,
    "adroit-door": _Kind("AdroitHandDoor-v1", 39, 0, 28, 200),
    "adroit-hammer": _Kind("AdroitHandHammer-v1", 46, 0, 26, 200),
    "adroit-pen": _Kind("AdroitHandPen-v1", 45, 0, 24, 200),
    "adroit-relocate": _Kind("AdroitHandRelocate-v1", 39, 0, 30, 200),
    "hand-reach": _Kind("HandReach-v3", 63, 15, 20, 50),
    **_HANDS,
}
# Elements of the kitchen; its tasks are one each.
KITCHEN = ("microwave", "kettle", "light-switch", "slide-cabinet", "hinge-cabinet", "bottom-burner", "top-burner")
_KITCHEN = _Kind("FrankaKitchen-v1", 59, 0, 9, 280)


def _spaces(kind: _Kind) -> tuple[spaces.Space, spaces.Box]:
    seen: spaces.Space = spaces.Box(-np.inf, np.inf, (kind.observation,), np.float32)
    if kind.goal:
        seen = spaces.Dict({"observation": seen, "desired_goal": spaces.Box(-np.inf, np.inf, (kind.goal,), np.float32)})
    return seen, spaces.Box(-1.0, 1.0, (kind.action,), np.float32)


class Robotics(gym.Env):
    """One environment of the package; reset's seed draws what its own reset draws."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 25}  # noqa: RUF012
    render_mode = "rgb_array"

    def __init__(self, kind: _Kind, settings: dict[str, Any]):
        os.environ.setdefault("MUJOCO_GL", "egl")
        import gymnasium_robotics

        gym.register_envs(gymnasium_robotics)
        self.kind = kind
        self.observation_space, self.action_space = _spaces(kind)
        made = gym.make(kind.env_id, render_mode="rgb_array", width=240, height=240, disable_env_checker=True, **settings)
        self.inner: Any = made.unwrapped
        self._steps, self._solved = 0, False

    def _observe(self, raw: Any) -> Any:
        if self.kind.goal:
            return {key: np.asarray(raw[key], np.float32) for key in ("observation", "desired_goal")}
        return np.asarray(raw["observation"] if isinstance(raw, dict) else raw, np.float32)

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[Any, dict]:
        super().reset(seed=seed)
        raw, _ = self.inner.reset(seed=int(self.np_random.integers(2**31)) if seed is None else seed)
        self._steps, self._solved = 0, False
        return self._observe(raw), {"success": False}

    def _success(self, info: dict[str, Any]) -> bool:
        if "is_success" in info:
            return bool(info["is_success"])
        self._solved |= bool(info["success"])
        return self._solved

    def step(self, action: np.ndarray) -> tuple[Any, float, bool, bool, dict]:
        raw, reward, ended, _, info = self.inner.step(np.asarray(action, np.float64))
        self._steps += 1
        ended = bool(ended)
        return self._observe(raw), float(reward), ended, not ended and self._steps >= self.kind.limit, {"success": self._success(info)}

    def render(self) -> np.ndarray:
        return self.inner.render()

    def close(self) -> None:
        self.inner.close()


class Kitchen(Robotics):
    """One element of the kitchen to be brought where the package wants it; the arm begins turned by up to 0.05 radians a joint."""

    def __init__(self, element: str):
        super().__init__(_KITCHEN, {"tasks_to_complete": [element.replace("-", " ")]})
        self.element = element
        self._pose = self.inner.robot_env.init_qpos.copy()

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[Any, dict]:
        turned = np.random.default_rng(seed).uniform(-0.05, 0.05, 7)
        self.inner.robot_env.init_qpos = self._pose + np.append(turned, np.zeros(len(self._pose) - 7))
        return super().reset(seed=seed, options=options)

    def _success(self, info: dict[str, Any]) -> bool:
        return bool(info["episode_task_completions"])


def _task(name: str, kind: _Kind, make_env: Any) -> Task:
    observation_space, action_space = _spaces(kind)
    expert = EXPERTS.get(name)
    return Task(
        id=f"gymnasium-robotics/{name}",
        observation_space=observation_space,
        action_space=action_space,
        make_env=make_env,
        make_expert=expert,
        requires="gymnasium_robotics",
        extra="robotics",
        expert_name="scripted" if expert else "none",
        has_success=True,
    )


TASKS = [
    *(_task(name, kind, partial(Robotics, kind, {"continuing_task": False} if "maze" in name else {})) for name, kind in KINDS.items()),
    *(_task(f"kitchen-{element}", _KITCHEN, partial(Kitchen, element)) for element in KITCHEN),
]
