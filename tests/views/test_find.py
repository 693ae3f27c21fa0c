"""Spaces that a checkpoint has never seen, read as those that it knows: found on demonstrations, kept to in training and acting."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

pytest.importorskip("minigrid")
pytest.importorskip("minari")

from opengato import Policy
from opengato.checkpoint import Checkpoint
from opengato.collection import collect, dataset_id
from opengato.datasets.dataset import Dataset, Stream
from opengato.datasets.minari import load_minari
from opengato.datasets.viewed import Viewed
from opengato.domains import get_task
from opengato.episode import Episode
from opengato.evaluation.agent import load_agent
from opengato.evaluation.unseen import introduce
from opengato.layouts import new_layout
from opengato.pretrained import agent_folder
from opengato.recipes import finetune_recipe
from opengato.tokens.spaces import to_json
from opengato.tokens.view import NOTHING
from opengato.tokens.vocabulary import GRID
from opengato.training.train import finetune, recipe_of_finetuning
from opengato.views import find as finding
from opengato.views.find import described, find_view, find_views

LEVEL = get_task("babyai/put-next-s6n3")  # next to those that the generalist was trained on
NEAR = (slice(1, 6), slice(2, 7))  # five rows and columns of seven, as far as two steps from the agent, which stands at (3, 6)


def _narrow(task):
    image = task.observation_space["image"]
    return spaces.Dict({**task.observation_space.spaces, "image": spaces.MultiDiscrete(image.nvec[NEAR])})


class Narrow(gym.ObservationWrapper):
    def __init__(self, env):
        super().__init__(env)
        self.observation_space = _narrow(LEVEL)

    def observation(self, observation):
        return {**observation, "image": observation["image"][NEAR]}


def _changed(source: Dataset, space: spaces.Space, of) -> Stream:
    def read() -> Iterator[Episode]:
        for episode in source.episodes():
            yield of(episode)

    return Stream(f"{source.name} changed", source.task, space, source.action_space, source.fingerprint, read)


@pytest.fixture(scope="module")
def agent():
    return Checkpoint.load(agent_folder("generalist"))


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    collect([LEVEL], 3, root, workers=1, progress=False)
    return root


@pytest.fixture(scope="module")
def narrow(root):
    def cut(episode: Episode) -> Episode:
        return replace(
            episode, observations={**episode.observations, "image": np.asarray(episode.observations["image"])[(..., *NEAR, slice(None))]}
        )

    return _changed(load_minari(dataset_id(LEVEL), root), _narrow(LEVEL), cut)


def test_a_smaller_view_is_read_as_the_part_of_the_larger_one_that_it_is(agent, narrow):
    found = find_view(agent, narrow)
    assert found is not None and agent.layouts[found.like].observation_space == LEVEL.observation_space
    symbols = found.view.symbols[1:].reshape(7, 7, 3)  # after the direction
    expected = np.full((7, 7, 3), NOTHING)
    expected[NEAR] = 1 + np.arange(75).reshape(5, 5, 3)
    np.testing.assert_array_equal(symbols, expected)
    assert found.view.symbols[0] == 0 and found.view.others == {"mission": "mission"}
    assert found.loss < 1.5 < 3 < found.chance
    assert described(found.layout) == "mission as mission; direction as direction; image as image"


def test_minigrids_own_picture_of_seven_by_seven_is_read_as_the_grid_that_it_is(root):
    """By an agent whose weights are packed for acting, as in `opengato eval --demonstrations`."""
    own = get_task("gym/minigrid:BabyAI-PutNextS6N3-v0,max_steps=192")
    assert own.observation_space["image"].dtype == np.uint8 and own.observation_space["image"].shape == (7, 7, 3)

    def as_bytes(episode: Episode) -> Episode:
        return replace(episode, observations={**episode.observations, "image": np.asarray(episode.observations["image"]).astype(np.uint8)})

    acting = load_agent(agent_folder("generalist"))
    found = find_view(acting, _changed(load_minari(dataset_id(LEVEL), root), own.observation_space, as_bytes))
    assert found is not None and found.view.symbols.tolist() == list(range(148))
    env = own.make_env()
    observation, _ = env.reset(seed=0)
    read = found.layout.read({"direction": np.array([observation["direction"]]), "image": observation["image"][None], "mission": [""]})
    np.testing.assert_array_equal(read["image"][0], observation["image"])
    env.close()


def test_numbers_in_another_order_are_told_by_what_is_done(agent, tmp_path):
    """A cart-pole as one vector, in Gymnasium's order, shown once by its controller."""
    task = get_task("dm-control/cartpole-swingup")
    collect([task], 1, tmp_path, workers=1, progress=False)

    def flat(episode: Episode) -> Episode:
        place, velocity = (np.asarray(episode.observations[name]) for name in ("position", "velocity"))
        return replace(episode, observations=np.concatenate([place[:, :1], velocity[:, :1], place[:, 1:], velocity[:, 1:]], 1))

    box = spaces.Box(-np.inf, np.inf, (5,), np.float32)
    found = find_view(agent, _changed(load_minari(dataset_id(task), tmp_path), box, flat))
    assert found is not None and found.like.startswith("dm-control/cartpole")
    assert found.view.numbers.tolist() == [0, 2, 3, 1, 4]
    assert described(found.layout) == "observation as position[0], velocity[0], position[1], position[2], velocity[1]"


def test_where_nothing_is_foretold_nothing_is_read(agent, narrow):
    """The same observations beside actions by lot."""
    rng = np.random.default_rng(0)

    def by_lot(episode: Episode) -> Episode:
        return replace(episode, actions=rng.integers(0, 7, len(episode)))

    assert find_view(agent, _changed(narrow, narrow.observation_space, by_lot)) is None
    text = Stream("words", "text/mine", spaces.Dict(), spaces.Text(10), "1", lambda: iter([]))
    assert find_view(agent, text) is None
    nobody = Stream("none", LEVEL.id, narrow.observation_space, narrow.action_space, "1", lambda: iter([]))
    assert find_view(agent, nobody) is None


def test_a_fine_tuned_agent_acts_on_what_its_data_observed(agent, narrow, tmp_path, monkeypatch):
    monkeypatch.setenv("OPENGATO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(finding, "find_dataset", lambda name, reading=None: narrow)
    monkeypatch.setattr("opengato.datasets.open.find_dataset", lambda name, reading=None: narrow)
    monkeypatch.setattr("opengato.training.train.find_dataset", lambda name, reading=None: narrow)
    folder = agent_folder("generalist")
    views = find_views(folder, ["mine"])
    assert list(views) == ["mine"]
    assert recipe_of_finetuning(folder, ["mine"], views=views) == finetune_recipe("swift") != recipe_of_finetuning(folder, ["mine"])
    chosen = finetune_recipe("swift")
    chosen = replace(chosen, train=replace(chosen.train, steps=2, batch=1, workers=0, device="cpu"))
    finetune(folder, chosen, ["mine"], tmp_path / "run", views=views)
    tuned = Checkpoint.load(tmp_path / "run" / "checkpoint")
    layout = tuned.layouts[LEVEL.id]
    assert layout.observation_space == narrow.observation_space and layout.view is not None
    assert set(tuned.layouts) == {*agent.layouts, LEVEL.id}
    # It acts in the narrow environment as the same network does in a wide one that shows nothing more.
    wide = replace(tuned, layouts={LEVEL.id: agent.layouts["babyai/action-obj-door"]})
    env, policy, other = Narrow(LEVEL.make_env()), Policy(tuned, temperature=0.0), Policy(wide, temperature=0.0)
    observation, _ = env.reset(seed=100_000)
    policy.reset(LEVEL.id, observation_space=env.observation_space, action_space=env.action_space)
    other.reset(LEVEL.id, observation_space=LEVEL.observation_space, action_space=env.action_space)
    for _ in range(6):
        padded = np.zeros((7, 7, 3), np.int64)
        padded[NEAR] = observation["image"]
        action = policy.act(observation)
        assert action == other.act({**observation, "image": padded})
        observation, *_ = env.step(action)
    env.close()
    # The next fine-tuning, and tasks that observe the same, keep to what was found.
    monkeypatch.setattr(finding, "find_view", lambda *_: pytest.fail("it was found already"))
    again = find_views(tmp_path / "run" / "checkpoint", ["mine"])["mine"]
    assert json.dumps(again.to_json()) == json.dumps(layout.to_json())
    other = new_layout(tuned.layouts, "babyai/other", narrow.observation_space, narrow.action_space)
    assert other.view is not None and other.view.symbols.tolist() == layout.view.symbols.tolist()


def test_an_agent_that_is_shown_a_demonstration_reads_it_so(agent, narrow, root, monkeypatch, capsys):
    task = replace(LEVEL, observation_space=narrow.observation_space, make_env=lambda: Narrow(LEVEL.make_env()))
    monkeypatch.setattr("opengato.evaluation.unseen.find_dataset", lambda name, reading=None: narrow)
    monkeypatch.setattr("opengato.datasets.open.find_dataset", lambda name, reading=None: narrow)
    (introduction,) = introduce(agent, [task], ["mine"]).values()
    assert introduction.layout.view is not None and introduction.demonstrated and introduction.prompt is not None
    assert "mine: observed in a space that the checkpoint does not know, and read as in babyai/" in capsys.readouterr().err
    cells = (introduction.prompt.kinds == GRID + 2).sum() / len(introduction.prompt)
    assert cells == 7 * 7 * 3  # the demonstration, too, is as the agent knows it


def test_a_dataset_that_is_read_so_has_the_known_space(agent, narrow):
    found = find_view(agent, narrow)
    assert found is not None
    viewed = Viewed(narrow, found.layout)
    assert to_json(viewed.observation_space) == to_json(LEVEL.observation_space) and viewed.task == narrow.task
    assert viewed.fingerprint.startswith(narrow.fingerprint) and viewed.fingerprint != narrow.fingerprint and viewed.name != narrow.name
    (plain, *_), (read, *_) = narrow.episodes(), viewed.episodes()
    inside = np.asarray(read.observations["image"])
    np.testing.assert_array_equal(inside[(..., *NEAR, slice(None))], plain.observations["image"])
    assert inside.sum() == plain.observations["image"].sum()  # all else is out of sight
    assert (viewed.count(), viewed.mark(1)) == (None, None)
