"""Forward kinematics of MuJoCo models over arrays of poses: where every body is, without a simulator's loop."""

from __future__ import annotations

from typing import Any

import numpy as np

HINGE, SLIDE, FREE = 3, 2, 0  # mujoco.mjtJoint


def _multiply(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The product of quaternions, (..., 4)."""
    w, v, x, u = a[..., :1], a[..., 1:], b[..., :1], b[..., 1:]
    return np.concatenate([w * x - (v * u).sum(-1, keepdims=True), w * u + x * v + np.cross(v, u)], -1)


def _rotate(quat: np.ndarray, vector: np.ndarray) -> np.ndarray:
    w, v = quat[..., :1], quat[..., 1:]
    twice = 2.0 * np.cross(v, vector)
    return vector + w * twice + np.cross(v, twice)


def body_places(model: Any, qpos: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bodies' frames and centres of mass, both (..., nbody, 3) metres in the world, for poses (..., nq): MuJoCo's xpos and xipos of each.

    `model` is a mujoco.MjModel of hinges, slides and free joints. Raises ValueError where it has balls or bodies that are moved by hand.
    """
    if (model.body_mocapid >= 0).any() or not np.isin(model.jnt_type, (HINGE, SLIDE, FREE)).all():
        raise ValueError("the model has ball joints or mocap bodies, whose places are not told by hinges, slides and free joints")
    shape = qpos.shape[:-1]
    places = [np.zeros((*shape, 3))]
    turns = [np.broadcast_to(np.array([1.0, 0.0, 0.0, 0.0]), (*shape, 4))]
    found = [np.zeros((*shape, 3))]
    for body in range(1, model.nbody):
        parent = model.body_parentid[body]
        place = places[parent] + _rotate(turns[parent], np.broadcast_to(model.body_pos[body], (*shape, 3)))
        turn = _multiply(turns[parent], np.broadcast_to(model.body_quat[body], (*shape, 4)))
        for joint in range(model.body_jntadr[body], model.body_jntadr[body] + model.body_jntnum[body]):
            at, kind = model.jnt_qposadr[joint], model.jnt_type[joint]
            if kind == FREE:
                place, turn = qpos[..., at : at + 3], qpos[..., at + 3 : at + 7]
                turn = turn / np.linalg.norm(turn, axis=-1, keepdims=True)
                continue
            moved = (qpos[..., at] - model.qpos0[at])[..., None]
            axis = np.broadcast_to(model.jnt_axis[joint], (*shape, 3))
            if kind == SLIDE:
                place = place + _rotate(turn, axis) * moved
                continue
            anchor = np.broadcast_to(model.jnt_pos[joint], (*shape, 3))
            stays = place + _rotate(turn, anchor)
            turn = _multiply(turn, np.concatenate([np.cos(moved / 2), np.sin(moved / 2) * axis], -1))
            place = stays - _rotate(turn, anchor)
        places.append(place)
        turns.append(turn)
        found.append(place + _rotate(turn, np.broadcast_to(model.body_ipos[body], (*shape, 3))))
    return np.stack(places, -2), np.stack(found, -2)
