"""What is rewarded and what is success, as in deepmind/rgb_stacking: five stages from reaching to letting go, and being stacked.

One thing is stricter here: that an object touches the ground means the basket's floor and slopes, not only what the basket stands on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from opengato.domains.rgb_stacking.arm import WORKSPACE
from opengato.domains.rgb_stacking.scene import FLOOR

_NEAR, _HIGHER = 0.05, 0.02  # of success: how far from each other in the plane at most, how much higher at least
_TOUCHING = 1e-8
_HEIGHT = 0.04  # of both objects, as the shaped reward takes them to be
_AT_MARGIN = float(np.arctanh(np.sqrt(0.95)))


@dataclass(frozen=True)
class Seen:
    """What the reward depends on. `pinch`, `top`, `bottom`: (3,) metres; `fingers`: 0 open to 255 closed; `grasps`: see `Contacts`."""

    pinch: np.ndarray
    top: np.ndarray
    bottom: np.ndarray
    fingers: float
    grasps: bool


class Contacts:
    """What touches what in one model."""

    def __init__(self, model: Any, colours: tuple[str, ...]):
        names = [model.body(model.geom_bodyid[i]).name for i in range(model.ngeom)]
        self._of = {colour: np.array([name == colour for name in names]) for colour in colours}
        self._robot = np.array([name.startswith(("arm/", "sensor/", "gripper/")) for name in names])
        self._ground = ~self._robot & ~np.any(list(self._of.values()), axis=0)
        self._tips = [np.array([name == f"gripper/{side}_pad" for name in names]) for side in ("left", "right")]

    def _touch(self, data: Any, one: np.ndarray, other: np.ndarray) -> bool:
        pairs = data.contact.geom[data.contact.dist <= _TOUCHING]
        first, second = pairs[:, 0], pairs[:, 1]
        return bool(np.any((one[first] & other[second]) | (one[second] & other[first])))

    def tips(self, data: Any, colour: str | None = None) -> bool:
        """Whether both fingertips touch this object; None: anything but one another."""
        wanted = ~self._robot if colour is None else self._of[colour]
        return all(self._touch(data, tip, wanted) for tip in self._tips)

    def with_robot(self, data: Any, colour: str) -> bool:
        """Whether the robot touches it."""
        return self._touch(data, self._of[colour], self._robot)

    def with_ground(self, data: Any, colour: str) -> bool:
        """Whether it touches the basket, or the ground below."""
        return self._touch(data, self._of[colour], self._ground)

    def touches_anything(self, data: Any, colour: str) -> bool:
        """Whether it touches anything at all."""
        return self._touch(data, self._of[colour], ~self._of[colour])

    def between(self, data: Any, one: str, other: str) -> bool:
        """Whether two objects touch."""
        return self._touch(data, self._of[one], self._of[other])

    def stacked(self, data: Any, top: str, bottom: str) -> bool:
        """Success: `top` within 5 cm of `bottom` in the plane, over 2 cm higher, touching it, and neither the ground nor the robot."""
        away = data.body(top).xpos - data.body(bottom).xpos
        if np.hypot(away[0], away[1]) >= _NEAR or away[2] <= _HIGHER:
            return False
        return self.between(data, top, bottom) and not self.with_ground(data, top) and not self.with_robot(data, top)


def shaped(seen: Seen) -> float:
    """The staged reward, in [0, 1]: the last stage that has begun counts, a fifth for each before it."""
    closed = _near(np.array([255.0 - seen.fingers]), None, 255.0)
    grasp = max(0.5 * closed, float(seen.grasps))
    stages: tuple[Callable[[], float], ...] = (
        lambda: _stacks(seen) * _near(seen.top + np.array([0, 0, 0.1]) - seen.pinch, (1.0, 1.0, 0.03), 0.05),
        lambda: _stacks(seen),
        lambda: 0.0 if seen.top[2] < 0.1 else _near(seen.bottom + np.array([0, 0, _HEIGHT]) - seen.top, (0.01,) * 3, 0.2),
        lambda: grasp * _lifted(seen.top),
        lambda: _reaches(seen, grasp),
    )
    reward = 0.0
    for before, stage in zip((4, 3, 2, 1, 0), stages, strict=True):
        reward = stage()
        if reward > 0.01:
            return (before + reward) / 5
    return reward / 5


def _near(off: np.ndarray, tolerance: tuple[float, ...] | None, margin: float) -> float:
    """1 where `off` is inside the ellipsoid `tolerance`, else falling from 1, to 0.05 at a distance of `margin`."""
    if tolerance is not None and np.linalg.norm(off / np.array(tolerance)) <= 1:
        return 1.0
    return 1.0 - float(np.tanh(_AT_MARGIN / margin * np.linalg.norm(off))) ** 2


def _reaches(seen: Seen, grasp: float) -> float:
    reach = _near(seen.top - seen.pinch, (0.02,) * 3, 0.15)
    return (0.5 + grasp / 2) * reach if reach > 0.9 else 0.5 * reach


def _lifted(top: np.ndarray) -> float:
    middle, half = WORKSPACE.mean(0), np.ptp(WORKSPACE, axis=0) / 2
    if np.linalg.norm((middle - top) / half) > 1:
        return 0.0
    return float(np.clip((top[2] - FLOOR - 0.055) / 0.045, 0, 1))


def _stacks(seen: Seen) -> float:
    away = seen.top - seen.bottom
    return float(np.hypot(away[0], away[1]) <= 0.03 and abs(away[2] - _HEIGHT) <= 0.01 and not seen.grasps)
