"""The linear-quadratic regulator of a MuJoCo model around a pose in which it could rest, if unstably."""

from __future__ import annotations

from typing import Any

import numpy as np


def gain(model: Any, substeps: int, pose: np.ndarray, state_costs: np.ndarray, action_cost: float) -> np.ndarray:
    """K, (nu, 2·nv): `ctrl = -K @ (qpos - pose, qvel)` costs least, in the model made linear around the pose.

    Args:
        model: mujoco.MjModel of hinges and slides, nq = nv; nothing of it is changed. substeps: physics steps a control step.
        pose: (nq,). state_costs: (2·nv,) of the squares of positions, then speeds. action_cost: of each action's square.
    """
    import mujoco
    from scipy.linalg import solve_discrete_are

    data, size, small = mujoco.MjData(model), model.nv, 1e-5

    def after(state: np.ndarray) -> np.ndarray:
        mujoco.mj_resetData(model, data)
        data.qpos[:], data.qvel[:], data.ctrl[:] = pose + state[:size], state[size : 2 * size], state[2 * size :]
        for _ in range(substeps):
            mujoco.mj_step(model, data)
        return np.concatenate([data.qpos - pose, data.qvel])

    # By central differences: MuJoCo's own derivatives are not for every integrator.
    nudges = small * np.eye(2 * size + model.nu)
    slopes = np.stack([(after(nudge) - after(-nudge)) / (2 * small) for nudge in nudges], -1)
    moves, pushes = slopes[:, : 2 * size], slopes[:, 2 * size :]
    costs = action_cost * np.eye(model.nu)
    worth = solve_discrete_are(moves, pushes, np.diag(state_costs), costs)
    return np.linalg.solve(costs + pushes.T @ worth @ pushes, pushes.T @ worth @ moves)
