"""RGB Stacking where reality would be: the same arm and objects in cells that no simulated episode has, to be driven by `opengato robot`.

A domain shift stands in for a real arm: eight cells, fixed once and for all, that differ from the simulator's in what differs in a
laboratory. An episode's seed draws its cell. Nothing tells which one, nor where objects are: the agent sees two cameras and the arm.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np

from opengato.domains.rgb_stacking import SKILLS
from opengato.domains.rgb_stacking.environment import ACTION_SPACE, Drive, Stacking, observation_space, start
from opengato.domains.rgb_stacking.expert import EXPERT_NAME, StackingExpert
from opengato.domains.rgb_stacking.objects import COLOURS, INSTALL, Triplet
from opengato.domains.rgb_stacking.scene import CAMERAS
from opengato.domains.task import Task

CELLS = 8
_CHANGED = ("cam_pos", "cam_quat", "cam_fovy", "light_pos", "light_diffuse", "geom_rgba", "geom_friction", "body_mass", "body_inertia")
_ENCODER = 0.0005  # radians, the standard deviation of a joint's reading


@dataclass(frozen=True)
class Shift:
    """How one cell differs from the simulator's.

    Attributes:
        cameras: for each of the two, how far it was moved (3,), metres, and turned (3,), radians, a rotation vector in its own frame.
        fields_of_view: of the cameras, degrees. exposure: factor of every pixel. noise: standard deviation of every pixel, of 255.
        light: how far it was moved (3,), metres. brightness: of the light, of 1.
        colours: of the objects, (3, 3). grey: of the basket, of 1.
        grip, slip: friction of the fingertips, 1.5 in the simulator, and of the objects, 0.5. weight: factor of the objects' mass.
        delay: control steps that a command takes. gap: the fingers' play, of 255.
    """

    cameras: np.ndarray
    fields_of_view: np.ndarray
    exposure: float
    noise: float
    light: np.ndarray
    brightness: float
    colours: np.ndarray
    grey: float
    grip: float
    slip: float
    weight: float
    delay: int
    gap: float


def shift(cell: int) -> Shift:
    """The shift of one of the `CELLS`."""
    random = np.random.Generator(np.random.Philox(key=[2205_06175, cell]))
    near = random.uniform
    moved = [np.concatenate([near(-0.015, 0.015, 3), np.radians(near(-2, 2, 3))]) for _ in CAMERAS]
    return Shift(
        cameras=np.array(moved),
        fields_of_view=near(28.5, 31.5, 2),
        exposure=float(near(0.75, 1.25)),
        noise=float(near(2, 6)),
        light=near(-0.4, 0.4, 3),
        brightness=float(near(0.4, 1.0)),
        colours=np.clip(0.8 * np.eye(3) + near(0, 0.2, (3, 3)), 0, 1),
        grey=float(near(0.25, 0.75)),
        grip=float(near(0.8, 1.3)),
        slip=float(near(0.4, 0.6)),
        weight=float(near(0.75, 1.25)),
        delay=int(random.integers(1, 3)),
        gap=float(near(4, 12)),
    )


class RealStacking(Stacking):
    """One task in the cells; its seed draws which one.

    Attributes:
        cell: the number of the current episode's, 0 to 7.
    """

    def __init__(self, top: str, bottom: str, triplet: Triplet | None):
        super().__init__(top, bottom, triplet, cameras=True)
        self._shifts = [shift(cell) for cell in range(CELLS)]

    def _load(self, triplet: Triplet) -> None:
        super()._load(triplet)
        self._simulated = {name: getattr(self.model, name).copy() for name in _CHANGED}

    def _prepare(self) -> Drive:
        import mujoco

        self.cell = int(self.np_random.integers(CELLS))
        self._noise = np.random.Generator(np.random.Philox(self.np_random.integers(2**63)))
        there, model = self._shifts[self.cell], self.model
        for name, values in self._simulated.items():
            getattr(model, name)[:] = values
        for name, moved, view in zip(CAMERAS, there.cameras, there.fields_of_view, strict=True):
            camera = model.camera(f"basket/{name}")
            camera.pos[:] += moved[:3]
            mujoco.mju_quatIntegrate(camera.quat, moved[3:], 1.0)
            camera.fovy[:] = view
        model.light_pos[0] += there.light
        model.light_diffuse[0] = there.brightness
        for geom in range(model.ngeom):
            body = model.body(model.geom_bodyid[geom]).name
            if body == "basket/rgb_basket":
                model.geom_rgba[geom, :3] = there.grey
            if body in COLOURS:
                model.geom_rgba[geom, :3] = there.colours[COLOURS.index(body)]
                model.geom_friction[geom, 0] = there.slip
            if body.endswith("_pad"):
                model.geom_friction[geom, 0] = there.grip
        for colour in COLOURS:
            model.body_mass[model.body(colour).id] *= there.weight
            model.body_inertia[model.body(colour).id] *= there.weight
        mujoco.mj_setConst(model, self.data)
        return Drive(there.delay, there.gap)

    def _observe(self) -> dict[str, np.ndarray]:
        seen, there = super()._observe(), self._shifts[self.cell]
        seen["arm_joints"] += self._noise.normal(0, _ENCODER, 7).astype(np.float32)
        for name in CAMERAS:
            shown = seen[name] * there.exposure + self._noise.normal(0, there.noise, seen[name].shape)
            seen[name] = np.clip(np.round(shown), 0, 255).astype(np.uint8)
        return seen


def _start(env: gym.Env) -> dict[str, Any]:
    return {**start(env), "cell": np.array(env.unwrapped.cell)}  # type: ignore[attr-defined]


TASKS = [
    Task(
        id=f"rgb-stacking-real/{name}",
        observation_space=observation_space(cameras=True),
        action_space=ACTION_SPACE,
        make_env=partial(RealStacking, top, bottom, triplet),
        make_expert=StackingExpert,
        requires="dm_robotics",
        extra="stacking",
        expert_name=EXPERT_NAME,
        has_success=True,
        start=_start,
        install=INSTALL,
    )
    for name, top, bottom, triplet in SKILLS
]
