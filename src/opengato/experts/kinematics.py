"""Where bodies, geoms and sites are, for many states at once: what `mj_kinematics` computes for one, over whole arrays.

A planner's rewards ask for a hand or a mouth in thousands of rolled out states, of which MuJoCo's rollout returns the joints alone. Only
the bodies between what is asked for and the world are computed, each once.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def rotation(quaternion: np.ndarray) -> np.ndarray:
    """Matrices (..., 3, 3) of quaternions (..., 4), w first, of any length but zero."""
    w, x, y, z = np.moveaxis(quaternion / np.linalg.norm(quaternion, axis=-1, keepdims=True), -1, 0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.stack([np.stack(row, -1) for row in rows], -2)


def _about(axis: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """Matrices (..., 3, 3) of turns by angles (...) about one axis (3,) of unit length."""
    x, y, z = axis
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle)[..., None, None] * cross + (1 - np.cos(angle))[..., None, None] * (cross @ cross)


class Poses:
    """The poses of one model (mujoco.MjModel) in the states `qpos` (..., nq).

    Every method takes a name of the model and returns arrays that broadcast with (..., 3) or (..., 3, 3): what does not move has no
    leading axes. Positions are in metres, in the world; the columns of a matrix are the axes of the named frame.
    """

    def __init__(self, model: Any, qpos: np.ndarray):
        self._model, self._qpos = model, qpos
        self._frames: dict[int, tuple[np.ndarray, np.ndarray]] = {0: (np.zeros(3), np.eye(3))}

    def body(self, name: str) -> np.ndarray:
        """Where a body's frame is."""
        return self._frame(self._model.body(name).id)[0]

    def axes(self, name: str) -> np.ndarray:
        """The axes of a body's frame."""
        return self._frame(self._model.body(name).id)[1]

    def centre(self, name: str) -> np.ndarray:
        """Where a body's centre of mass is."""
        body = self._model.body(name)
        return self._placed(body.id, body.ipos)

    def geom(self, name: str) -> np.ndarray:
        """Where a geom is."""
        geom = self._model.geom(name)
        return self._placed(geom.bodyid[0], geom.pos)

    def site(self, name: str) -> np.ndarray:
        """Where a site is."""
        site = self._model.site(name)
        return self._placed(site.bodyid[0], site.pos)

    def site_axes(self, name: str) -> np.ndarray:
        """The axes of a site's frame."""
        site = self._model.site(name)
        return self._frame(site.bodyid[0])[1] @ rotation(site.quat)

    def _placed(self, body: int, offset: np.ndarray) -> np.ndarray:
        position, axes = self._frame(body)
        return position + axes @ offset

    def _frame(self, body: int) -> tuple[np.ndarray, np.ndarray]:
        if body not in self._frames:
            self._frames[body] = self._computed(body)
        return self._frames[body]

    def _computed(self, body: int) -> tuple[np.ndarray, np.ndarray]:
        import mujoco

        model, first = self._model, self._model.body_jntadr[body]
        joints = range(first, first + model.body_jntnum[body])
        if len(joints) == 1 and model.jnt_type[first] == mujoco.mjtJoint.mjJNT_FREE:
            at = model.jnt_qposadr[first]
            return self._qpos[..., at : at + 3], rotation(self._qpos[..., at + 3 : at + 7])
        parent, axes = self._frame(model.body_parentid[body])
        position = parent + axes @ model.body_pos[body]
        if model.body_quat[body, 0] != 1.0:  # most frames are not turned, and this is called in every plan
            axes = axes @ rotation(model.body_quat[body])
        for joint in joints:
            at, offset, axis = model.jnt_qposadr[joint], model.jnt_pos[joint], model.jnt_axis[joint]
            anchor = position + axes @ offset
            moved = self._qpos[..., at] - model.qpos0[at]
            if model.jnt_type[joint] == mujoco.mjtJoint.mjJNT_SLIDE:
                position = position + (axes @ axis) * moved[..., None]
                continue
            ball = model.jnt_type[joint] == mujoco.mjtJoint.mjJNT_BALL
            axes = axes @ (rotation(self._qpos[..., at : at + 4]) if ball else _about(axis, moved))
            position = anchor - axes @ offset
        return position, axes
