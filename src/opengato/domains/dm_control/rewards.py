"""The suite's own rewards, over arrays: each takes what was rolled out, (N, T) states, and returns (N, T) rewards.

What a task sets anew each episode (where a target is, how large) is read from the model that was rolled out.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from opengato.experts.icem import Rolled


def tolerance(
    x: np.ndarray, low: float = 0.0, high: float = 0.0, margin: float = 0.0, sigmoid: str = "gaussian", at_margin: float = 0.1
) -> np.ndarray:
    """`dm_control.utils.rewards.tolerance` over arrays: 1 inside [low, high], falling outside."""
    from dm_control.utils import rewards

    return np.asarray(rewards.tolerance(x, (low, high), margin, sigmoid, at_margin), np.float64)


def length(vectors: np.ndarray) -> np.ndarray:
    """Of vectors (..., n)."""
    return np.linalg.norm(vectors, axis=-1)


def upright(r: Rolled, body: str, axis: int = 2) -> np.ndarray:
    """How far a body's axis points up, -1 to 1."""
    return r.at.axes(body)[..., 2, axis]


def _small_control(actions: np.ndarray) -> np.ndarray:
    return (4 + tolerance(actions, margin=1, sigmoid="quadratic", at_margin=0.0).mean(-1)) / 5


def _linear(x: np.ndarray, low: float, high: float, margin: float, at_margin: float = 0.0) -> np.ndarray:
    return tolerance(x, low, high, margin, "linear", at_margin)


# ---- swinging and reaching -----------------------------------------------------------------------------------------------------------


def acrobot_distance(r: Rolled) -> np.ndarray:
    """From the acrobot's tip to its target above, metres."""
    return length(r.at.site("tip") - r.at.site("target"))


def acrobot(r: Rolled, sparse: bool = False) -> np.ndarray:
    return tolerance(acrobot_distance(r), high=r.model.site("target").size[0], margin=0 if sparse else 1)


def poles(r: Rolled) -> np.ndarray:
    """(N, T, poles) cosines of the poles' angles from upright, each of which turns with those below it."""
    return np.cos(np.cumsum(r.qpos[..., 1:], -1))


def cartpole(r: Rolled) -> np.ndarray:
    centred = (1 + tolerance(r.qpos[..., 0], margin=2)) / 2
    calm = (1 + tolerance(r.qvel[..., 1:], margin=5).min(-1)) / 2
    return ((poles(r) + 1) / 2).mean(-1) * centred * _small_control(r.actions) * calm


def cartpole_sparse(r: Rolled) -> np.ndarray:
    return tolerance(r.qpos[..., 0], -0.25, 0.25) * tolerance(poles(r), 0.995, 1).prod(-1)


def reacher_distance(r: Rolled) -> np.ndarray:
    """From the finger to the target, metres."""
    return length((r.at.geom("finger") - r.at.geom("target"))[..., :2])


def reacher(r: Rolled) -> np.ndarray:
    return tolerance(reacher_distance(r), high=float(r.model.geom("finger").size[0] + r.model.geom("target").size[0]))


def finger_spin(r: Rolled) -> np.ndarray:
    return (r.qvel[..., 2] <= -15.0).astype(np.float64)


def finger_distance(r: Rolled) -> np.ndarray:
    """From the spinner's tip to the middle of its target, metres."""
    return length((r.at.site("tip") - r.at.site("target"))[..., ::2])


def finger_turn(r: Rolled) -> np.ndarray:
    return (finger_distance(r) <= r.model.site("target").size[0]).astype(np.float64)


def ball(r: Rolled) -> np.ndarray:
    """(N, T, 2): how far a ball is to the right of and above the middle of its cup, metres."""
    return (r.at.body("ball") - r.at.site("target"))[..., ::2]


def ball_in_cup(r: Rolled) -> np.ndarray:
    room = r.model.site("target").size[[0, 2]] - r.model.geom("ball").size[0]
    return (np.abs(ball(r)) < room).all(-1).astype(np.float64)


def point_mass_distance(r: Rolled) -> np.ndarray:
    """From the mass to the target, metres."""
    return length(r.at.geom("target") - r.at.geom("pointmass"))


def point_mass(r: Rolled) -> np.ndarray:
    size = float(r.model.geom("target").size[0])
    return tolerance(point_mass_distance(r), high=size, margin=size) * _small_control(r.actions)


def pendulum(r: Rolled) -> np.ndarray:
    return tolerance(np.cos(r.qpos[..., 0]), np.cos(np.deg2rad(8)), 1)


# ---- walking and hopping in a plane ----------------------------------------------------------------------------------------------------


def walker(r: Rolled, speed: float = 0.0) -> np.ndarray:
    standing = tolerance(r.at.body("torso")[..., 2], 1.2, np.inf, margin=0.6)
    stand = (3 * standing + (1 + upright(r, "torso")) / 2) / 4
    if speed == 0:
        return stand
    return stand * (5 * _linear(r.sensor("torso_subtreelinvel")[..., 0], speed, np.inf, speed / 2, 0.5) + 1) / 6


def cheetah(r: Rolled) -> np.ndarray:
    return _linear(r.sensor("torso_subtreelinvel")[..., 0], 10, np.inf, 10)


def hopper_height(r: Rolled) -> np.ndarray:
    """Of the torso above the foot, their centres of mass, metres."""
    return (r.at.centre("torso") - r.at.centre("foot"))[..., 2]


def hopper_stand(r: Rolled) -> np.ndarray:
    return tolerance(hopper_height(r), 0.6, 2) * _small_control(r.actions)


def hopper_hop(r: Rolled) -> np.ndarray:
    return tolerance(hopper_height(r), 0.6, 2) * _linear(r.sensor("torso_subtreelinvel")[..., 0], 2, np.inf, 1, 0.5)


# ---- swimming --------------------------------------------------------------------------------------------------------------------------


def fish_upright(r: Rolled) -> np.ndarray:
    return tolerance(upright(r, "torso"), 1, 1, margin=1)


def fish_distance(r: Rolled) -> np.ndarray:
    """From the mouth to the target, metres."""
    return length(r.at.geom("mouth") - r.at.geom("target"))


def fish_swim(r: Rolled) -> np.ndarray:
    radii = float(r.model.geom("mouth").size[0] + r.model.geom("target").size[0])
    return (7 * tolerance(fish_distance(r), high=radii, margin=2 * radii) + (upright(r, "torso") + 1) / 2) / 8


def swimmer_distance(r: Rolled) -> np.ndarray:
    """From the nose to the target, metres, along the ground."""
    return length((r.at.geom("nose") - r.at.geom("target"))[..., :2])


def swimmer(r: Rolled) -> np.ndarray:
    size = float(r.model.geom("target").size[0])
    return tolerance(swimmer_distance(r), high=size, margin=5 * size, sigmoid="long_tail")


# ---- bodies in space ---------------------------------------------------------------------------------------------------------------------


def humanoid(r: Rolled, speed: float = 0.0, torso: str = "torso", up: int = 2) -> np.ndarray:
    """Of both humanoids: `torso` names the body that should be upright, whose axis `up` then points up."""
    stand = tolerance(r.at.body("head")[..., 2], 1.4, np.inf, margin=0.35) * _linear(upright(r, torso, up), 0.9, np.inf, 1.9)
    velocity = r.sensor(f"{torso}_subtreelinvel")[..., :2]
    if speed == 0:
        return _small_control(r.actions) * stand * tolerance(velocity, margin=2).mean(-1)
    return _small_control(r.actions) * stand * (5 * _linear(length(velocity), speed, np.inf, speed) + 1) / 6


def _quadruped_upright(r: Rolled, degrees: float = 0.0) -> np.ndarray:
    least = np.cos(np.deg2rad(degrees))
    return _linear(upright(r, "torso"), least, np.inf, 1 + least)


def quadruped_move(r: Rolled, speed: float) -> np.ndarray:
    return _quadruped_upright(r) * _linear(r.sensor("velocimeter")[..., 0], speed, np.inf, speed, 0.5)


def quadruped_escape(r: Rolled) -> np.ndarray:
    terrain = float(r.model.hfield_size[0, 0])
    return _quadruped_upright(r, 20) * _linear(length(r.at.site("workspace")), terrain, np.inf, terrain)


def quadruped_fetch(r: Rolled) -> np.ndarray:
    arena = float(r.model.geom("floor").size[0] * np.sqrt(2))
    reach = length((r.at.site("workspace") - r.at.body("ball"))[..., :2])
    bring = length((r.at.site("target") - r.at.body("ball"))[..., :2])
    reached = _linear(reach, 0, float(r.model.site("workspace").size[0] + r.model.geom("ball").size[0]), arena)
    brought = _linear(bring, 0, float(r.model.site("target").size[0]), arena)
    return _quadruped_upright(r) * reached * (0.5 + 0.5 * brought)


def dog_stand(r: Rolled) -> np.ndarray:
    reward = np.ones(r.qpos.shape[:-1])
    rest = replace(r, qpos=r.model.qpos0)
    for body in ("torso", "pelvis"):
        height = 0.9 * float(rest.at.body(body)[2])
        reward = reward * tolerance(r.at.body(body)[..., 2], height, np.inf, margin=height)
    least = np.cos(np.deg2rad(30))
    for body in ("skull", "torso", "pelvis"):
        reward = reward * _linear(upright(r, body), least, np.inf, 1 + least)
    weight = -float(r.model.opt.gravity[2] * r.model.body("torso").subtreemass[0])
    touch = sum(r.sensor(name)[..., 0] for name in ("palm_L", "palm_R", "sole_L", "sole_R"))
    return reward * _linear(np.asarray(touch), weight, np.inf, weight, 0.9)


def dog_move(r: Rolled, speed: float) -> np.ndarray:
    forward = np.einsum("...i,...i", r.sensor("torso_linvel"), r.at.axes("torso")[..., 0])
    return dog_stand(r) * (4 * _linear(forward, speed, 2 * speed, max(1.0, speed)) + 1) / 5


def dog_fetch(r: Rolled) -> np.ndarray:
    where = r.at.geom("ball")
    to_mouth = (length(where - r.at.site("upper_bite")) + length(where - r.at.site("lower_bite"))) / 2
    to_target = length(where - r.at.geom("target"))
    target, bite, floor = (
        float(size) for size in (r.model.geom("target").size[0], r.model.site("upper_bite").size[0], r.model.geom("floor").size[0])
    )
    reach = (6 * tolerance(to_mouth, high=bite, margin=2, sigmoid="reciprocal") + 1) / 7
    fetch = (tolerance(to_target, high=target, margin=floor, sigmoid="reciprocal") + 1) / 2
    return dog_stand(r) * np.where(to_target < 2 * target, 1, reach) * fetch


# ---- an arm in a plane -----------------------------------------------------------------------------------------------------------------


def apart(r: Rolled, first: str, second: str) -> np.ndarray:
    """The distance of two sites, metres."""
    return length(r.at.site(first) - r.at.site(second))


def _close(r: Rolled, first: str, second: str) -> np.ndarray:
    return tolerance(apart(r, first, second), high=0.01, margin=0.02)


def bring_ball(r: Rolled) -> np.ndarray:
    return _close(r, "ball", "target_ball")


def bring_peg(r: Rolled) -> np.ndarray:
    grasping = (_close(r, "peg_grasp", "grasp") + _close(r, "peg_pinch", "pinch")) / 2
    bringing = (_close(r, "peg", "target_peg") + _close(r, "target_peg_tip", "peg_tip")) / 2
    return np.maximum(bringing, grasping / 3)


def stack(r: Rolled, boxes: int) -> np.ndarray:
    size = float(r.model.geom("target").size[0])
    nearest = np.min([apart(r, f"box{k}", "target") for k in range(boxes)], axis=0)
    return tolerance(nearest, margin=2 * size) * tolerance(apart(r, "grasp", "target"), 0.1, np.inf, margin=0.01)
