"""What the formats' own libraries wrote is read as they read it: every number, picture and word (see scripts/fixtures)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from opengato.datasets.open import find_dataset
from opengato.datasets.recognise import format_of

HERE = Path(__file__).parent / "official"
LENGTHS = [6, 9, 4]


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENGATO_CACHE", str(tmp_path / "cache"))


def expected(folder: Path) -> dict[str, np.ndarray]:
    with np.load(folder / "expected.npz") as file:
        return dict(file)


def opened(name: str, path: Path):
    """A dataset whose format is found out, and what its library read of it."""
    assert format_of(path) == name
    dataset = find_dataset(str(path))
    assert dataset.name.startswith(f"{name}:")
    return dataset, expected(path if path.is_dir() else path.parent)


@pytest.mark.parametrize("version", ["lerobot_v3", "lerobot_v21"])
def test_lerobot(version):
    pytest.importorskip("av")
    dataset, theirs = opened("lerobot", HERE / version)
    assert dataset.count() == 3 and not dataset.source.unused
    done = 0
    for number, episode in enumerate(dataset.episodes()):
        rows = slice(done, done + LENGTHS[number])
        assert len(episode) == LENGTHS[number] and (theirs["episode_index"][rows] == number).all()
        seen = episode.observations
        np.testing.assert_array_equal(seen["state"], theirs["observation.state"][rows])
        np.testing.assert_array_equal(episode.actions, theirs["action"][rows])
        np.testing.assert_array_equal(episode.rewards, theirs["next.reward"][rows])
        assert seen["task"] == list(theirs["task"][rows])
        np.testing.assert_array_equal(np.asarray(seen["images"]["wrist"]), theirs["observation.images.wrist"][rows])
        # Decoders of one video differ by rounding; the block that tells timesteps apart is 160 levels brighter than what it moves over.
        apart = np.abs(np.asarray(seen["images"]["front"]).astype(int) - theirs["observation.images.front"][rows])
        assert apart.max() <= 2
        assert episode.success == bool(theirs["next.success"][rows].any()) == (number != 1)
        assert episode.info["terminated"] == bool(theirs["next.done"][rows][-1])
        done += LENGTHS[number]
    assert done == len(theirs["index"])
    assert dataset.action_space.contains(theirs["action"][0])


def test_a_clip_is_taken_in_any_order():
    """A slice, a step back and a jump ahead find the frames that one pass finds."""
    pytest.importorskip("av")
    dataset, _ = opened("lerobot", HERE / "lerobot_v3")
    clips = [episode.observations["images"]["front"] for episode in dataset.episodes()]
    whole = [np.asarray(clip) for clip in clips]
    for number in (2, 0, 1, 0):
        np.testing.assert_array_equal(np.asarray(clips[number]), whole[number])
    np.testing.assert_array_equal(np.asarray(clips[1][3:7]), whole[1][3:7])
    np.testing.assert_array_equal(np.asarray(clips[1][::4]), whole[1][::4])
    assert len(clips[1][3:7]) == 4 and clips[1].shape == whole[1].shape


@pytest.mark.parametrize("kind", ["tfrecord", "array_record"])
def test_open_x_embodiment(kind):
    if kind == "array_record":
        pytest.importorskip("array_record")
    dataset, theirs = opened("rlds", HERE / "rlds" / kind / "oxe_fixture" / "0.1.0")
    assert dataset.count() == 3
    assert set(dataset.source.unused) == {"steps/language_embedding"}
    for number, episode in enumerate(dataset.episodes()):
        steps = {key.partition("/")[2]: value for key, value in theirs.items() if key.startswith(f"{number}/")}
        assert len(episode) == len(steps["is_last"])  # an action that is not zero was done: the last step is one
        seen = episode.observations
        np.testing.assert_array_equal(np.asarray(seen["wrist"]), steps["observation/wrist"])
        # TensorFlow's fast decoder of JPEG rounds otherwise; without TensorFlow TFDS has the one that we have.
        apart = np.abs(np.asarray(seen["image"]).astype(int) - steps["observation/image"])
        assert (apart.max() <= 20 and apart.mean() < 1.5) if kind == "tfrecord" else not apart.any()
        np.testing.assert_array_equal(seen["state"], steps["observation/state"].astype(np.float32))
        for key in ("gripper", "contact", "depth"):
            np.testing.assert_array_equal(seen[key], steps[f"observation/{key}"])
        assert seen["language_instruction"] == list(steps["language_instruction"])
        np.testing.assert_array_equal(episode.actions["world_vector"], steps["action/world_vector"])
        np.testing.assert_array_equal(episode.actions["open"], steps["action/open"])
        np.testing.assert_array_equal(episode.rewards, steps["reward"])
        assert episode.info["terminated"]
    assert dataset.action_space["open"].low.tolist() == [-1]
    held_out = find_dataset(f"rlds:{HERE / 'rlds' / kind / 'oxe_fixture' / '0.1.0'},val")
    assert held_out.count() == 2


def test_rlds_leaves_out_what_was_only_seen():
    dataset, theirs = opened("rlds", HERE / "rlds" / "tfrecord" / "plain_fixture" / "1.0.0")
    ended = []
    for number, episode in enumerate(dataset.episodes()):
        steps = {key.partition("/")[2]: value for key, value in theirs.items() if key.startswith(f"{number}/")}
        length = len(steps["is_last"]) - 1
        assert len(episode) == length
        np.testing.assert_array_equal(episode.observations, steps["observation"][:length])
        np.testing.assert_array_equal(episode.actions, steps["action"][:length])
        np.testing.assert_array_equal(episode.rewards, steps["reward"][:length])
        assert episode.info["terminated"] == bool(steps["is_terminal"][-1])
        ended.append(length)
    assert sorted(ended) == sorted(LENGTHS)


@pytest.mark.parametrize("name", ["atari-pong", "babyai-go-to", "metaworld-reach"])
def test_jat(name):
    dataset, theirs = opened("jat", HERE / "jat" / name)
    assert dataset.task == f"jat/{name}" and dataset.count() == 3  # two files, and not the test split
    fields = {"continuous": "continuous_observations", "discrete": "discrete_observations", "text": "text_observations"}
    for number, episode in enumerate(dataset.episodes()):
        assert len(episode) == LENGTHS[number]
        row = {key.partition("/")[2]: value for key, value in theirs.items() if key.startswith(f"{number}/")}
        for field, leaf in episode.observations.items():
            if field == "image":
                assert leaf.shape[1:] == (16, 24, 1)
                np.testing.assert_array_equal(np.asarray(leaf), row["image_observations"][..., 3:])
                np.testing.assert_array_equal(np.asarray(leaf[1:3]), row["image_observations"][1:3, ..., 3:])
            elif field == "text":
                assert leaf == list(row["text_observations"])
            else:
                np.testing.assert_array_equal(leaf, row[fields[field]].astype(leaf.dtype))
        actions = row["discrete_actions"] if "discrete_actions" in row else row["continuous_actions"]
        np.testing.assert_array_equal(episode.actions, actions.astype(episode.actions.dtype))
        np.testing.assert_array_equal(episode.rewards, row["rewards"])
    again = [len(episode) for episode in dataset.episodes(1)]
    assert again == LENGTHS[1:]


def test_robomimic():
    dataset, theirs = opened("robomimic", HERE / "robomimic" / "lift.hdf5")
    assert dataset.task == "robomimic/Lift" and set(dataset.source.unused) == {"obs/agentview_depth"}
    demos = ["demo_0", "demo_2", "demo_10"]
    for demo, episode in zip(demos, dataset.episodes(), strict=True):
        assert len(episode) == len(theirs[f"{demo}/actions"])
        for key, leaf in episode.observations.items():
            np.testing.assert_allclose(np.asarray(leaf), theirs[f"{demo}/{key}"], rtol=1e-6)
        np.testing.assert_allclose(episode.actions, theirs[f"{demo}/actions"], rtol=1e-6)
        np.testing.assert_array_equal(episode.rewards, theirs[f"{demo}/rewards"])


def test_d4rl():
    dataset, theirs = opened("d4rl", HERE / "d4rl" / "walker-medium-v2.hdf5")
    assert dataset.count() == 3 and "the last 2 timesteps" in dataset.source.unused
    for number, episode in enumerate(dataset.episodes()):
        for mine, key in ((episode.observations, "observations"), (episode.actions, "actions"), (episode.rewards, "rewards")):
            np.testing.assert_array_equal(mine, theirs[f"{number}/{key}"])
        assert episode.info["terminated"] == bool(theirs[f"{number}/terminals"][-1]) == (number != 1)
