"""Inverse kinematics by damped least squares on MuJoCo's Jacobian: which way the joints turn for a site to move and turn so."""

from __future__ import annotations

from typing import Any

import numpy as np


def joint_step(
    model: Any,
    data: Any,
    site: int,
    dofs: np.ndarray,
    move: np.ndarray,
    turn: np.ndarray | None = None,
    weight: float = 0.3,
    damping: float = 0.05,
) -> np.ndarray:
    """How far the joints go, (len(dofs),) radians, for a site to move by `move` (3,) metres and turn by `turn` (3,) radians, in the world.

    Args:
        model, data: mujoco.MjModel and MjData, of which nothing is changed. site: its number.
        dofs: the degrees of freedom that may move, each of a hinge or a slide; none goes beyond its joint's limits.
        turn: a rotation vector; None: it may turn as it comes. weight: what a radian of it counts beside a metre.
        damping: the larger, the shorter the steps near poses from which the site cannot move as wanted.
    """
    import mujoco

    along, around = np.zeros((3, model.nv)), np.zeros((3, model.nv))
    mujoco.mj_jacSite(model, data, along, around, site)
    jacobian, wanted = along[:, dofs], np.asarray(move, np.float64)
    if turn is not None:
        jacobian = np.concatenate([jacobian, weight * around[:, dofs]])
        wanted = np.concatenate([wanted, weight * np.asarray(turn)])
    joints = model.dof_jntid[dofs]
    place, limited = data.qpos[model.jnt_qposadr[joints]], model.jnt_limited[joints].astype(bool)
    low, high = np.where(limited[:, None], model.jnt_range[joints], (-np.inf, np.inf)).T
    step, free = np.zeros(len(dofs)), np.ones(len(dofs), bool)
    for _ in range(len(dofs)):
        rest, part = wanted - jacobian[:, ~free] @ step[~free], jacobian[:, free]
        step[free] = part.T @ np.linalg.solve(part @ part.T + damping**2 * np.eye(len(wanted)), rest)
        beyond = free & ((place + step < low) | (place + step > high))
        if not beyond.any():
            break
        # What stands at its limit stays there, and the others make up for it.
        step[beyond] = np.clip(place + step, low, high)[beyond] - place[beyond]
        free &= ~beyond
    return step


def turn_between(now: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The rotation vector, (3,) radians to first order, from one orientation to another, both (3, 3) rotation matrices."""
    return 0.5 * np.cross(now.T, wanted.T).sum(0)
