"""Which limbs each body keeps, and its model: Gymnasium's own with the other limbs taken off.

The bodies are those of Huang et al. 2020, "One Policy to Control Them All", by their names there; sizes, masses, gears and ground are those
of Gymnasium's models.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

_BACK, _FRONT = "bthigh bshin bfoot".split(), "fthigh fshin ffoot".split()
_LEFT, _RIGHT = "thigh_left leg_left foot_left".split(), "thigh leg foot".split()
_LEGS = "right_thigh right_shin left_thigh left_shin"
_ARMS = "right_upper_arm right_lower_arm left_upper_arm left_lower_arm"


def _walker(whole: int, other: int, flipped: bool = False) -> list[str]:
    """So many limbs of the left leg and of the right, or flipped the other way round."""
    left, right = (other, whole) if flipped else (whole, other)
    return _RIGHT[:right] + _LEFT[:left]


# Name -> the limbs beside the torso, in the order of the actuators. The number in a name counts the torso too. There the walkers of either
# leg are one and the same model twice; here a flipped one has its legs exchanged, which makes no difference where they are alike or one is
# missing. Those four are not listed.
LIMBS: dict[str, list[str]] = {
    "cheetah-2-back": _BACK[:1],
    "cheetah-2-front": _FRONT[:1],
    "cheetah-3-back": _BACK[:2],
    "cheetah-3-balanced": _BACK[:1] + _FRONT[:1],
    "cheetah-3-front": _FRONT[:2],
    "cheetah-4-allback": _BACK,
    "cheetah-4-allfront": _FRONT,
    "cheetah-4-back": _BACK[:2] + _FRONT[:1],
    "cheetah-4-front": _BACK[:1] + _FRONT[:2],
    "cheetah-5-back": _BACK + _FRONT[:1],
    "cheetah-5-balanced": _BACK[:2] + _FRONT[:2],
    "cheetah-5-front": _BACK[:1] + _FRONT,
    "cheetah-6-back": _BACK + _FRONT[:2],
    "cheetah-6-front": _BACK[:2] + _FRONT,
    "cheetah-7-full": _BACK + _FRONT,
    "walker-2-main": _walker(1, 0),
    "walker-3-main": _walker(1, 1),
    "walker-4-main": _walker(2, 1),
    "walker-4-flipped": _walker(2, 1, flipped=True),
    "walker-5-main": _walker(2, 2),
    "walker-6-main": _walker(3, 2),
    "walker-6-flipped": _walker(3, 2, flipped=True),
    "walker-7-main": _walker(3, 3),
    "humanoid-2d-7-left-arm": f"{_LEGS} right_upper_arm right_lower_arm".split(),
    "humanoid-2d-7-left-leg": f"right_thigh right_shin {_ARMS}".split(),
    "humanoid-2d-7-lower-arms": f"{_LEGS} right_upper_arm left_upper_arm".split(),
    "humanoid-2d-7-right-arm": f"{_LEGS} left_upper_arm left_lower_arm".split(),
    "humanoid-2d-7-right-leg": f"left_thigh left_shin {_ARMS}".split(),
    "humanoid-2d-8-left-knee": f"right_thigh right_shin left_thigh {_ARMS}".split(),
    "humanoid-2d-8-right-knee": f"right_thigh left_thigh left_shin {_ARMS}".split(),
    "humanoid-2d-9-full": f"{_LEGS} {_ARMS}".split(),
    "hopper-3": ["thigh", "foot"],
    "hopper-4": ["thigh", "leg", "foot"],
    "hopper-5": ["thigh", "leg", "lower_leg", "foot"],
}

# The joint that moves a humanoid's limb in the plane; of the others it is the limb's only one.
_HUMANOID_JOINTS = {
    **{f"{side}_thigh": f"{side}_hip_y" for side in ("left", "right")},
    **{f"{side}_shin": f"{side}_knee" for side in ("left", "right")},
    **{f"{side}_upper_arm": f"{side}_shoulder1" for side in ("left", "right")},
    **{f"{side}_lower_arm": f"{side}_elbow" for side in ("left", "right")},
}

_XML = {"cheetah": "half_cheetah", "walker": "walker2d_v5", "humanoid": "humanoid", "hopper": "hopper"}


def family(name: str) -> str:
    """Which of Gymnasium's bodies a body comes from: "cheetah", "walker", "humanoid" or "hopper"."""
    return name.split("-")[0]


def joint_of(name: str, limb: str) -> str:
    """The joint that moves a limb of the body `name`."""
    if family(name) == "humanoid":
        return _HUMANOID_JOINTS[limb]
    return limb if family(name) == "cheetah" else f"{limb}_joint"


def build(name: str) -> tuple[Any, float]:
    """A body's mujoco.MjModel, and by how many metres its torso starts higher than that of Gymnasium's.

    It starts as far above the ground as the whole body does, lowest point by lowest point.
    """
    spec = _whole(name)
    ground = _lowest(spec.compile())
    if family(name) == "hopper":
        _make_leg(spec, LIMBS[name])
    else:
        _take_off(spec, {limb for whole in LIMBS if family(whole) == family(name) for limb in LIMBS[whole]} - set(LIMBS[name]))
    higher = ground - _lowest(spec.compile())
    spec.body("torso").pos[2] += higher
    if family(name) != "cheetah":  # whose height is counted from where it starts
        spec.joint("rootz").ref += higher
    return spec.compile(), higher


def _whole(name: str) -> Any:
    """The mujoco.MjSpec of Gymnasium's body, the humanoid's in a plane."""
    import mujoco
    from gymnasium.envs import mujoco as environments

    spec = mujoco.MjSpec.from_file(str(Path(environments.__file__).parent / "assets" / f"{_XML[family(name)]}.xml"))
    if family(name) == "humanoid":
        _flatten(spec)
    return spec


def _flatten(spec: Any) -> None:
    """Confine the humanoid to a plane: its root slides and turns in it, and of every limb's joints the one is left that does."""
    import mujoco

    kept = set(_HUMANOID_JOINTS.values())
    for tendon in list(spec.tendons):  # which pull nothing
        tendon.delete()
    for motor in [motor for motor in spec.actuators if motor.target not in kept]:
        motor.delete()
    for joint in [joint for joint in spec.joints if joint.name not in kept]:
        joint.delete()
    for name in kept:
        if "shoulder" in name or "elbow" in name:
            spec.joint(name).axis = (0, -1, 0)
    torso = spec.body("torso")
    free = {"armature": 0, "damping": 0, "limited": 0}
    slide, hinge = mujoco.mjtJoint.mjJNT_SLIDE, mujoco.mjtJoint.mjJNT_HINGE
    torso.add_joint(name="rootx", type=slide, axis=(1, 0, 0), **free)
    torso.add_joint(name="rootz", type=slide, axis=(0, 0, 1), ref=torso.pos[2], **free)
    torso.add_joint(name="rooty", type=hinge, axis=(0, 1, 0), **free)


def _take_off(spec: Any, limbs: set[str]) -> None:
    """Take off limbs; with a limb goes what hangs on it, and with their joints go the motors."""
    for limb in limbs:
        body = spec.body(limb)
        if body is not None:  # or it went with another
            spec.detach_body(body)


def _make_leg(spec: Any, limbs: list[str]) -> None:
    """A hopper's leg of two limbs has the foot at the thigh's end, that of four the leg twice."""
    if "leg" not in limbs:
        _take_off(spec, {"leg"})
        _hang(spec, "foot", "thigh", -0.2)
    if "lower_leg" in limbs:
        _take_off(spec, {"foot"})
        _hang(spec, "leg", "leg", 0.2, "lower_leg")
        _hang(spec, "foot", "lower_leg", 0.0)


def _hang(spec: Any, limb: str, parent: str, up: float, name: str = "") -> None:
    """A hopper's limb, with its motor, on another, maybe by another name; so many metres higher there than on its own parent."""
    other, name = _whole("hopper"), name or limb
    body, joint, motor = other.body(limb), other.joint(f"{limb}_joint"), f"{limb}_joint"
    _take_off(other, {part.name for part in body.bodies})
    for part in (*other.materials, *other.textures, *(own for own in other.actuators if own.target != motor)):
        part.delete()  # all but the limb and its motor is there
    body.name, joint.name, body.geoms[0].name, other.actuators[0].target = name, f"{name}_joint", f"{name}_geom", f"{name}_joint"
    spec.body(parent).add_frame(pos=(0, 0, up)).attach_body(body, "", "")


def _lowest(model: Any) -> float:
    """The height of a body's lowest point in its model's own pose, metres; of capsules and spheres."""
    import mujoco
    import numpy as np

    data = mujoco.MjData(model)
    mujoco.mj_kinematics(model, data)
    own = np.flatnonzero(model.geom_bodyid)
    capsule = model.geom_type[own] == mujoco.mjtGeom.mjGEOM_CAPSULE
    reach = model.geom_size[own, 0] + capsule * model.geom_size[own, 1] * np.abs(data.geom_xmat[own, 8])
    return float((data.geom_xpos[own, 2] - reach).min())
