"""The suite's tasks that step, and their spaces, stated so that listing them needs no simulator.

`lqr` is left out: under random actions its physics diverges.
"""

from __future__ import annotations

import numpy as np
from gymnasium import spaces

_ARM = {"arm_pos": 16, "arm_vel": 8, "touch": 5, "hand_pos": 4}
_BRING = {**_ARM, "object_pos": 4, "object_vel": 3, "target_pos": 4}
_DOG = {
    "joint_angles": 73,
    "joint_velocites": 73,  # the suite spells it so
    "torso_pelvis_height": 2,
    "z_projection": 9,
    "torso_com_velocity": 3,
    "inertial_sensors": 9,
    "foot_forces": 12,
    "touch_sensors": 4,
    "actuator_state": 38,
}
_FINGER = {"position": 4, "velocity": 3, "touch": 2}
_QUADRUPED = {"egocentric_state": 44, "torso_velocity": 3, "torso_upright": 1, "imu": 6, "force_torque": 24}


def _humanoid(joints: int) -> dict[str, int]:
    return {"joint_angles": joints, "head_height": 1, "extremities": 12, "torso_vertical": 3, "com_velocity": 3, "velocity": 6 + joints}


def _stack(boxes: int) -> dict[str, int]:
    return {**_ARM, "box_pos": 4 * boxes, "box_vel": 3 * boxes, "target_pos": 2}


def _swimmer(joints: int) -> dict[str, int]:
    return {"joints": joints, "to_target": 2, "body_velocities": 3 * (joints + 1)}


# (domain, tasks) -> observations (name -> length) and number of actuators.
_STATED: dict[tuple[str, str], tuple[dict[str, int], int]] = {
    ("acrobot", "swingup swingup_sparse"): ({"orientations": 4, "velocity": 2}, 1),
    ("ball_in_cup", "catch"): ({"position": 4, "velocity": 4}, 2),
    ("cartpole", "balance balance_sparse swingup swingup_sparse"): ({"position": 3, "velocity": 2}, 1),
    ("cartpole", "two_poles"): ({"position": 5, "velocity": 3}, 1),
    ("cartpole", "three_poles"): ({"position": 7, "velocity": 4}, 1),
    ("cheetah", "run"): ({"position": 8, "velocity": 9}, 6),
    ("dog", "stand walk trot run"): (_DOG, 38),
    ("dog", "fetch"): ({**_DOG, "ball_state": 6, "target_position": 3}, 38),
    ("finger", "spin"): (_FINGER, 2),
    ("finger", "turn_easy turn_hard"): ({**_FINGER, "target_position": 2, "dist_to_target": 1}, 2),
    ("fish", "upright"): ({"joint_angles": 7, "upright": 1, "velocity": 13}, 5),
    ("fish", "swim"): ({"joint_angles": 7, "upright": 1, "target": 3, "velocity": 13}, 5),
    ("hopper", "stand hop"): ({"position": 6, "velocity": 7, "touch": 2}, 4),
    ("humanoid", "stand walk run"): (_humanoid(21), 21),
    ("humanoid", "run_pure_state"): ({"position": 28, "velocity": 27}, 21),
    ("humanoid_CMU", "stand walk run"): (_humanoid(56), 56),
    ("manipulator", "bring_ball bring_peg insert_ball insert_peg"): (_BRING, 5),
    ("pendulum", "swingup"): ({"orientation": 2, "velocity": 1}, 1),
    ("point_mass", "easy hard"): ({"position": 2, "velocity": 2}, 2),
    ("quadruped", "walk run"): (_QUADRUPED, 12),
    ("quadruped", "escape"): ({**_QUADRUPED, "origin": 3, "rangefinder": 20}, 12),
    ("quadruped", "fetch"): ({**_QUADRUPED, "ball_state": 9, "target_position": 3}, 12),
    ("reacher", "easy hard"): ({"position": 2, "to_target": 2, "velocity": 2}, 2),
    ("stacker", "stack_2"): (_stack(2), 5),
    ("stacker", "stack_4"): (_stack(4), 5),
    ("swimmer", "swimmer6"): (_swimmer(5), 5),
    ("swimmer", "swimmer15"): (_swimmer(14), 14),
    ("walker", "stand walk run"): ({"orientations": 14, "height": 1, "velocity": 9}, 6),
}

# Yaw, lift and reach of a leg, four times over; all other actuators take -1 to 1.
_QUADRUPEDS = (np.array([-1, -1, -0.8] * 4, np.float32), np.array([1, 1.1, 0.8] * 4, np.float32))

TASKS: tuple[tuple[str, str], ...] = tuple((domain, task) for domain, tasks in _STATED for task in tasks.split())


def observation_space(domain: str, task: str) -> spaces.Dict:
    """The named vectors that a task shows."""
    lengths = next(stated for (of, tasks), (stated, _) in _STATED.items() if of == domain and task in tasks.split())
    return spaces.Dict({name: spaces.Box(-np.inf, np.inf, (length,), np.float32) for name, length in lengths.items()})


def action_space(domain: str, task: str) -> spaces.Box:
    """One number an actuator, in the actuators' units."""
    if domain == "quadruped":
        return spaces.Box(*_QUADRUPEDS, dtype=np.float32)
    actuators = next(stated for (of, tasks), (_, stated) in _STATED.items() if of == domain and task in tasks.split())
    return spaces.Box(-1.0, 1.0, (actuators,), np.float32)


def task_name(domain: str, task: str) -> str:
    """The second part of a task's id, in kebab case."""
    return f"{domain}-{task}".replace("_", "-").lower()
