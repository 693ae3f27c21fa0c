"""The scene as a MuJoCo model: a Sawyer arm with a force sensor and a two-finger gripper, a basket, three objects, two cameras.

Arm, gripper, basket and objects are the files of the `dm-robotics-moma` and `dm-robotics-manipulation` wheels, put together as those
packages and deepmind/rgb_stacking do, with the same masses, actuators and frictions, but without their code, which needs JAX. What differs:
steps of 2 ms in place of 0.5, meshes that are only looked at are coarser, contacts are several a pair of faces (`multiccd`), and friction
gives way less (`impratio`), without which fingertips creep along what they hold. Lengths are in metres, in the frame of the arm's base: x
points to the basket, z up.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from opengato.domains.rgb_stacking.objects import COLOURS, Triplet, facets, mesh_files, wheel

TIMESTEP = 0.002  # seconds; the public task has 0.0005, at a quarter of the speed
ARM_JOINTS = tuple(f"arm/right_j{i}" for i in range(7))
FINGER_JOINT = "gripper/left_driver_joint"
PINCH, WRIST = "gripper/pinch_site", "arm/wrist_site"
CAMERAS = ("basket_front_left", "basket_front_right")
BASKET_CENTRE, FLOOR = (0.6, 0.0), 0.0498  # of the basket: where it stands, and how high its floor is

_SPEEDS = (1.74, 1.328, 1.957, 1.957, 3.485, 3.485, 4.545)  # radians a second; Rethink's limits, as the next
_TORQUES = (80, 80, 40, 40, 9, 9, 9)
_FRICTIONLOSS = {"large_joint": "0.3", "medium_joint": "0.3", "small_joint": "0.1"}
_COLOURS = {"red": (1, 0, 0, 1), "green": (0, 1, 0, 1), "blue": (0, 0, 1, 1)}
_FACETS = 500  # of a mesh; some have 80,000, and a software renderer's time goes with them
# What objects touch of the basket, whose meshes are only looked at: besides its floor, four slopes.
_SLOPES = (
    ((-0.28, 0, 0.07), (0.20, 0.40, 0.005), (0, 1, 0, 0.44506)),
    ((0.28, 0, 0.07), (0.20, 0.40, 0.005), (0, 1, 0, 2.69653)),
    ((0, -0.28, 0.07), (0.40, 0.20, 0.005), (1, 0, 0, 2.69653)),
    ((0, 0.28, 0.07), (0.40, 0.20, 0.005), (1, 0, 0, 0.44506)),
)
_CAMERA_POSES = {
    "basket_front_left": ((0.970, -0.375, 0.235), (0.7815, 0.4900, 0.2050, 0.3272)),
    "basket_front_right": ((0.970, 0.375, 0.235), (0.3272, 0.2050, 0.4900, 0.7815)),
}
_FIELD_OF_VIEW = 30.0


def build(triplet: Triplet) -> Any:
    """The scene with these objects, as a `mujoco.MjSpec` that compiles."""
    import mujoco

    spec = mujoco.MjSpec.from_string(_WORLD)
    stand = spec.worldbody.add_site(pos=(*BASKET_CENTRE, FLOOR))
    spec.attach(_basket(), site=stand, prefix="basket/")
    spec.attach(_arm(), site=spec.worldbody.add_site(), prefix="arm/")
    spec.attach(_read("moma", "models/end_effectors/wrist_sensors/robotiq_fts300.xml"), site=spec.site("arm/flange"), prefix="sensor/")
    spec.attach(_gripper(), site=spec.site("sensor/ft_sensor_attachment_site"), prefix="gripper/")
    for body in spec.bodies[1:]:
        if body.name.startswith(("arm/", "sensor/", "gripper/")):
            body.gravcomp = 1
    for geom in spec.geoms:
        if geom.name.startswith(("arm/", "sensor/")):
            geom.contype = geom.conaffinity = 0  # which the workspace keeps away from everything
    for colour, name in zip(COLOURS, triplet, strict=True):
        _add_object(spec, colour, name)
    return spec


def _read(part: str, path: str, change: Any = None) -> Any:
    """A model of a wheel, after `change` has been made to its XML."""
    import mujoco

    file = wheel(part) / path
    root = ElementTree.parse(file).getroot()
    compiler = root.find("compiler")
    assert compiler is not None
    compiler.set("meshdir", str((file.parent / compiler.get("meshdir", ".")).resolve()))
    if change is not None:
        change(root)
    spec = mujoco.MjSpec.from_string(ElementTree.tostring(root, encoding="unicode"))
    for mesh in spec.meshes:
        source = Path(spec.meshdir) / mesh.file
        if "fingertip" not in mesh.file and source.stat().st_size > 50 * _FACETS:  # what grasps is left as it is
            corners, faces = _coarse(source)
            mesh.file, mesh.uservert, mesh.userface = "", corners.ravel().tolist(), faces.ravel().tolist()
    return spec


@cache
def _coarse(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """A mesh with no more than so many faces: corners (n, 3) and faces (m, 3), those of one cell of a grid made one."""
    fine = facets(path).reshape(-1, 3).astype(np.float64)
    fine_from, size = fine.min(0), np.ptp(fine, axis=0).max()
    cells = 64.0
    while True:
        place = np.round((fine - fine_from) / size * cells).astype(int)
        _, which, counts = np.unique(place @ (1, 128, 128**2), return_inverse=True, return_counts=True)
        faces = which.reshape(-1, 3)
        faces = faces[(faces != np.roll(faces, 1, axis=1)).all(1)]
        _, first = np.unique(np.sort(faces, axis=1) @ (1, len(counts), len(counts) ** 2), return_index=True)
        if len(first) <= _FACETS:
            break
        cells *= 0.85
    corners = np.stack([np.bincount(which, fine[:, k]) for k in range(3)], 1) / counts[:, None]
    return corners, faces[np.sort(first)]


def _arm() -> Any:
    def change(root: ElementTree.Element) -> None:
        default = root.find("default")
        assert default is not None
        for name, loss in _FRICTIONLOSS.items():  # which the file names and leaves to whoever chooses the actuators
            joint = ElementTree.SubElement(default, "default", {"class": name})
            ElementTree.SubElement(joint, "joint", frictionloss=loss, armature="1", damping="0.1")
        actuators = ElementTree.SubElement(root, "actuator")
        for i, (speed, torque) in enumerate(zip(_SPEEDS, _TORQUES, strict=True)):
            # A commanded velocity is integrated to the position that a servo holds.
            given = {"name": f"j{i}", "joint": f"right_j{i}", "ctrlrange": f"{-speed} {speed}", "forcerange": f"{-torque} {torque}"}
            held = {"gainprm": "500", "biasprm": "0 -500 -50", "dyntype": "integrator", "biastype": "affine"}
            low, high = next(j.get("range", "").split() for j in root.iter("joint") if j.get("name") == f"right_j{i}")
            within = {"actlimited": "true", "actrange": f"{low} {high}", "ctrllimited": "true", "forcelimited": "true"}
            ElementTree.SubElement(actuators, "general", given | held | within)
        hand = next(body for body in root.iter("body") if body.get("name") == "hand")
        ElementTree.SubElement(hand, "site", name="flange", quat="0.70711 0 0 0.70711")

    return _read("moma", "models/vendor/rethink/sawyer_description/mjcf/sawyer.xml", change)


def _gripper() -> Any:
    def change(root: ElementTree.Element) -> None:
        # The package's own corrections of its file: softer fingertips, and fingers as slow as the real ones.
        classes = {found.get("class"): found for found in root.iter("default")}
        tip = classes["reinforced_fingertip"].find("geom")
        spring, driver = (classes[name].find("joint") for name in ("spring_link", "driver"))
        assert tip is not None and spring is not None and driver is not None
        tip.attrib.update(friction="1.5 0.1 0.001", solimp="0.9 0.95 0.001 0.01 2", solref="-30000 -200", rgba="1 1 1 1")
        spring.set("stiffness", "0.01")
        driver.attrib.update(armature="0.1", damping="1")
        for side in ("left", "right"):
            pad = next(body for body in root.iter("body") if body.get("name") == f"{side}_pad")
            for i, height in enumerate((0.03, 0.015)):
                box = {"class": "reinforced_fingertip", "type": "box", "size": "0.007 0.0021575 0.005", "rgba": "0 0 0 0"}
                ElementTree.SubElement(pad, "geom", box | {"name": f"{side}_box{i}", "pos": f"0 0.0117 {height}"})
        fingers = next(found for found in root.iter("general") if found.get("name") == "fingers_actuator")
        moved = {"ctrlrange": "-255 255", "dyntype": "integrator", "gainprm": str(100 * 0.8 / 255), "biasprm": "0 -100 0"}
        fingers.attrib.update(**moved, actlimited="true", actrange="0 255")

    return _read("moma", "models/vendor/robotiq_beta_robots/mujoco/robotiq_2f85_v2.xml", change)


def _basket() -> Any:
    spec = _read("manipulation", "standard_cell/rgb_basket_assets/rgb_basket.xml")
    for geom in spec.geoms:
        geom.contype = geom.conaffinity = 0
    solid = spec.worldbody.add_body(name="solid", quat=(0.707, 0, 0, 0.707))
    touched = {"group": 5, "contype": 1, "conaffinity": 1}
    # A plane, which meshes lie on with all their corners; on a box they would tremble.
    solid.add_geom(name="floor", type=_geom("PLANE"), size=(0.25, 0.25, 0.01), **touched)
    for i, (pos, size, turn) in enumerate(_SLOPES):
        solid.add_geom(name=f"slope{i}", type=_geom("BOX"), pos=pos, size=size, axisangle=turn, **touched)
    frame = spec.body("rgb_basket").add_body(name="cameras", pos=(0, 0.6, 0), quat=(0.707, 0, 0, -0.707))
    for name, (pos, quat) in _CAMERA_POSES.items():
        frame.add_camera(name=name, pos=pos, quat=quat, fovy=_FIELD_OF_VIEW)
    return spec


def _add_object(spec: Any, colour: str, name: str) -> None:
    """An object that moves freely: `colour` names its body, its joint, and its geoms, one that is seen and one that is touched."""
    spec.add_mesh(name=colour, file=str(mesh_files()[name]))
    body = spec.worldbody.add_body(name=colour)
    body.add_freejoint(name=colour)
    seen = {"contype": 0, "conaffinity": 0, "group": 1, "rgba": _COLOURS[colour]}
    body.add_geom(name=f"{colour}/seen", type=_geom("MESH"), meshname=colour, mass=0.2, **seen)
    touched = {"contype": 1, "conaffinity": 1, "condim": 6, "friction": (0.5, 0.005, 0.0001), "solref": (0.004, 1), "group": 4}
    body.add_geom(name=f"{colour}/touched", type=_geom("MESH"), meshname=colour, mass=0, **touched)


def _geom(kind: str) -> Any:
    import mujoco

    return getattr(mujoco.mjtGeom, f"mjGEOM_{kind}")


_WORLD = f"""
<mujoco model="rgb_stacking">
  <compiler angle="radian"/>
  <option timestep="{TIMESTEP}" cone="elliptic" impratio="20"><flag multiccd="enable"/></option>
  <visual><quality offsamples="0"/><map znear="0.01"/></visual>
  <statistic center="0 0 0" extent="1"/>
  <asset>
    <texture name="ground" type="2d" builtin="checker" rgb1=".2 .3 .4" rgb2=".1 .2 .3" width="300" height="300" mark="edge"/>
    <material name="ground" texture="ground" texrepeat="5 5" texuniform="true"/>
  </asset>
  <worldbody>
    <light diffuse=".7 .7 .7" pos="0 0 1.5" dir="0 0 -1" specular=".3 .3 .3" castshadow="false"/>
    <camera name="main" pos="1.4 0 0.45" quat="0.541 0.455 0.456 0.541"/>
    <geom name="ground" type="plane" size="2 2 2" material="ground" friction="0.4"/>
  </worldbody>
</mujoco>
"""
