"""Any robot of the LeRobot library as a `Robot`; the library is the user's own and is not imported here.

LeRobot's `Robot` speaks flat dicts of named numbers and pictures; an agent has arrays. The names, in LeRobot's order, are fixed when the
adapter is made and go with every recording, so that no joint ever takes another one's place. Its features and ours are named so that
"observation." and a field's path are the key of a LeRobot dataset:

    "shoulder_pan.pos", …: float   observation["state"], (n,) float32   observation.state
    "front": (480, 640, 3)         observation["images"]["front"]       observation.images.front
    "shoulder_pan.pos", …: float   action, (n,) float32                 action
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import numpy as np
from gymnasium import spaces
from PIL import Image

from opengato.errors import OpenGatoError, unknown
from opengato.tokens.spaces import text_space

Range = tuple[float, float]


class LeRobotRobot(Protocol):
    """What is used of `lerobot.robots.Robot`."""

    @property
    def observation_features(self) -> dict[str, Any]: ...

    @property
    def action_features(self) -> dict[str, Any]: ...

    @property
    def is_connected(self) -> bool: ...

    def connect(self, calibrate: bool = True) -> None: ...

    def get_observation(self) -> dict[str, Any]: ...

    def send_action(self, action: dict[str, Any]) -> dict[str, Any]: ...

    def disconnect(self) -> None: ...


class LeRobot:
    """A robot of the LeRobot library.

    Used as a context manager it connects the robot, where it is not connected yet, and in the end disconnects it. Most arms then go limp.

    Args:
        robot: an instance of a subclass of `lerobot.robots.Robot`.
        action_range: lowest and highest value of every action feature, in the robot's units, or by name. LeRobot does not publish it: it
            is (-100, 100) for its normalised joints, (0, 100) for its grippers, and degrees with `use_degrees`. It must be that of
            the demonstrations.
        rate: control ticks a second, that of the demonstrations.
        image_size: (height, width) of all pictures, those of the demonstrations; None: as the cameras have them.
        text: an instruction, which is then the observation's field "task"; None: there is no such field.
        leave_out: observation features that the agent does not see.
        calibrate: let `connect` calibrate the robot, where it needs it; it asks questions on the terminal.

    Attributes:
        ages: seconds since each camera took the picture that was observed last, of cameras that say when (LeRobot 0.4.4 does).
        names: "observation.state" and "action": the features' names, in the order of the arrays.
    """

    def __init__(
        self,
        robot: LeRobotRobot,
        action_range: Range | Mapping[str, Range],
        *,
        rate: float = 30.0,
        image_size: tuple[int, int] | None = None,
        text: str | None = None,
        leave_out: Iterable[str] = (),
        calibrate: bool = True,
    ):
        self.robot, self.rate, self._text, self._calibrate = robot, rate, text, calibrate
        seen, hidden = dict(robot.observation_features), set(leave_out)
        if missing := sorted(hidden - set(seen)):
            raise unknown("observation feature in leave_out", missing[0], seen)
        cameras = {}
        state = []
        for name, feature in seen.items():
            if name in hidden:
                continue
            if isinstance(feature, tuple) and len(feature) == 3 and feature[2] in (1, 3):
                cameras[name] = tuple(int(n) for n in feature)
            elif feature in (float, int, bool):
                state.append(name)
            else:
                raise OpenGatoError(f"observation feature {name!r} is {feature!r}, neither a number nor a picture: add it to leave_out")
        action = list(robot.action_features)
        if wrong := [name for name in action if robot.action_features[name] not in (float, int, bool)]:
            raise OpenGatoError(
                f"action feature {wrong[0]!r} is {robot.action_features[wrong[0]]!r}, not a number: there is no way to fill it"
            )
        self._cameras = cameras
        self.ages: dict[str, float] = {}
        self._joints = [name for name in action if not name.endswith(".vel")]
        self._can_hold = set(self._joints) <= set(seen)
        self._sent: dict[str, float] = {}
        self.names: dict[str, list[str]] = {"observation.state": state, "action": action}
        low, high = _ranges(action, action_range)
        self.action_space: spaces.Space = spaces.Box(low, high, dtype=np.float32)
        fields: dict[str, spaces.Space] = {}
        if state:
            fields["state"] = spaces.Box(-np.inf, np.inf, (len(state),), np.float32)
        if cameras:
            sizes = {name: (*(image_size or shape[:2]), shape[2]) for name, shape in cameras.items()}
            fields["images"] = spaces.Dict({name: spaces.Box(0, 255, size, np.uint8) for name, size in sizes.items()})
        if text is not None:
            fields["task"] = text_space()
        self.observation_space: spaces.Space = spaces.Dict(fields)

    def connect(self) -> None:
        """Connect the robot, where it is not."""
        if not self.robot.is_connected:
            self.robot.connect(calibrate=self._calibrate)

    def close(self) -> None:
        """Disconnect the robot, where it is connected. Most arms then go limp."""
        if self.robot.is_connected:
            self.robot.disconnect()

    def __enter__(self) -> LeRobot:
        self.connect()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def observe(self) -> dict[str, Any]:
        """{"state": float32 (n,), "images": {camera: uint8 (height, width, channels)}, "task": text}, those that there are."""
        given = self.robot.get_observation()
        observation: dict[str, Any] = {}
        if names := self.names["observation.state"]:
            observation["state"] = _vector(given, names, "get_observation()")
        if self._cameras:
            self.ages = self._ages()
            observation["images"] = {name: self._picture(given, name) for name in self._cameras}
        if self._text is not None:
            observation["task"] = self._text
        return observation

    def act(self, action: np.ndarray) -> np.ndarray | None:
        """Send float32 (n,); returns what the robot says that it sent to its motors, (n,)."""
        names = self.names["action"]
        command = {name: float(value) for name, value in zip(names, action, strict=True)}
        self._sent = {name: command[name] for name in self._joints}
        sent = self.robot.send_action(command)
        if sent is None:
            return None
        done = _vector(sent, names, "send_action()")
        self._sent = {name: value for name, value in zip(names, done.tolist()) if name in self._sent}
        return done

    def stop(self) -> None:
        """Stay where it is: joints are told their present position, velocities zero.

        Where the robot cannot be read, a dead camera is enough, joints are told the last position that was sent. A robot that has an action
        feature which is neither observed nor a velocity (".vel") is disconnected, and so is one that does not even take this command.
        """
        if not self.robot.is_connected:
            return
        if not self._can_hold:
            self.robot.disconnect()
            return
        try:
            present = self.robot.get_observation()
            rest = {name: float(present[name]) for name in self._joints}
            if not np.isfinite(list(rest.values())).all():
                raise ValueError(rest)
        except Exception:
            # Letting go would drop the arm, and what it was told last is where it is, or on its way to.
            rest = self._sent
        try:
            if rest or not self._joints:  # else it was never told to move
                self.robot.send_action({name: rest.get(name, 0.0) for name in self.names["action"]})
        except BaseException:
            self.robot.disconnect()
            raise

    def _ages(self) -> dict[str, float]:
        made = getattr(self.robot, "cameras", {})
        taken = {name: getattr(made.get(name), "latest_timestamp", None) for name in self._cameras}
        now = time.perf_counter()  # the clock of LeRobot's cameras
        return {name: now - seconds for name, seconds in taken.items() if seconds is not None}

    def _picture(self, given: Mapping[str, Any], name: str) -> np.ndarray:
        if name not in given:
            raise OpenGatoError(f"get_observation() has no {name!r}, which observation_features promised: check the camera")
        picture = np.asarray(given[name])
        if picture.dtype != np.uint8 or picture.shape != self._cameras[name]:
            raise OpenGatoError(
                f"camera {name!r} gave {picture.dtype} of shape {picture.shape}, promised was uint8 of {self._cameras[name]}: "
                "check its configuration"
            )
        height, width, channels = self.observation_space["images"][name].shape  # type: ignore[index]
        if picture.shape[:2] == (height, width):
            return picture
        image = Image.fromarray(picture if channels == 3 else picture[..., 0])
        return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR)).reshape(height, width, channels)


def _vector(given: Mapping[str, Any], names: list[str], source: str) -> np.ndarray:
    if missing := [name for name in names if name not in given]:
        raise OpenGatoError(f"{source} has no {missing[0]!r}, which the robot's features promised: it has {sorted(given)}")
    return np.array([float(given[name]) for name in names], np.float32)


def _ranges(names: list[str], ranges: Range | Mapping[str, Range]) -> tuple[np.ndarray, np.ndarray]:
    if isinstance(ranges, Mapping):
        if missing := [name for name in names if name not in ranges]:
            raise OpenGatoError(f"action_range lacks {missing[0]!r}: give every action feature its lowest and highest value")
        if extra := sorted(set(ranges) - set(names)):
            raise unknown("action feature in action_range", extra[0], names)
        pairs = [ranges[name] for name in names]
    else:
        pairs = [ranges] * len(names)
    for name, (low, high) in zip(names, pairs):
        if not (np.isfinite([low, high]).all() and low < high):
            raise OpenGatoError(f"action_range of {name!r} is ({low}, {high}): give finite numbers, the lower one first")
    return np.array([low for low, _ in pairs], np.float32), np.array([high for _, high in pairs], np.float32)
