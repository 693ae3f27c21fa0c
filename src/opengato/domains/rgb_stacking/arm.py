"""The arm's controller: a velocity of the gripper, in the world, to velocities of seven joints that keep it pointing down.

As deepmind/rgb_stacking's, whose quadratic programme is damped least squares here: the posture that is free is drawn to a resting one, and
what would leave the workspace is not done.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from opengato.domains.rgb_stacking.scene import ARM_JOINTS, PINCH, WRIST

# xyz in metres a second, yaw in radians a second, and the fingers, which close above 0 and open below.
ACTION_LIMIT = np.array([0.07, 0.07, 0.07, 1.0, 255.0], np.float32)
WORKSPACE = np.array([[0.475, -0.125, 0.0698], [0.725, 0.125, 0.2698]])  # of the point between the fingertips
YAW_LIMIT = np.pi / 2  # either way, of the last joint
_RESTING = np.array([0.0, -0.5186220703125, -0.529384765625, 1.220857421875, 0.40857421875, 1.07831640625, 0.0])
_UPRIGHT_GAIN, _RESTING_GAIN, _DAMPING = 2.0, 0.1, 0.02  # the first two a second


class Arm:
    """The Sawyer arm and its gripper in one model."""

    def __init__(self, model: Any):
        self._model = model
        self._joints = np.array([model.joint(name).qposadr[0] for name in ARM_JOINTS])
        self._dofs = np.array([model.joint(name).dofadr[0] for name in ARM_JOINTS])
        self._pinch, self._wrist = model.site(PINCH).id, model.site(WRIST).id

    def pinch(self, data: Any) -> np.ndarray:
        """Where the point between the fingertips is, (3,) metres."""
        return data.site_xpos[self._pinch]

    def yaw(self, data: Any) -> float:
        """Of the gripper, radians about the vertical; 0: the fingers close along y, positive: counter-clockwise seen from above."""
        x, y = data.site_xmat[self._pinch].reshape(3, 3)[:2, 0]
        return float(np.arctan2(y, x))

    def turn_to(self, data: Any, yaw: float) -> float:
        """The shortest turn, radians, that the wrist can make for its fingers to close along the line that they close along at `yaw`."""
        turns = (yaw - self.yaw(data)) % np.pi + np.array([0.0, -np.pi])
        wrist = -data.qpos[self._joints[-1]]
        beyond = np.maximum(0.0, np.abs(wrist + turns) - YAW_LIMIT + 0.05)
        return float(min(zip(beyond, np.abs(turns), turns, strict=True))[2])

    def command(self, data: Any, action: np.ndarray) -> np.ndarray:
        """The actuators' controls, (8,), for an action (5,)."""
        wanted = np.clip(np.asarray(action, np.float64), -ACTION_LIMIT, ACTION_LIMIT)
        place, yaw = self.pinch(data), -data.qpos[self._joints[-1]]
        state = np.append(place, yaw)
        low, high = np.append(WORKSPACE[0], -YAW_LIMIT), np.append(WORKSPACE[1], YAW_LIMIT)
        beyond = ((state < low) & (wanted[:4] < 0)) | ((state > high) & (wanted[:4] > 0))
        wanted[:4][beyond] = 0.0
        fingers = 255.0 if wanted[4] > 0 else -255.0
        return np.append(self._joint_speeds(data, wanted[:3], wanted[3]), fingers)

    def _joint_speeds(self, data: Any, along: np.ndarray, yaw: float, upright_gain: float = _UPRIGHT_GAIN) -> np.ndarray:
        import mujoco

        model = self._model
        move, turn = np.zeros((3, model.nv)), np.zeros((3, model.nv))
        mujoco.mj_jacSite(model, data, move, turn, self._wrist)
        jacobian = np.concatenate([move[:, self._dofs], turn[:, self._dofs]])
        axis = data.site_xmat[self._wrist].reshape(3, 3)[:, 2]
        lean = np.cross(axis, (0.0, 0.0, -1.0))  # the turn that points it down, to first order
        twist = np.concatenate([along, upright_gain * lean + (0.0, 0.0, yaw)])
        inverse = jacobian.T @ np.linalg.inv(jacobian @ jacobian.T + _DAMPING**2 * np.eye(6))
        rest = _RESTING_GAIN * (_RESTING - data.qpos[self._joints])
        rest[-1] = 0.0
        speeds = inverse @ twist + rest - inverse @ (jacobian @ rest)
        limits = self._model.actuator_ctrlrange[:7, 1]
        return speeds / max(1.0, float(np.max(np.abs(speeds) / limits)))

    def place(self, data: Any, pinch: np.ndarray, yaw: float) -> None:
        """Put the arm where the point between its fingertips is at `pinch` (3,), with this yaw, at rest; nothing is simulated."""
        import mujoco

        data.qpos[self._joints] = _RESTING
        data.qvel[self._dofs] = 0.0
        for _ in range(200):
            mujoco.mj_kinematics(self._model, data)
            mujoco.mj_comPos(self._model, data)
            off = pinch - self.pinch(data)
            twist = (yaw - self.yaw(data) + np.pi) % (2 * np.pi) - np.pi
            if np.linalg.norm(off) < 1e-4 and abs(twist) < 1e-3:
                break
            data.qpos[self._joints] += self._joint_speeds(data, 0.5 * off, 0.5 * twist, 0.5)
        data.act[:7] = data.qpos[self._joints]
        mujoco.mj_forward(self._model, data)
