"""Hints that planning needs beside the reward, where that is flat within the horizon: (N, T) of what was rolled out, added to it."""

from __future__ import annotations

import numpy as np

from opengato.domains.dm_control import rewards
from opengato.experts.icem import Rolled


def _speed(r: Rolled, joints: slice = slice(None)) -> np.ndarray:
    return np.square(r.qvel[..., joints]).mean(-1)


def nothing(r: Rolled) -> np.ndarray:
    return np.zeros(r.qpos.shape[:2])


def acrobot(r: Rolled) -> np.ndarray:
    """Up, and slowly there."""
    distance = rewards.acrobot_distance(r)
    return -0.15 * distance - 0.01 * _speed(r) * np.exp(-distance)


def cartpole_poles(r: Rolled) -> np.ndarray:
    """Of several poles: all of them up, slowly, and the middle of the rail, whose end lies beyond the horizon."""
    middle = -0.1 * np.square(r.qpos[..., 0]) - 0.02 * np.square(r.qvel[..., 0])
    return middle + rewards.poles(r).mean(-1) - 0.01 * _speed(r, slice(1, None))


def _finger_to_spinner(r: Rolled) -> np.ndarray:
    return rewards.length(r.at.geom("fingertip") - r.at.body("spinner"))


def finger_spin(r: Rolled) -> np.ndarray:
    """Spin as fast as counts, and somewhat more; come near the spinner, whence one can push."""
    return 0.5 * np.clip(-r.qvel[..., 2] / 18.0, -1, 1) - 0.1 * _finger_to_spinner(r)


def finger_turn(r: Rolled) -> np.ndarray:
    """Turn the shorter way round, pushed from above or below at the end that lies towards the finger; leave it alone where it should be."""
    hinge = r.at.body("spinner")[..., ::2]
    tip, target = r.at.site("tip")[..., ::2] - hinge, r.at.site("target")[..., ::2] - hinge
    left = np.arctan2(tip[..., 0] * target[..., 1] - tip[..., 1] * target[..., 0], (tip * target).sum(-1))
    there = rewards.finger_distance(r) < 0.7 * float(r.model.site("target").size[0])
    side = np.stack([np.full_like(left, -0.12), 0.12 * np.sign(left)], -1)
    beside = rewards.length(r.at.geom("fingertip")[..., ::2] - hinge - side)
    resting = np.square(r.qvel[..., 2]) * there
    return -0.6 * np.abs(left) - 0.5 * beside * ~there - 0.02 * resting - 0.005 * _speed(r, slice(2))


def ball_in_cup(r: Rolled) -> np.ndarray:
    """The ball must come over the rim and fall in."""
    x, z = np.moveaxis(rewards.ball(r), -1, 0)
    return -2.0 * np.hypot(x, z - 0.05 * (np.abs(x) > 0.04)) - 0.3 * (z < 0)


def walker(r: Rolled) -> np.ndarray:
    """Upright well before the reward asks for it."""
    return 0.5 * np.minimum(r.at.body("torso")[..., 2], 1.25) + 0.3 * rewards.upright(r, "torso")


def hopper_stand(r: Rolled) -> np.ndarray:
    return np.minimum(rewards.hopper_height(r), 0.8) + 0.3 * np.cos(r.qpos[..., 2]) - 0.02 * _speed(r, slice(2))


def fish_upright(r: Rolled) -> np.ndarray:
    return 0.3 * rewards.upright(r, "torso") - 0.002 * _speed(r)


def fish_swim(r: Rolled) -> np.ndarray:
    """Nearer, and with the mouth ahead."""
    way = r.at.geom("target") - r.at.geom("mouth")
    ahead = r.at.geom("mouth") - r.at.body("torso")
    turned = (way * ahead).sum(-1) / (rewards.length(way) * rewards.length(ahead) + 1e-9)
    return -10.0 * rewards.length(way) + turned * (rewards.length(way) > 0.08)


def humanoid(r: Rolled, speed: float = 0.0) -> np.ndarray:
    """Get up, with the head above the feet, and in motion as fast as it counts."""
    head, foot = r.at.body("head"), (r.at.body("left_foot") + r.at.body("right_foot")) / 2
    velocity = r.sensor("torso_subtreelinvel")[..., :2]
    moving = -0.1 * np.square(velocity).sum(-1) if speed == 0 else 0.5 * np.minimum(rewards.length(velocity) / speed, 1.0)
    # Who moves puts the feet below where the head will be a tenth of a second later.
    lean = rewards.length((head - foot)[..., :2] + 0.1 * velocity)
    return np.minimum(head[..., 2], 1.45) - 0.4 * np.minimum(lean, 1.0) + moving - 0.002 * _speed(r, slice(6, None))


def quadruped(r: Rolled, speed: float) -> np.ndarray:
    """Feet down, torso off the ground, and forwards."""
    forwards = np.clip(r.sensor("velocimeter")[..., 0] / speed, -1, 1)
    return (
        rewards.upright(r, "torso")
        + 0.5 * np.minimum(r.at.body("torso")[..., 2], 0.6)
        + 0.5 * forwards * (rewards.upright(r, "torso") > 0.5)
    )


def quadruped_fetch(r: Rolled) -> np.ndarray:
    """Around the ball, and push it to the middle."""
    ball, own = r.at.body("ball")[..., :2], r.at.site("workspace")[..., :2]
    outwards = ball / (rewards.length(ball)[..., None] + 1e-9)
    behind = rewards.length(ball + 0.3 * outwards - own)
    return rewards.upright(r, "torso") - 0.3 * behind - 0.3 * rewards.length(ball)


def quadruped_escape(r: Rolled) -> np.ndarray:
    """Outwards, from wherever it is."""
    return rewards.upright(r, "torso") + 0.2 * rewards.length(r.at.site("workspace"))
