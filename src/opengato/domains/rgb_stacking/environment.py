"""The cell as an environment: three objects in a basket, of which one is to be stacked on another, at 20 Hz for 400 steps."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from opengato.domains.rgb_stacking.arm import ACTION_LIMIT, WORKSPACE, Arm
from opengato.domains.rgb_stacking.objects import COLOURS, Triplet, drawn_triplet
from opengato.domains.rgb_stacking.rewards import Contacts, Seen, shaped
from opengato.domains.rgb_stacking.scene import ARM_JOINTS, CAMERAS, FINGER_JOINT, PINCH, TIMESTEP, WRIST, build
from opengato.errors import OpenGatoError

RATE, STEPS, SIDE = 20, 400, 128
SUBSTEPS = round(1 / RATE / TIMESTEP)
ACTION_SPACE = spaces.Box(-ACTION_LIMIT, ACTION_LIMIT, dtype=np.float32)

# Where objects are dropped and the gripper begins, metres and radians.
_DROPPED = np.array([[0.50, -0.10, 0.12], [0.70, 0.10, 0.12]])
_BEGINS = np.array([[0.5, -0.14, 0.22, -np.pi / 4], [0.7, 0.14, 0.43, np.pi / 4]])
_REACH = WORKSPACE[:, :2] + np.array([[0.01], [-0.01]])  # of objects' middles, a finger's breadth inside the workspace

_BODY = {"arm_joints": 7, "arm_velocities": 7, "gripper_position": 1, "gripper_grasp": 1, "pinch_pose": 7, "wrist_pose": 7}
_OBJECT = {"pose": 7, "to_pinch": 3}


def observation_space(cameras: bool) -> spaces.Dict:
    """Proprioception, and two pictures (128, 128, 3) uint8 or the poses of the objects.

    Poses are metres, and quaternions with w first and not below 0; joints radians; the gripper 0 open to 255 closed.
    """
    told = _BODY if cameras else _BODY | {f"{colour}_{what}": n for colour in COLOURS for what, n in _OBJECT.items()}
    found: dict[str, spaces.Space] = {name: spaces.Box(-np.inf, np.inf, (n,), np.float32) for name, n in told.items()}
    if cameras:
        found |= {name: spaces.Box(0, 255, (SIDE, SIDE, 3), np.uint8) for name in CAMERAS}
    return spaces.Dict(found)


@dataclass
class Drive:
    """What lies between a command and the motors, and is part of an episode's state.

    Attributes:
        delay: control steps that a command takes. gap: the fingers' play, of 255: how far their motor turns before they turn back too.
        waiting: commands that are on their way. slack: how much of the play is used up.
    """

    delay: int = 0
    gap: float = 0.0
    waiting: tuple[np.ndarray, ...] = ()
    slack: float = 0.0

    def advance(self, model: Any, data: Any, arm: Arm, action: np.ndarray) -> None:
        """One control step of 1/20 s, after which everything that `data` has is of its end."""
        import mujoco

        self.waiting = (*self.waiting, np.array(action))
        if len(self.waiting) <= self.delay:
            now = np.array([0, 0, 0, 0, -1], np.float32)  # nothing has come yet
        else:
            now, *rest = self.waiting
            self.waiting = tuple(rest)
        data.ctrl[:] = arm.command(data, now)
        turned = data.ctrl[7] / RATE
        slack = float(np.clip(self.slack + turned, 0.0, self.gap))
        data.ctrl[7] *= 1 - (slack - self.slack) / turned
        self.slack = slack
        mujoco.mj_step(model, data, SUBSTEPS)
        mujoco.mj_forward(model, data)


class Stacking(gym.Env):
    """One task. The seed decides the objects where they are drawn, where they lie and where the gripper begins.

    Args:
        top, bottom: colours: which object goes on which. triplet: the objects; None: three training objects, other ones each episode.
        cameras: whether it is seen by two cameras, or told where the objects are.

    Attributes:
        model, data: mujoco.MjModel and MjData of the current episode. arm, contacts: of this model.
        triplet: its objects. drive: its motors.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": RATE}  # noqa: RUF012
    render_mode = "rgb_array"
    action_space = ACTION_SPACE

    def __init__(self, top: str, bottom: str, triplet: Triplet | None, cameras: bool):
        os.environ.setdefault("MUJOCO_GL", "egl")
        self.top, self.bottom, self._given, self._cameras = top, bottom, triplet, cameras
        self.observation_space = observation_space(cameras)
        self.triplet: Triplet | None = None
        self.model: Any = None
        self.data: Any = None
        self._renderers: dict[tuple[int, int], Any] = {}

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[dict[str, np.ndarray], dict]:
        super().reset(seed=seed)
        triplet = drawn_triplet(self.np_random) if self._given is None else self._given
        if triplet != self.triplet:
            self._load(triplet)
        self.drive = self._prepare()
        self._scatter()
        self._steps = 0
        return self._observe(), {"success": False}

    def step(self, action: np.ndarray) -> tuple[dict[str, np.ndarray], float, bool, bool, dict]:
        self.drive.advance(self.model, self.data, self.arm, action)
        self._steps += 1
        success = self.contacts.stacked(self.data, self.top, self.bottom)
        return self._observe(), self._reward(), False, self._steps >= STEPS, {"success": success}

    def _load(self, triplet: Triplet) -> None:
        import mujoco

        self.close()
        self.model, self.triplet = build(triplet).compile(), triplet
        self.data = mujoco.MjData(self.model)
        self.arm, self.contacts = Arm(self.model), Contacts(self.model, COLOURS)
        self._joints = np.array([self.model.joint(name).qposadr[0] for name in ARM_JOINTS])
        self._dofs = np.array([self.model.joint(name).dofadr[0] for name in ARM_JOINTS])
        self._finger = self.model.joint(FINGER_JOINT).qposadr[0]

    def _prepare(self) -> Drive:
        """What else the seed decides of the cell, before anything is put into it: here nothing."""
        return Drive()

    def _scatter(self) -> None:
        """Put the gripper and the objects somewhere, and wait until the objects lie still."""
        import mujoco

        model, data, random = self.model, self.data, self.np_random
        for _ in range(100):
            mujoco.mj_resetData(model, data)
            for i, colour in enumerate(COLOURS):
                data.joint(colour).qpos[:3] = 2.0, i, 1.0  # out of the way
            begins = random.uniform(*_BEGINS)
            self.arm.place(data, begins[:3], begins[3])
            if not all(self._drop(colour) for colour in COLOURS):
                continue
            for _ in range(40):
                mujoco.mj_step(model, data, SUBSTEPS)
                if max(np.abs(data.joint(colour).qvel).max() for colour in COLOURS) < 0.05:
                    break
            else:
                continue
            data.qvel[:], data.time = 0.0, 0.0
            mujoco.mj_forward(model, data)
            middles = np.array([data.body(colour).xpos[:2] for colour in COLOURS])
            if np.all((middles > _REACH[0]) & (middles < _REACH[1])) and not self.contacts.stacked(data, self.top, self.bottom):
                return
        raise OpenGatoError(f"objects {self.triplet} were dropped 100 times and never lay still within reach: take another seed")

    def _drop(self, colour: str) -> bool:
        """Whether a place and a turn was found at which this object overlaps with nothing; it is left there."""
        import mujoco

        for _ in range(20):
            turn = self.np_random.normal(size=4)
            self.data.joint(colour).qpos[:] = np.concatenate([self.np_random.uniform(*_DROPPED), turn / np.linalg.norm(turn)])
            mujoco.mj_forward(self.model, self.data)
            if not self.contacts.touches_anything(self.data, colour):
                return True
        return False

    def _observe(self) -> dict[str, np.ndarray]:
        data, pinch = self.data, self.data.site(PINCH)
        seen = {
            "arm_joints": data.qpos[self._joints],
            "arm_velocities": data.qvel[self._dofs],
            "gripper_position": [self._fingers()],
            "gripper_grasp": [self._grasps()],
            "pinch_pose": _pose(pinch.xpos, pinch.xmat),
            "wrist_pose": _pose(data.site(WRIST).xpos, data.site(WRIST).xmat),
        }
        if not self._cameras:
            for colour in COLOURS:
                body = data.body(colour)
                seen |= {f"{colour}_pose": _pose(body.xpos, body.xmat), f"{colour}_to_pinch": body.xpos - pinch.xpos}
        found = {name: np.array(value, np.float32) for name, value in seen.items()}
        if self._cameras:
            found |= {name: self._draw(f"basket/{name}", SIDE, SIDE) for name in CAMERAS}
        return found

    def _fingers(self) -> float:
        """0 open to 255 closed, whole numbers as the gripper tells them."""
        return float(np.clip(np.round(self.data.qpos[self._finger] / 0.8 * 255), 0, 255))

    def _grasps(self) -> bool:
        """Whether the fingers close and both touch something that is not the robot."""
        return bool(self.data.ctrl[7] > 0) and self.contacts.tips(self.data)

    def _reward(self) -> float:
        top, bottom = (self.data.body(colour).xpos for colour in (self.top, self.bottom))
        return shaped(Seen(self.arm.pinch(self.data), top, bottom, self._fingers(), self._grasps()))

    def _draw(self, camera: str, height: int, width: int) -> np.ndarray:
        import mujoco

        try:
            if (height, width) not in self._renderers:  # kept: making one takes longer than drawing
                self._renderers[height, width] = mujoco.Renderer(self.model, height, width)
            renderer = self._renderers[height, width]
            renderer.update_scene(self.data, camera, _looked_at())
            for flag in (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION):
                renderer.scene.flags[flag] = False
            return renderer.render().copy()
        except Exception as error:
            raise OpenGatoError(
                f"MuJoCo cannot render here ({error}): install a GL library (Debian: libegl1 libgl1-mesa-dri) and set MUJOCO_GL=egl"
            ) from error

    def render(self) -> np.ndarray:
        """The whole cell from its front, (240, 320, 3) uint8."""
        return self._draw("main", 240, 320)

    def close(self) -> None:
        for renderer in self._renderers.values():
            renderer.close()
        self._renderers = {}


def start(env: gym.Env) -> dict[str, np.ndarray]:
    """All that an episode's course depends on: which objects, and where everything is."""
    found: Any = env.unwrapped
    return {"state": np.concatenate([found.data.qpos, found.data.act]), "objects": np.frombuffer("".join(found.triplet).encode(), np.uint8)}


def _looked_at() -> Any:
    import mujoco

    option = mujoco.MjvOption()
    option.geomgroup[:] = (1, 1, 1, 0, 0, 0)
    return option


def _pose(position: np.ndarray, axes: np.ndarray) -> np.ndarray:
    import mujoco

    turn = np.empty(4)
    mujoco.mju_mat2Quat(turn, axes)
    return np.concatenate([position, turn if turn[0] >= 0 else -turn])
