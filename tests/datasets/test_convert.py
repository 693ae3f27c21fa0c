"""What is converted is read back as it was, by us and by Minari's own library; LeRobot's does in `scripts/fixtures/load_converted.py`."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from gymnasium import spaces

from opengato.cli import main
from opengato.datasets.convert import to_lerobot, to_minari
from opengato.datasets.dataset import Episodes
from opengato.datasets.open import find_dataset
from opengato.episode import Episode, leaves
from opengato.errors import OpenGatoError
from opengato.tokens.spaces import text_space, to_json

OFFICIAL = Path(__file__).parent / "official"
SEEN = spaces.Dict(
    front=spaces.Box(0, 255, (32, 48, 3), np.uint8),
    grey=spaces.Box(0, 255, (16, 16, 1), np.uint8),
    arm=spaces.Tuple((spaces.Box(-3, 3, (2, 2), np.float32), spaces.Discrete(4, start=2))),
    switches=spaces.MultiBinary(3),
    mission=text_space(),
    note=text_space(),
)
DONE = spaces.Dict(turn=spaces.Box(-1, 1, (2,), np.float32), press=spaces.Discrete(3))


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENGATO_CACHE", str(tmp_path / "cache"))


def source(seen=SEEN, done=DONE):
    made = []
    for number, length in enumerate((5, 3)):
        rng = np.random.default_rng(number)
        observations = {
            # A slope that moves: noise is what no video keeps.
            "front": (
                np.add.outer(np.arange(32), 2 * np.arange(48))[None, :, :, None] + 5 * np.arange(length)[:, None, None, None] + np.zeros(3)
            ).astype(np.uint8),
            "grey": rng.integers(0, 256, (length, 16, 16, 1), np.uint8),
            "arm": (rng.uniform(-3, 3, (length, 2, 2)).astype(np.float32), rng.integers(2, 6, length)),
            "switches": rng.integers(0, 2, (length, 3), np.int8),
            "mission": ["go left", "go right"][number : number + 1] * length,
            "note": [f"step {t}" for t in range(length)],
        }
        actions = {"turn": rng.uniform(-1, 1, (length, 2)).astype(np.float32), "press": rng.integers(0, 3, length)}
        made.append(Episode(observations, actions, np.arange(length, dtype=np.float32), "desk/tidy", "ann", bool(number), 7 + number))
    return Episodes("desk/tidy", seen, done, made, "f")


def same(found, wanted, tolerance=0):
    for mine, theirs in ((found.observations, wanted.observations), (found.actions, wanted.actions)):
        assert dict(leaves(mine)).keys() == dict(leaves(theirs)).keys()
        for (path, leaf), (_, other) in zip(leaves(mine), leaves(theirs)):
            if isinstance(other, list):
                assert leaf == other, path
            else:
                limit = tolerance if path == "front" else 0
                assert np.abs(np.asarray(leaf).astype(float) - np.asarray(other)).max() <= limit, path
    np.testing.assert_array_equal(found.rewards, wanted.rewards)
    assert (found.source, found.success, found.seed) == (wanted.source, wanted.success, wanted.seed)


@pytest.mark.parametrize("video", [False, True])
def test_lerobot_and_back(tmp_path, video):
    """Nested fields, whole numbers, two texts, grey pictures; a video keeps its pictures nearly."""
    if video:
        pytest.importorskip("av")
    data = source()
    assert to_lerobot(data, tmp_path / "out", rate=12.5, video=video) == 2
    found = find_dataset(str(tmp_path / "out"))
    assert found.task == "desk/tidy" and found.source.rate == 12.5
    assert to_json(found.observation_space) == to_json(SEEN) and to_json(found.action_space) == to_json(DONE)
    for mine, theirs in zip(found.episodes(), data.in_order, strict=True):
        same(mine, theirs, tolerance=12 if video else 0)
    features = json.loads((tmp_path / "out/meta/info.json").read_text())["features"]
    assert features["observation.front"]["dtype"] == ("video" if video else "image") and features["observation.grey"]["dtype"] == "image"
    assert "observation.mission" not in features and features["observation.note"]["dtype"] == "string"  # the mission is the task
    # Without what stands beside LeRobot's files it is read as anybody's.
    (tmp_path / "out/meta/opengato.json").unlink()
    others = find_dataset(str(tmp_path / "out"))
    assert others.task == "lerobot/out"
    assert next(others.episodes()).observations["task"] == ["go left"] * 5
    assert others.action_space["press"].dtype == np.int64


def test_names_with_dots_in_them(tmp_path):
    """As dm-manipulation's have; each is a name and no path, also where another begins alike."""
    seen = spaces.Dict({name: spaces.Box(-1, 1, (2,), np.float32) for name in ("arm.joints", "arm.hand.joints", "target")})
    hand = spaces.Dict({"tip.place": spaces.Box(-1, 1, (3,), np.float32)})
    seen["arm"] = spaces.Dict(hand=hand, speed=spaces.Box(-1, 1, (1,), np.float32))
    done = spaces.Dict({"arm.turn": spaces.Box(-1, 1, (2,), np.float32)})
    rng = np.random.default_rng(0)
    observations = {name: rng.uniform(-1, 1, (4, 2)).astype(np.float32) for name in ("arm.joints", "arm.hand.joints", "target")}
    observations["arm"] = {
        "hand": {"tip.place": rng.uniform(-1, 1, (4, 3)).astype(np.float32)},
        "speed": rng.uniform(-1, 1, (4, 1)).astype(np.float32),
    }
    actions = {"arm.turn": rng.uniform(-1, 1, (4, 2)).astype(np.float32)}
    episode = Episode(observations, actions, np.zeros(4, np.float32), "desk/reach", "ann")
    to_lerobot(Episodes("desk/reach", seen, done, [episode], "f"), tmp_path / "out", rate=10)
    found = find_dataset(str(tmp_path / "out"))
    assert to_json(found.observation_space) == to_json(seen)
    same(next(found.episodes()), episode)
    assert {"observation.arm.joints", "observation.arm.hand.tip.place"} <= json.loads((tmp_path / "out/meta/info.json").read_text())[
        "features"
    ].keys()
    seen["arm"]["joints"] = seen["target"]
    with pytest.raises(OpenGatoError, match=r"two fields are both 'arm.joints'.*rename"):
        to_lerobot(Episodes("desk/reach", seen, done, [episode], "f"), tmp_path / "not", rate=10)


def test_statistics_are_of_all_rows(tmp_path):
    data = source()
    to_lerobot(data, tmp_path / "out", rate=10)
    stats = json.loads((tmp_path / "out/meta/stats.json").read_text())
    turns = np.concatenate([episode.actions["turn"] for episode in data.in_order]).astype(np.float64)
    np.testing.assert_allclose(stats["action.turn"]["std"], turns.std(0))
    np.testing.assert_allclose(stats["action.turn"]["q10"], np.quantile(turns, 0.1, axis=0))
    pixels = np.concatenate([episode.observations["front"] for episode in data.in_order]).reshape(-1, 3) / 255
    for name, value in {"mean": pixels.mean(0), "std": pixels.std(0), "min": pixels.min(0), "max": pixels.max(0)}.items():
        np.testing.assert_allclose(np.array(stats["observation.front"][name]), value[:, None, None])


def test_minari_reads_it(tmp_path, monkeypatch):
    minari = pytest.importorskip("minari")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "root"))
    data = source()
    name = to_minari(data, tmp_path / "root")
    theirs = minari.load_dataset(name)
    assert theirs.total_episodes == 2 and theirs.total_steps == 8
    for episode, wanted in zip(theirs.iterate_episodes(), data.in_order):
        assert len(episode.observations["front"]) == len(wanted) + 1
        np.testing.assert_array_equal(episode.observations["front"][:-1], wanted.observations["front"])
        np.testing.assert_array_equal(episode.observations["front"][-1], wanted.observations["front"][-1])
        np.testing.assert_array_equal(episode.actions["turn"], wanted.actions["turn"])
        np.testing.assert_array_equal(episode.rewards, wanted.rewards)
    for mine, wanted in zip(find_dataset(name).episodes(), data.in_order, strict=True):
        same(mine, wanted)


@pytest.mark.parametrize(
    "path", ["lerobot_v3", "rlds/tfrecord/oxe_fixture/0.1.0", "jat/babyai-go-to", "robomimic/lift.hdf5", "d4rl/walker-medium-v2.hdf5"]
)
def test_every_format_becomes_the_others(tmp_path, path):
    pytest.importorskip("minari")
    data = find_dataset(str(OFFICIAL / path))
    name = to_minari(data, tmp_path / "root")
    to_lerobot(find_dataset(str(tmp_path / "root" / name)), tmp_path / "lerobot", rate=10)
    back = find_dataset(str(tmp_path / "lerobot"))
    assert back.task == data.task and to_json(back.action_space) == to_json(data.action_space)
    for mine, theirs in zip(back.episodes(), data.episodes(), strict=True):
        same(mine, theirs)


def test_what_cannot_be_written(tmp_path):
    with pytest.raises(OpenGatoError, match=r"does not say how many timesteps a second.*--rate"):
        to_lerobot(source(), tmp_path / "out")
    with pytest.raises(OpenGatoError, match="actions in words"):
        to_lerobot(source(done=text_space()), tmp_path / "out", rate=10)
    assert not (tmp_path / "out").exists()
    (tmp_path / "out").mkdir()
    with pytest.raises(OpenGatoError, match="is there already"):
        to_lerobot(source(), tmp_path / "out", rate=10)


def test_the_commands(tmp_path, capsys):
    pytest.importorskip("minari")
    walker = str(OFFICIAL / "d4rl/walker-medium-v2.hdf5")
    main(["data", "convert", walker, str(tmp_path / "out"), "--format", "lerobot", "--rate", "20"])
    assert "3 episodes" in capsys.readouterr().out
    main(["data", "info", str(tmp_path / "out")])
    out = capsys.readouterr().out
    assert "d4rl/walker-medium-v2" in out and "observation" in out and "returns 3 to 18" in out
    with pytest.raises(SystemExit):
        main(["data"])
    assert "data info, data convert, data view" in capsys.readouterr().err


def test_a_page_of_an_episode(tmp_path, capsys):
    """All that is in the episode is in the page, and nothing is fetched."""
    fixture = str(OFFICIAL / "rlds/tfrecord/oxe_fixture/0.1.0")
    main(["data", "view", fixture, "--episode", "1", "--out", str(tmp_path / "page.html")])
    page = (tmp_path / "page.html").read_text()
    assert not re.search(r"(src|href)=|https?://", page)
    shown = json.loads(re.search(r"const data = (\{.*\});\n", page)[1].replace("<\\/", "</"))
    episode = list(find_dataset(fixture).episodes())[1]
    assert shown["length"] == len(episode) and shown["episode"] == 1 and shown["episodes"] == 3
    assert {field["name"] for field in shown["pictures"]} == {"observation.image", "observation.wrist"}
    assert all(len(field["frames"]) == len(episode) for field in shown["pictures"])
    lines = {field["name"]: np.array(field["lines"]).T for field in shown["curves"]}
    np.testing.assert_allclose(lines["action.world_vector"], episode.actions["world_vector"], rtol=1e-4)
    assert shown["words"] == [
        {"name": "observation.language_instruction", "values": [[0, episode.observations["language_instruction"][0]]]}
    ]
    with pytest.raises(SystemExit):
        main(["data", "view", fixture, "--episode", "3", "--out", str(tmp_path / "page.html")])
    assert "there is no episode 3" in capsys.readouterr().err
