"""LeRobot's batches as observations, actions and episodes; LeRobot itself is not needed."""

import numpy as np
import pytest
import torch
from gymnasium import spaces

from opengato.errors import OpenGatoError
from opengato.policy.lerobot import LeRobotBatches
from opengato.tokens.layout import Layout
from opengato.tokens.spaces import text_space

SEEN = spaces.Dict(
    state=spaces.Box(-9, 9, (3,), np.float32),
    gripper=spaces.Discrete(4),
    images=spaces.Dict(front=spaces.Box(0, 255, (16, 32, 3), np.uint8)),
    task=text_space(),
)
DONE = spaces.Box(-1, 1, (2,), np.float32)


def observed(rng):
    return {
        "state": rng.uniform(-9, 9, 3).astype(np.float32),
        "gripper": int(rng.integers(4)),
        "images": {"front": rng.integers(0, 256, (16, 32, 3), np.uint8)},
        "task": f"pick {rng.integers(9)}",
    }


def as_lerobot(observations):
    """As `prepare_observation_for_inference` and LeRobot's datasets make it."""
    pictures = torch.stack([torch.from_numpy(o["images"]["front"]).type(torch.float32) / 255 for o in observations])
    return {
        "observation.state": torch.stack([torch.from_numpy(o["state"]) for o in observations]),
        "observation.gripper": torch.tensor([[float(o["gripper"])] for o in observations]),
        "observation.images.front": pictures.permute(0, 3, 1, 2).contiguous(),
        "task": [o["task"] for o in observations],
        "robot_type": "",
    }


def same(found, wanted):
    np.testing.assert_array_equal(found["state"], wanted["state"])
    np.testing.assert_array_equal(found["images"]["front"], wanted["images"]["front"])
    assert found["images"]["front"].dtype == np.uint8 and found["state"].dtype == np.float32
    assert (int(found["gripper"]), found["task"]) == (wanted["gripper"], wanted["task"])


def test_observations_are_what_they_were():
    """Every one of a pixel's 256 values comes back from LeRobot's float32."""
    rng = np.random.default_rng(0)
    observations = [observed(rng) for _ in range(3)]
    batches = LeRobotBatches(Layout(SEEN, DONE))
    for found, wanted in zip(batches.observations(as_lerobot(observations)), observations, strict=True):
        same(found, wanted)
    assert batches.pictures == {"observation.images.front": (3, 16, 32)} and batches.action == (2,)
    assert batches.numbers == {"observation.gripper": (1,), "observation.state": (3,)} and batches.texts == ["task"]
    raw = as_lerobot(observations) | {
        "observation.images.front": torch.stack([torch.from_numpy(o["images"]["front"]) for o in observations]).permute(0, 3, 1, 2),
        "task": "one for all",
    }
    assert [o["task"] for o in batches.observations(raw)] == ["one for all"] * 3
    np.testing.assert_array_equal(batches.observations(raw)[2]["images"]["front"], observations[2]["images"]["front"])


def test_spaces_that_are_one_field():
    state = LeRobotBatches(Layout(spaces.Box(-1, 1, (4,), np.float64), spaces.Discrete(5, start=2)))
    (found,) = state.observations({"observation.state": torch.arange(4.0)[None] / 4})
    np.testing.assert_array_equal(found, np.arange(4) / 4)
    action = state.actions([3])
    assert action.shape == (1, 1) and action.item() == 3
    picture = LeRobotBatches(Layout(spaces.Box(0, 255, (16, 16, 1), np.uint8), spaces.MultiDiscrete([3, 3])))
    assert picture.observations({"observation.image": torch.ones(2, 1, 16, 16)})[1].max() == 255
    resized = torch.full((1, 1, 16, 16), 100.6 / 255).index_fill(2, torch.tensor([0]), 1.02)  # a bicubic filter overshoots
    (found,) = picture.observations({"observation.image": resized})
    assert (found[0] == 255).all() and (found[1:] == 101).all()
    assert picture.actions([np.array([0, 2]), np.array([1, 1])]).tolist() == [[0, 2], [1, 1]]


def test_windows_are_episodes_without_their_padding():
    rng = np.random.default_rng(1)
    rows = [[observed(rng) | {"task": f"row {row}"} for _ in range(4)] for row in range(2)]
    parts = [as_lerobot(row) for row in rows]
    batch = {name: torch.stack([part[name] for part in parts]) for name in parts[0] if name.startswith("observation.")}
    batch |= {"task": ["row 0", "row 1"], "action": torch.rand(2, 4, 2)}
    batch["action_is_pad"] = torch.tensor([[False] * 4, [False, False, True, True]])
    first, second = LeRobotBatches(Layout(SEEN, DONE)).episodes(batch, "lerobot/pick")
    assert (len(first), len(second)) == (4, 2) == tuple(len(e.observations["state"]) for e in (first, second))
    assert first.task == "lerobot/pick"
    np.testing.assert_array_equal(second.actions, batch["action"][1, :2])
    for t, wanted in enumerate(rows[1][:2]):
        same(
            {"images": {"front": second.observations["images"]["front"][t]}}
            | {name: second.observations[name][t] for name in ("state", "gripper", "task")},
            wanted,
        )


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"observation.state": None}, r"no 'observation.state'.*it has observation.gripper"),
        ({"observation.state": torch.zeros(1, 4)}, r"'observation.state' of the batch has shape \(1, 4\).*\(1, 3\)"),
        ({"observation.images.front": torch.zeros(1, 3, 32, 32)}, r"shape \(1, 3, 32, 32\).*let the camera"),
        ({"observation.images.front": torch.full((1, 3, 16, 32), -1.5)}, "not normalised"),
        ({"observation.images.front": torch.full((1, 3, 16, 32), torch.nan)}, "from nan"),
        ({"task": None}, "no 'task'"),
        ({"task": ["a", "b"]}, "'task' of the batch is no text, nor one for each of its 1 rows"),
    ],
)
def test_what_does_not_fit_is_named(change, says):
    batch = {name: value for name, value in (as_lerobot([observed(np.random.default_rng(0))]) | change).items() if value is not None}
    with pytest.raises(OpenGatoError, match=says):
        LeRobotBatches(Layout(SEEN, DONE)).observations(batch)


@pytest.mark.parametrize("done", [text_space(), spaces.Dict(a=DONE, b=DONE), spaces.Box(-1, 1, (2, 2), np.float32)])
def test_actions_that_are_no_vector(done):
    with pytest.raises(OpenGatoError, match="one vector"):
        LeRobotBatches(Layout(SEEN, done))
