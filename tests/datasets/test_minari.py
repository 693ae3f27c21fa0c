"""Other people's Minari datasets are read as Minari itself reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from opengato.datasets.minari import load_minari
from opengato.episode import leaves
from opengato.errors import OpenGatoError

minari = pytest.importorskip("minari")
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:minari.*")

NESTED = spaces.Dict(
    picture=spaces.Box(0, 255, (8, 6, 3), np.uint8),
    arm=spaces.Tuple((spaces.Box(-1, 1, (3,), np.float64), spaces.Discrete(4, start=2))),
    order=spaces.Text(60, min_length=0),
    switches=spaces.MultiBinary(3),
)
ACTION = spaces.Tuple((spaces.Discrete(5), spaces.Dict(say=spaces.Text(60, min_length=0), turn=spaces.Box(-1, 1, (2,), np.float32))))


class Nested(gym.Env):
    """Draws observations from its space; ends at random, or at eight steps."""

    observation_space, action_space = NESTED, ACTION

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[Any, dict]:
        super().reset(seed=seed)
        if seed is not None:
            self.observation_space.seed(seed)
        self._step = 0
        return self.observation_space.sample(), {"success": False}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict]:
        self._step += 1
        over = bool(self.np_random.random() < 0.2)
        return self.observation_space.sample(), float(self.np_random.normal()), over, self._step >= 8, {"success": over}


def check(ours: Any, theirs: Any) -> None:
    """Every leaf as Minari's own iteration has it, cut to the steps that an action follows."""
    assert len(ours) == theirs.total_episodes > 0
    for index, episode in enumerate(theirs.iterate_episodes()):
        mine = ours[index]
        steps = len(episode.rewards)
        assert len(mine) == steps
        np.testing.assert_array_equal(mine.rewards, np.asarray(episode.rewards, np.float32))
        for side, wanted in ((mine.observations, episode.observations), (mine.actions, episode.actions)):
            found, expected = dict(leaves(side)), dict(leaves(wanted))
            assert found.keys() == expected.keys()
            for path, leaf in found.items():
                assert len(leaf) == steps
                if isinstance(leaf, list):
                    assert all(isinstance(text, str) for text in leaf) and leaf == list(expected[path])[:steps]
                else:
                    np.testing.assert_array_equal(leaf, np.asarray(expected[path])[:steps])
        if "success" in (episode.infos or {}):
            assert mine.success == bool(np.any(episode.infos["success"]))
        else:
            assert mine.success is None
    for a, b in zip(ours, (ours[i] for i in range(len(ours)))):
        assert a.episode_return == b.episode_return and a.seed == b.seed


def rollout(env: gym.Env, seed: int) -> None:
    env.reset(seed=seed)
    env.action_space.seed(seed)
    while True:
        _, _, terminated, truncated, _ = env.step(env.action_space.sample())
        if terminated or truncated:
            return


@pytest.mark.parametrize("data_format", ["hdf5", "arrow"])
@pytest.mark.parametrize("make", [Nested, lambda: gym.make("CartPole-v1")], ids=["nested", "cartpole"])
def test_datasets_of_minaris_collector(make: Any, data_format: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("jax", reason="Minari's own collector needs it")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    env = minari.DataCollector(make(), record_infos=True, data_format=data_format)
    for seed in range(4):
        rollout(env, seed)
    env.create_dataset("elsewhere/nested-v3", algorithm_name="somebody", author="A. N. Other")
    env.close()
    ours = load_minari("elsewhere/nested-v3")
    check(ours, minari.load_dataset("elsewhere/nested-v3"))
    assert (ours.task, ours.source) == ("elsewhere/nested-v3", "somebody")
    assert ours.metadata["author"] == {"A. N. Other"}
    assert [e.seed for e in ours] == list(range(4))


def buffers(count: int) -> list[Any]:
    """Episodes as other programs write them: straight from Minari's buffers, without seeds."""
    from minari.data_collector import EpisodeBuffer

    rng = np.random.default_rng(0)
    found = []
    for _ in range(count):
        steps = int(rng.integers(2, 7))
        observations = {
            "picture": rng.integers(0, 256, (steps + 1, 8, 6, 3), dtype=np.uint8),
            "arm": (rng.normal(size=(steps + 1, 3)), rng.integers(2, 6, steps + 1)),
            "order": [f"go {i} – größer 🐈" for i in range(steps + 1)],
            "switches": rng.integers(0, 2, (steps + 1, 3), dtype=np.int8),
        }
        actions = (rng.integers(0, 5, steps), {"say": ["", *["yes"] * (steps - 1)], "turn": rng.normal(size=(steps, 2)).astype(np.float32)})
        ends = [*[False] * (steps - 1), True]
        found.append(EpisodeBuffer(None, None, None, observations, actions, list(rng.normal(size=steps)), ends, [False] * steps, {}))
    return found


@pytest.mark.parametrize("jpeg", [False, True])
@pytest.mark.parametrize("data_format", ["hdf5", "arrow"])
def test_datasets_from_buffers(data_format: str, jpeg: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    minari.create_dataset_from_buffers(
        "other-v0", buffers(5), observation_space=NESTED, action_space=ACTION, data_format=data_format, jpeg_encoding=jpeg
    )
    theirs = minari.load_dataset("other-v0")
    by_id, elsewhere = load_minari("other-v0"), load_minari(tmp_path / "other-v0", tmp_path / "nowhere")
    check(by_id, theirs)
    check(elsewhere, theirs)
    assert by_id.observation_space == NESTED and by_id.action_space == ACTION
    assert (by_id.task, by_id.source, by_id[-1].seed) == ("other-v0", "unknown", None)
    with pytest.raises(IndexError):
        by_id[5]
    before = by_id.fingerprint
    theirs.update_dataset_from_buffer(buffers(1))
    assert load_minari("other-v0").fingerprint != before and len(load_minari("other-v0")) == 6


def test_broken_datasets_are_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "broken-v0" / "data").mkdir(parents=True)
    with pytest.raises(OpenGatoError, match=r"Minari cannot open the dataset in .*broken-v0: ValueError: No data found"):
        load_minari("broken-v0", tmp_path)
