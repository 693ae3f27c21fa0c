"""Where two parallel fingers may take an object that lies among others, best first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from opengato.domains.rgb_stacking.arm import WORKSPACE
from opengato.domains.rgb_stacking.scene import BASKET_CENTRE, FLOOR
from opengato.domains.rgb_stacking.shapes import Shape

# Of the gripper, metres: half its opening, how thick and half as wide its fingers are, how long above the point between their tips.
_OPEN, _THICK, _HALF_WIDE, _LONG = 0.0426, 0.0195, 0.011, 0.055
# Half an opening, and how far the fingers' ends are below that point then: they swing.
_HALVES = np.array([0.0, 0.0091, 0.0163, 0.023, 0.030, 0.0355, 0.0426])
_ENDS = np.array([0.0137, 0.0138, 0.0128, 0.0112, 0.0085, 0.0057, 0.0008])
_PAD_HIGH, _PAD_HALF_WIDE = 0.024, 0.007
_WIDEST = 0.078  # that fits between open fingers with some room
_FLAT_FLOOR, _SLOPE = 0.134, 0.477  # the half side of the basket's floor, and how its sides rise
_TURNS = np.linspace(-np.pi / 2, np.pi / 2, 36, endpoint=False)
_ALONG = np.linspace(-0.03, 0.03, 7)


@dataclass(frozen=True)
class Grasp:
    """Where the point between the fingertips goes (3,), metres, and the yaw, in the object's frame, so that it moves with it; its cost."""

    pinch: np.ndarray
    direction: np.ndarray
    cost: float

    def at(self, shape: Shape) -> tuple[np.ndarray, float]:
        """The point (3,) and the yaw, in (-pi/2, pi/2], in the world, for the object where it is now."""
        x, y = (shape.axes @ self.direction)[:2]
        yaw = float(np.arctan2(y, x))
        return shape.position + shape.axes @ self.pinch, (yaw + np.pi / 2) % np.pi - np.pi / 2

    def like(self, other: Grasp) -> bool:
        """Whether another grasp of the same object is nearly this one."""
        turned = abs(float(self.direction @ other.direction)) / (np.linalg.norm(self.direction) * np.linalg.norm(other.direction))
        return bool(np.linalg.norm(self.pinch - other.pinch) < 0.009 and turned > 0.97)

    @classmethod
    def above(cls, shape: Shape) -> Grasp:
        """From above its middle, for an object that no grasp fits."""
        height = np.array([0.0, 0.0, max(shape.bottom + 0.02, WORKSPACE[0, 2]) - shape.position[2]])
        return cls(shape.axes.T @ height, shape.axes.T @ np.array([1.0, 0.0, 0.0]), np.inf)


def grasps(shape: Shape, others: Sequence[Shape]) -> list[Grasp]:
    """All that fit, the cheapest first; the cost has millimetres in it: of what is not flat, off the middle, or in the way."""
    found = []
    for yaw in _TURNS:
        across, along = np.array([np.cos(yaw), np.sin(yaw), 0.0]), np.array([-np.sin(yaw), np.cos(yaw), 0.0])
        for shift in _ALONG:
            found += [grasp for lift in (0.0, 0.012, 0.024) if (grasp := _one(shape, others, yaw, across, along, shift, lift)) is not None]
    return sorted(found, key=lambda grasp: grasp.cost)


def _one(
    shape: Shape, others: Sequence[Shape], yaw: float, across: np.ndarray, along: np.ndarray, shift: float, lift: float
) -> Grasp | None:
    middle = shape.centre + shift * across
    end = max(shape.bottom + 0.007, shape.top - _LONG - 0.01) + lift  # of the fingers
    heights = end + np.array([0.002, 0.5 * _PAD_HIGH, _PAD_HIGH])
    points = np.array([[*(middle + wide * across)[:2], z] for wide in (-_PAD_HALF_WIDE, 0.0, _PAD_HALF_WIDE) for z in heights])
    first, last = shape.chord(points, along)
    hit = first < last
    if hit.sum() < 3:
        return None
    low, high = first[hit].min(), last[hit].max()
    half = (high - low) / 2
    if 2 * half > _WIDEST:
        return None
    centre = middle + (low + high) / 2 * along
    centre[2] = end + np.interp(half, _HALVES, _ENDS)
    if not np.all((centre > WORKSPACE[0] - 0.001) & (centre < WORKSPACE[1])):
        if centre[2] >= WORKSPACE[0, 2] or not np.all((centre[:2] > WORKSPACE[0, :2]) & (centre[:2] < WORKSPACE[1, :2])):
            return None
        centre[2] = WORKSPACE[0, 2]
    uneven = np.where(hit, np.clip(high - last, 0, 0.01) + np.clip(first - low, 0, 0.01), 0.02)
    cost = 1000 * float(uneven.mean()) + 0.3 * abs(1000 * shift) + 0.1 * abs(1000 * (centre[2] - shape.centre[2])) + 2 * abs(yaw)
    for side in (-1, 1):
        corners = [(side * (_OPEN + thick), wide) for thick in (-0.002, _THICK) for wide in (-_HALF_WIDE, _HALF_WIDE)]
        outline = np.array([(centre + a * along + b * across)[:2] for a, b in corners])
        low_end = centre[2] - 0.001
        for other in others:
            cost += 3000 * max(0.0, 0.004 - other.apart(outline, low_end))
        rise = _SLOPE * (np.abs(outline - BASKET_CENTRE).max() - _FLAT_FLOOR)
        cost += 1000 * max(0.0, FLOOR + rise + 0.002 - low_end)
    return Grasp(shape.axes.T @ (centre - shape.position), shape.axes.T @ across, cost)
