"""What to do now, in any state, to take one object and put it down on another in a given way."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np

from opengato.domains.rgb_stacking.arm import ACTION_LIMIT, WORKSPACE, Arm
from opengato.domains.rgb_stacking.environment import Drive
from opengato.domains.rgb_stacking.grasps import Grasp
from opengato.domains.rgb_stacking.objects import COLOURS, Triplet
from opengato.domains.rgb_stacking.rewards import Contacts
from opengato.domains.rgb_stacking.scene import FINGER_JOINT
from opengato.domains.rgb_stacking.shapes import Shape

_OPEN, _CLOSE = -255.0, 255.0
_GAIN = 6.0  # of the way that is left, a second
_SQUEEZE = 12.0  # of 255: how much farther than they are the fingers want to close, when they hold something
_CLEAR = 0.012  # metres above what is passed over
_UP = float(WORKSPACE[1, 2])


@dataclass(frozen=True)
class Plan:
    """How the top object is taken, and how it is put down.

    Attributes:
        heading: the gripper's yaw, radians, when it lets go; None: as it took it.
        shift: where the middle of the mass goes beside the middle of the face below, metres in the plane.
    """

    grasp: Grasp
    heading: float | None = None
    shift: tuple[float, float] = (0.0, 0.0)


class Cell:
    """The state of an episode, the environment's or a copy of it."""

    def __init__(self, model: Any, data: Any, drive: Drive, arm: Arm, contacts: Contacts, triplet: Triplet, top: str, bottom: str):
        self.model, self.data, self.drive, self.arm, self.contacts = model, data, drive, arm, contacts
        self.triplet, self.top, self.bottom = triplet, top, bottom
        self.names = dict(zip(COLOURS, triplet, strict=True))
        self._finger = model.joint(FINGER_JOINT).qposadr[0]

    @classmethod
    def of(cls, env: Any) -> Cell:
        """That of an environment."""
        return cls(env.model, env.data, env.drive, env.arm, env.contacts, env.triplet, env.top, env.bottom)

    def copy(self) -> Cell:
        """The same state, to be simulated on."""
        return Cell(self.model, copy(self.data), copy(self.drive), self.arm, self.contacts, self.triplet, self.top, self.bottom)

    def advance(self, action: np.ndarray) -> None:
        """One control step."""
        self.drive.advance(self.model, self.data, self.arm, action)

    def shape(self, colour: str) -> Shape:
        body = self.data.body(colour)
        return Shape(self.names[colour], body.xpos, body.xmat.reshape(3, 3), body.xipos)

    @property
    def fingers(self) -> float:
        """How far they are closed, 0 to 255."""
        return float(self.data.qpos[self._finger] / 0.8 * 255)

    @property
    def holds(self) -> bool:
        """Whether the top object is between both fingers, which press."""
        return self.data.act[7] - self.fingers > _SQUEEZE and self.contacts.tips(self.data, self.top)

    @property
    def stacked(self) -> bool:
        return self.contacts.stacked(self.data, self.top, self.bottom)


def advise(cell: Cell, plan: Plan) -> np.ndarray:
    """What to do now, (5,) float32, in any state: it follows from the state and the plan alone."""
    top, bottom = cell.shape(cell.top), cell.shape(cell.bottom)
    pinch = cell.arm.pinch(cell.data)
    if cell.stacked:
        return _leave(pinch, top)
    seat = bottom.seat()
    goal = seat[:2] + plan.shift
    if cell.holds or _rests(cell, top, goal):
        return _put(cell, plan, top, bottom, goal, pinch)
    return _take(cell, plan, top, pinch)


def _action(off: np.ndarray, turn: float, fingers: float, gain: float = _GAIN) -> np.ndarray:
    """A step along `off` (3,) and around by `turn`, straight, at most as fast as is allowed."""
    move = gain * off
    move *= min(1.0, ACTION_LIMIT[0] / max(1e-9, float(np.abs(move).max())))
    # In float32 the limit times what it was divided by may come out above the limit.
    return np.clip(np.array([*move, gain * turn, fingers], np.float32), -ACTION_LIMIT, ACTION_LIMIT)


def _leave(pinch: np.ndarray, top: Shape) -> np.ndarray:
    height = min(_UP, top.position[2] + 0.1)
    return _action(np.array([0, 0, max(0.0, height - pinch[2])]), 0.0, _OPEN)


def _rests(cell: Cell, top: Shape, goal: np.ndarray) -> bool:
    """Whether the top object lies where it should, and only has to be let go."""
    near = np.hypot(*(top.centre[:2] - goal)) < 0.02
    return bool(near and cell.contacts.between(cell.data, cell.top, cell.bottom) and not cell.contacts.with_ground(cell.data, cell.top))


def in_hand(cell: Cell, plan: Plan) -> bool:
    """Whether the top object is held, or lies where it should."""
    goal = cell.shape(cell.bottom).seat()[:2] + plan.shift
    return cell.stacked or cell.holds or _rests(cell, cell.shape(cell.top), goal)


def _put(cell: Cell, plan: Plan, top: Shape, bottom: Shape, goal: np.ndarray, pinch: np.ndarray) -> np.ndarray:
    away = goal - top.centre[:2]
    if _rests(cell, top, goal):
        return _action(np.zeros(3), 0.0, _OPEN)
    far = np.hypot(*away)
    others = [cell.shape(colour) for colour in COLOURS if colour != cell.top]
    over = max(shape.top for shape in others) if far > 0.03 else bottom.top
    room = top.bottom - over
    turn = 0.0 if plan.heading is None else cell.arm.turn_to(cell.data, plan.heading)
    if far > 0.006 or abs(turn) > 0.08:
        # First up, then across: as fast as the way up allows.
        rise = min(over + _CLEAR - top.bottom, _UP - pinch[2])
        across = away if room > 0.004 or rise < 0.002 else 0 * away
        return _action(np.array([*across, rise]), turn if room > 0 else 0.0, _CLOSE)
    slow = -0.03 if room < 0.01 else -0.07
    return np.array([*np.clip(_GAIN * away, -0.02, 0.02), slow, 0.0, _CLOSE], np.float32)


def _take(cell: Cell, plan: Plan, top: Shape, pinch: np.ndarray) -> np.ndarray:
    point, yaw = plan.grasp.at(top)
    point = np.clip(point, WORKSPACE[0], WORKSPACE[1])
    off = point - pinch
    turn = cell.arm.turn_to(cell.data, yaw)
    fingers = cell.fingers
    closing = fingers > 15 and cell.data.act[7] > fingers  # they are already on their way
    slack = 0.015 if closing else 0.004
    if np.abs(off[:2]).max() < slack and abs(off[2]) < max(slack, 0.006) and abs(turn) < (0.2 if closing else 0.08):
        return _action(np.zeros(3), 0.0, _CLOSE)
    if np.hypot(off[0], off[1]) < (0.006 if off[2] < -0.01 else 0.01) and abs(turn) < 0.06 and fingers < 15:
        return _action(off, turn, _OPEN)
    safe = min(_UP, max(cell.shape(colour).top for colour in COLOURS) + _CLEAR)
    rise = safe - pinch[2]
    if rise > 0.004:  # up, and open, before it goes anywhere
        return _action(np.array([0, 0, rise]), 0.0, _OPEN)
    return _action(np.array([off[0], off[1], rise]), turn, _OPEN)
