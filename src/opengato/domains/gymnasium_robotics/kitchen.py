"""The Franka kitchen by inverse kinematics: the hand goes beside an element's handle, takes it or not, and moves it along its joint."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np

from opengato.experts.inverse_kinematics import joint_step, turn_between


@dataclass(frozen=True)
class Stage:
    """Where the hand goes: `beside` the element's site as it now stands, metres; `fingers` 1 open, -1 closed.

    `pull`: how far on along the way that the site takes as the joint opens; `twist`: radians that the hand turns about its own axis.
    `wait`: steps that it stays at least.
    """

    beside: tuple[float, float, float]
    fingers: float = -1.0
    pull: float = 0.0
    twist: float = 0.0
    wait: int = 0


@dataclass(frozen=True)
class Element:
    """An element's site, the joint that moves it, which way (1 or -1) that opens, and the stages."""

    site: str
    joint: str
    sign: float
    stages: tuple[Stage, ...]


ELEMENTS: dict[str, Element] = {
    "microwave": Element(
        "microhandle_site",
        "microwave",
        -1.0,
        (Stage((0.0, -0.12, 0.0), 1.0), Stage((0.0, 0.0, 0.0), 1.0), Stage((0.0, 0.0, 0.0), wait=6), Stage((0.0, 0.0, 0.0), pull=0.08)),
    ),
    "kettle": Element(
        "kettle_site",
        "kettle",
        1.0,
        (Stage((-0.02, -0.21, -0.1)), Stage((0.0, 0.1, -0.1))),
    ),
    "light-switch": Element(
        "light_site",
        "light_switch",
        -1.0,
        (Stage((0.08, -0.1, 0.03)), Stage((0.07, 0.01, 0.035)), Stage((-0.14, 0.03, 0.04))),
    ),
    "slide-cabinet": Element(
        "slide_site", "slide_cabinet", 1.0, (Stage((-0.09, -0.12, 0.0)), Stage((-0.07, 0.0, 0.0)), Stage((0.15, 0.0, 0.0)))
    ),
    "hinge-cabinet": Element(
        "hinge_site2",
        "right_hinge_cabinet",
        1.0,
        (
            Stage((0.03, -0.12, 0.0), 1.0),
            Stage((0.03, 0.0, 0.0), 1.0),
            Stage((0.03, 0.0, 0.0), wait=6),
            Stage((0.0, 0.0, 0.0), pull=0.08),
        ),
    ),
    "bottom-burner": Element(
        "knob2_site",
        "knob_Joint_2",
        -1.0,
        (
            Stage((0.0, -0.1, 0.0), 1.0),
            Stage((0.0, -0.02, 0.0), 1.0),
            Stage((0.0, -0.02, 0.0), wait=6),
            Stage((0.0, -0.02, 0.0), twist=1.2),
        ),
    ),
    "top-burner": Element(
        "knob4_site",
        "knob_Joint_4",
        -1.0,
        (
            Stage((0.0, -0.1, 0.0), 1.0),
            Stage((0.0, -0.02, 0.0), 1.0),
            Stage((0.0, -0.02, 0.0), wait=6),
            Stage((0.0, -0.02, 0.0), twist=1.2),
        ),
    ),
}
_NEAR, _LOST = 0.035, 0.45  # metres from a stage's place: it is reached; all begins anew
_PATIENCE = 25  # steps after which a place that something keeps the hand from counts as reached
_SPEED = 0.06  # metres a step
_STIFF = 2.0  # the arm's own servos sag by some centimetres: it asks for more than is left


class KitchenHand:
    """Goes through an element's stages, and through them again where it was led away."""

    def __init__(self, element: str):
        self.element = ELEMENTS[element]

    def reset(self, env: gym.Env, observation: Any, seed: int) -> None:
        robot: Any = env.unwrapped.inner.robot_env  # type: ignore[attr-defined]
        self._robot, self.stage, self._stayed, self._tried = robot, 0, 0, 0
        model = robot.model
        self._hand, self._site = model.site("end_effector").id, model.site(self.element.site).id
        self._joint = model.joint(self.element.joint).id
        # Fingers towards the wall, opening sideways.
        self._upright = np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])

    def _tangent(self) -> np.ndarray:
        """Which way the site goes, a unit, as the joint opens."""
        data = self._robot.data
        arm = data.site_xpos[self._site] - data.xanchor[self._joint]
        way = self.element.sign * np.cross(data.xaxis[self._joint], arm)
        return way / max(np.linalg.norm(way), 1e-6)

    def act(self, observation: Any) -> np.ndarray:
        robot, stages = self._robot, self.element.stages
        data = robot.data
        hand = data.site_xpos[self._hand]

        def aim(stage: Stage) -> np.ndarray:
            place = data.site_xpos[self._site] + stage.beside
            return place + stage.pull * self._tangent() if stage.pull else place

        last = len(stages) - 1
        if self.stage < last:
            reached = bool(np.linalg.norm(aim(stages[self.stage]) - hand) < _NEAR)
            self._stayed += reached
            self._tried += 1
            if (reached and self._stayed > stages[self.stage].wait) or self._tried > _PATIENCE:
                self.stage, self._stayed, self._tried = self.stage + 1, 0, 0
        if self.stage and np.linalg.norm(aim(stages[self.stage]) - hand) > _LOST:
            self.stage = self._stayed = self._tried = 0
        stage = stages[self.stage]
        move = _STIFF * (aim(stage) - hand)
        move *= min(1.0, _SPEED / max(float(np.linalg.norm(move)), 1e-6))
        now = data.site_xmat[self._hand].reshape(3, 3)
        turn = np.clip(turn_between(now, self._wanted(stage)), -0.2, 0.2)
        joints = joint_step(robot.model, data, self._hand, np.arange(7), move, turn)
        return np.concatenate([joints / (2.0 * robot.dt), np.full(2, stage.fingers)]).clip(-1.0, 1.0).astype(np.float32)

    def _wanted(self, stage: Stage) -> np.ndarray:
        c, s = np.cos(stage.twist), np.sin(stage.twist)
        return np.array([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]]) @ self._upright
