"""Experts for the Jaco arm by inverse kinematics: to a place; and over a prop, down, closed around it, and up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np

from opengato.domains.task import Expert
from opengato.experts.inverse_kinematics import joint_step

_RATE = 4.0  # what is left of the way goes by so much of itself a second


class Hand:
    """Moves the hand's centre, its fingers downwards; a subclass says where to and what the fingers do."""

    def reset(self, env: gym.Env, observation: Any, seed: int) -> None:
        inner: Any = env.unwrapped.inner  # type: ignore[attr-defined]
        self.task, self.physics = inner.task, inner.physics
        self._fast = env.action_space.high  # type: ignore[attr-defined]
        self._dofs = np.asarray(self.physics.bind(self.task.arm.joints).dofadr)
        self._site = self.physics.bind(self.task.hand.tool_center_point).element_id

    def place(self) -> np.ndarray:
        """Of the hand's centre, (3,) metres."""
        return self.physics.data.site_xpos[self._site]

    def go(self, aim: np.ndarray, fingers: float) -> np.ndarray:
        """The action towards `aim` (3,), as fast as the slowest joint allows; `fingers`: 1 closes, -1 opens."""
        physics = self.physics
        down = physics.data.site_xmat[self._site].reshape(3, 3)
        upright = down[:, 2] @ np.array([0.0, 0.0, -1.0])
        turn = np.cross(down[:, 2], [0.0, 0.0, -1.0]) if upright > -0.9 else np.array([1.0, 0.0, 0.0])
        move = np.asarray(aim) - self.place()
        move *= min(1.0, 0.15 / max(float(np.linalg.norm(move)), 1e-6))
        joints = _RATE * joint_step(physics.model.ptr, physics.data.ptr, self._site, self._dofs, move, 0.5 * turn, weight=0.1)
        joints /= max(1.0, float(np.abs(joints / self._fast[:6]).max()))
        return np.append(joints, np.full(3, 5.0 * fingers)).clip(-self._fast, self._fast).astype(np.float32)


class Reacher(Hand):
    """To the target: a site, or just above a brick."""

    def act(self, observation: Any) -> np.ndarray:
        target = self.physics.bind(self.task._target).xpos
        brick = self.task._prop is not None
        return self.go(target + np.array([0.0, 0.0, 0.03 if brick else 0.0]), 0.0)


EXPERTS: dict[str, Callable[[], Expert]] = {"reach_duplo": Reacher, "reach_site": Reacher}
