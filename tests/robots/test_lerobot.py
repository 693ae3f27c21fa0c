"""The adapter with a robot of LeRobot's own base class where the library is installed, else with one of its published interface.

pip install lerobot && pytest tests/robots/test_lerobot.py      # in an environment of its own: it pins other versions of torch
"""

import abc
import time
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from gymnasium import spaces
from PIL import Image
from robot_helpers import FakeClock, thinking

from opengato.episode import leaves
from opengato.errors import OpenGatoError
from opengato.robots import Recorder, Robot, Stamped, Stopped, run
from opengato.robots.lerobot import LeRobot

try:
    from lerobot.robots.config import RobotConfig
    from lerobot.robots.robot import Robot as Base
except ImportError:

    @dataclass(kw_only=True)
    class RobotConfig:
        id: str | None = None
        calibration_dir: Path | None = None

    class Base(abc.ABC):
        """The abstract methods and properties of `lerobot.robots.Robot`, versions 0.3 and 0.4."""

        def __init__(self, config):
            self.robot_type, self.id = self.name, config.id

        observation_features = action_features = is_connected = is_calibrated = property(abc.abstractmethod(lambda self: None))

        @abc.abstractmethod
        def connect(self, calibrate=True): ...

        @abc.abstractmethod
        def calibrate(self): ...

        @abc.abstractmethod
        def configure(self): ...

        @abc.abstractmethod
        def get_observation(self): ...

        @abc.abstractmethod
        def send_action(self, action): ...

        @abc.abstractmethod
        def disconnect(self): ...


JOINTS = ["shoulder_pan", "elbow_flex", "gripper"]  # not in the order of the alphabet


@dataclass(kw_only=True)
class ArmConfig(RobotConfig):
    max_relative_target: float = 5.0


class Arm(Base):
    """A follower arm with position control: as LeRobot's own, it goes no farther than `max_relative_target` at once, and says where."""

    config_class, name = ArmConfig, "simulated_arm"

    def __init__(self, config):
        super().__init__(config)
        self.config, self._connected, self.log = config, False, []
        self.joints = {joint: 10.0 * i for i, joint in enumerate(JOINTS)}
        self.broken_camera = self.broken_bus = False

    @property
    def observation_features(self):
        return {**self.action_features, "front": (48, 64, 3), "wrist": (32, 32, 3)}

    @property
    def action_features(self):
        return {f"{joint}.pos": float for joint in JOINTS}

    @property
    def is_connected(self):
        return self._connected

    @property
    def is_calibrated(self):
        return True

    def connect(self, calibrate=True):
        assert not self._connected
        self._connected = True
        self.log.append(("connect", calibrate))
        self.configure()

    def calibrate(self):
        self.log.append("calibrate")

    def configure(self):
        self.log.append("configure")

    def get_observation(self):
        assert self._connected
        if self.broken_camera:
            raise TimeoutError("no frame")
        # In another order than promised: names count, not places.
        shade = int(self.joints["shoulder_pan"]) % 256
        front = np.full((48, 64, 3), shade, np.uint8)
        front[:24] = 0
        return {"wrist": np.full((32, 32, 3), 7, np.uint8), "front": front} | {f"{j}.pos": v for j, v in reversed(self.joints.items())}

    def send_action(self, action):
        assert self._connected and set(action) == set(self.action_features) and all(type(v) is float for v in action.values())
        if self.broken_bus:
            raise ConnectionError("no bus")
        far = self.config.max_relative_target
        self.joints = {j: float(np.clip(action[f"{j}.pos"], v - far, v + far)) for j, v in self.joints.items()}
        self.log.append(dict(action))
        return {f"{j}.pos": v for j, v in reversed(self.joints.items())}

    def disconnect(self):
        assert self._connected
        self._connected = False
        self.log.append("disconnect")


class Aims:
    """Wants all joints somewhere; keeps what it saw."""

    def __init__(self, *aims):
        self.aims, self.seen = list(aims), []

    def reset(self, task):
        pass

    def act(self, observation):
        self.seen.append(observation)
        return np.array(self.aims[min(len(self.seen), len(self.aims)) - 1], np.float32)


@pytest.fixture
def arm(tmp_path):
    return Arm(ArmConfig(id="left", calibration_dir=tmp_path))


def drive(robot, agent, ticks, **settings):
    clock = FakeClock()
    return run(robot, agent, "lerobot/pick", seconds=ticks / robot.rate, clock=clock, thinker=thinking(clock, lambda n: 0.0), **settings)


RANGES = {"gripper.pos": (0.0, 100.0), "shoulder_pan.pos": (-100.0, 100.0), "elbow_flex.pos": (-90.0, 90.0)}


def test_its_spaces_are_named_as_in_a_lerobot_dataset_and_in_the_robots_order(arm):
    robot = LeRobot(arm, RANGES, rate=30)
    assert isinstance(robot, Robot) and not arm.log  # the features are known without a connection
    assert robot.action_space == spaces.Box(np.float32([-100, -90, 0]), np.float32([100, 90, 100]))
    assert robot.observation_space == spaces.Dict(
        state=spaces.Box(-np.inf, np.inf, (3,), np.float32),
        images=spaces.Dict(front=spaces.Box(0, 255, (48, 64, 3), np.uint8), wrist=spaces.Box(0, 255, (32, 32, 3), np.uint8)),
    )
    assert robot.names == {k: ["shoulder_pan.pos", "elbow_flex.pos", "gripper.pos"] for k in ("observation.state", "action")}
    with robot:
        found = dict(leaves(robot.observe()))
    assert {f"observation.{path}" for path in found} == {"observation.state", "observation.images.front", "observation.images.wrist"}
    np.testing.assert_array_equal(found["state"], [0, 10, 20])
    assert arm.log == [("connect", True), "configure", "disconnect"]


def test_its_dataset_features_are_lerobots_own(arm):
    """What LeRobot calls the fields of a dataset of this robot."""
    utils = pytest.importorskip("lerobot.datasets.utils")
    robot = LeRobot(arm, RANGES)
    theirs = {
        **utils.hw_to_dataset_features(arm.observation_features, "observation"),
        **utils.hw_to_dataset_features(arm.action_features, "action"),
    }
    ours = {"action": robot.action_space}
    for group, space in robot.observation_space.spaces.items():
        nested = {f"{group}.{key}": sub for key, sub in space.spaces.items()} if isinstance(space, spaces.Dict) else {group: space}
        ours |= {f"observation.{path}": sub for path, sub in nested.items()}
    assert {key: tuple(feature["shape"]) for key, feature in theirs.items()} == {key: space.shape for key, space in ours.items()}
    assert {key: feature["names"] for key, feature in theirs.items() if key in robot.names} == robot.names


def test_what_was_sent_is_recorded_and_the_arm_stays_where_it_is(arm, tmp_path):
    recorder = Recorder(tmp_path / "datasets")
    agent = Aims((40, 0, 20))
    with LeRobot(arm, RANGES, image_size=(24, 32)) as robot:
        report = drive(robot, agent, 4, record=recorder)
        episode, observations = recorder.episodes[0]
        # No more than 5 at once, as LeRobot's limit has it; elbow_flex arrives after two.
        sent = [[5, 5, 20], [10, 0, 20], [15, 0, 20], [20, 0, 20]]
        np.testing.assert_array_equal(episode.actions, sent)
        np.testing.assert_array_equal(observations["state"], [[0, 10, 20], *sent])
        assert report.ended == "time" and arm.is_connected
        assert [e for e in arm.log if isinstance(e, dict)][:4] == [
            {"shoulder_pan.pos": 40.0, "elbow_flex.pos": 0.0, "gripper.pos": 20.0}
        ] * 4
        assert arm.log[-1] == {"shoulder_pan.pos": 20.0, "elbow_flex.pos": 0.0, "gripper.pos": 20.0}  # its last pose, not its aim
    picture = episode.observations["images"]["front"]
    assert picture.shape == (4, 24, 32, 3) and agent.seen[2]["images"]["front"].shape == (24, 32, 3)
    full = np.full((48, 64, 3), 10, np.uint8)
    full[:24] = 0
    np.testing.assert_array_equal(picture[2], np.asarray(Image.fromarray(full).resize((32, 24), Image.Resampling.BILINEAR)))
    assert (picture[2][:8] == 0).all() and (picture[2][16:] == 10).all()

    minari = pytest.importorskip("minari")
    folder = recorder.write()
    dataset = minari.MinariDataset(folder / "data")
    back = dataset[0]
    np.testing.assert_array_equal(back.actions, sent)
    np.testing.assert_array_equal(back.observations["images"]["front"][:-1], picture)
    assert dataset.storage.metadata["opengato_names"] == robot.names


def test_a_dead_camera_does_not_let_go_of_the_arm(arm):
    class Blinding(Aims):
        def act(self, observation):
            arm.broken_camera = len(self.seen) == 1
            return super().act(observation)

    with LeRobot(arm, (-100.0, 100.0)) as robot, pytest.raises(Stopped, match=r"observe\(\) failed: TimeoutError: no frame"):
        try:
            drive(robot, Blinding((40, 0, 20)), 9)
        finally:
            # It holds what was sent last, as it was limited.
            assert arm.is_connected and arm.log[-1] == {"shoulder_pan.pos": 10.0, "elbow_flex.pos": 0.0, "gripper.pos": 20.0}


def test_pictures_are_as_old_as_the_cameras_say(arm):
    """LeRobot's cameras keep the time (`time.perf_counter`) at which they took their last picture; a wrist camera here does not."""
    arm.cameras = {"front": SimpleNamespace(latest_timestamp=time.perf_counter() - 0.3), "wrist": SimpleNamespace()}
    with LeRobot(arm, (-100.0, 100.0)) as robot:
        assert robot.ages == {} and isinstance(robot, Stamped)
        robot.observe()
        assert set(robot.ages) == {"front"} and robot.ages["front"] >= 0.3
        arm.cameras["front"].latest_timestamp -= 100
        with pytest.raises(Stopped, match=r"what 'front' gives is 10.* s old, more than stale_after, 0\.5 s"):
            drive(robot, Aims((0, 0, 0)), 9)


def test_an_arm_that_was_never_told_to_move_is_not_told_so_to_stop(arm):
    arm.broken_camera = True
    with LeRobot(arm, (-100.0, 100.0)) as robot, pytest.raises(Stopped, match="no frame"):
        drive(robot, Aims((0, 0, 0)), 9)
    assert not [e for e in arm.log if isinstance(e, dict)]


def test_a_dead_bus_is_reported_and_the_robot_disconnected(arm):
    class Breaking(Aims):
        def act(self, observation):
            arm.broken_bus = len(self.seen) == 2
            return super().act(observation)

    with LeRobot(arm, (-100.0, 100.0)) as robot:
        with pytest.raises(Stopped, match=r"act\(\) failed: .*no bus; the robot's stop\(\) failed.*no bus"):
            drive(robot, Breaking((40, 0, 20)), 9)
        assert arm.log.count("disconnect") == 1
    assert arm.log.count("disconnect") == 1


class Base3(Arm):
    """Wheels beside the arm: velocities, of which none is observed."""

    @property
    def action_features(self):
        return {**{f"{joint}.pos": float for joint in JOINTS}, "x.vel": float}

    @property
    def observation_features(self):
        return {f"{joint}.pos": float for joint in JOINTS}

    def send_action(self, action):
        sent = super().send_action(action)
        return sent | {"x.vel": action["x.vel"]}


def test_wheels_stop(tmp_path):
    body = Base3(ArmConfig(calibration_dir=tmp_path))
    with LeRobot(body, (-100.0, 100.0)) as robot:
        drive(robot, Aims((5, 10, 20, 0.5)), 2)
        sent = [e for e in body.log if isinstance(e, dict)]
        assert [e["x.vel"] for e in sent] == [0.5, 0.5, 0.0] and sent[-1]["shoulder_pan.pos"] == 5.0


def test_what_cannot_hold_still_is_disconnected(tmp_path):
    class Torques(Arm):
        @property
        def action_features(self):
            return {"motor.torque": float}

        @property
        def observation_features(self):
            return {f"{joint}.pos": float for joint in JOINTS}

        def send_action(self, action):
            return action

    body = Torques(ArmConfig(calibration_dir=tmp_path))
    with LeRobot(body, (-1.0, 1.0)) as robot:
        drive(robot, Aims((0.5,)), 2)
        assert not body.is_connected


def test_an_instruction_is_a_field_and_features_can_be_left_out(arm):
    with LeRobot(arm, (-100.0, 100.0), text="pick the cube", leave_out=["front", "gripper.pos"]) as robot:
        observation = robot.observe()
        assert observation["task"] == "pick the cube" and list(observation["images"]) == ["wrist"]
        assert robot.names["observation.state"] == ["shoulder_pan.pos", "elbow_flex.pos"] and robot.action_space.shape == (3,)
        recorder = Recorder()
        drive(robot, Aims((0, 0, 0)), 2, record=recorder)
        assert recorder.episodes[0][0].observations["task"] == ["pick the cube"] * 2


def test_errors_name_the_feature(arm, tmp_path):
    class Depth(Arm):
        @property
        def observation_features(self):
            return {"depth": (48, 64)}

    class Forgets(Arm):
        def send_action(self, action):
            return {"gripper.pos": 0.0}

    for make, sentence in (
        (lambda: LeRobot(arm, {"gripper.pos": (0, 1)}), "action_range lacks 'shoulder_pan.pos'"),
        (lambda: LeRobot(arm, RANGES | {"griper.pos": (0, 1)}), "action feature in action_range 'griper.pos': did you mean 'gripper.pos'"),
        (lambda: LeRobot(arm, (1.0, 1.0)), r"action_range of 'shoulder_pan.pos' is \(1.0, 1.0\)"),
        (lambda: LeRobot(arm, (-1.0, np.inf)), "give finite numbers"),
        (lambda: LeRobot(arm, (-1.0, 1.0), leave_out=["fron"]), "'fron': did you mean 'front'"),
        (lambda: LeRobot(Depth(ArmConfig(calibration_dir=tmp_path)), (-1.0, 1.0)), "'depth' is .*: add it to leave_out"),
    ):
        with pytest.raises(OpenGatoError, match=sentence):
            make()
    with LeRobot(Forgets(ArmConfig(calibration_dir=tmp_path)), (-100.0, 100.0)) as robot:
        with pytest.raises(Stopped, match=r"send_action\(\) has no 'shoulder_pan.pos'"):
            drive(robot, Aims((0, 0, 0)), 2)
