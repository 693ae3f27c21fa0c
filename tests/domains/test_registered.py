"""Any registered Gymnasium id as a task: its spaces, its time limit, its wrappers, and what is said of those that cannot be one."""

from __future__ import annotations

import dataclasses
import pickle

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from opengato.collection import record_episode
from opengato.domains import find_task, get_task, match_tasks
from opengato.errors import OpenGatoError
from opengato.references import RandomAgent
from opengato.tokens.layout import Layout
from opengato.tokens.vocabulary import IMAGE, TEXT

EMPTY = "gym/minigrid:MiniGrid-Empty-5x5-v0"


class Odd(gym.Env):
    """An environment of any observation space; its first step succeeds where it says so."""

    action_space = spaces.Discrete(2)

    def __init__(self, space, says=None):
        self.observation_space, self.says = space, says

    def reset(self, *, seed=None, options=None):
        self.observation_space.seed(seed)
        return self.observation_space.sample(), {}

    def step(self, action):
        info = {} if self.says is None else {"success": self.says}
        return self.observation_space.sample(), 1.0, False, False, info


@pytest.fixture
def registered():
    """Register an environment for a test."""
    made = []

    def register(name, **settings):
        made.append(f"Odd/{name}-v0")
        gym.register(made[-1], entry_point=Odd, **settings)
        return f"gym/{made[-1]}"

    yield register
    for name in made:
        del gym.registry[name]


@pytest.mark.parametrize("name", ["CartPole-v1", "Pendulum-v1", "Taxi-v4", "MountainCarContinuous-v0"])
def test_spaces_and_time_limit_are_gymnasiums_own(name):
    task, plain = get_task(f"gym/{name}"), gym.make(name)
    assert (task.observation_space, task.action_space) == (plain.observation_space, plain.action_space)
    assert task.domain == "gym" and task.make_expert is None and not task.measured and task.available
    env = task.make()
    assert env.spec.max_episode_steps == gym.spec(name).max_episode_steps
    assert np.array_equal(env.reset(seed=3)[0], plain.reset(seed=3)[0]) and env.render().shape[2] == 3


def test_a_time_limit_may_be_stated_and_must_where_none_is_registered():
    task = get_task("gym/CartPole-v1,max_steps=5")
    episodes = [record_episode(task, task.make(), RandomAgent(), seed)[0] for seed in range(5)]
    assert {len(e) for e in episodes} == {5} and not any(e.info["terminated"] for e in episodes)
    with pytest.raises(OpenGatoError, match=r"v1' has no registered time limit: state one, as in gym/Blackjack-v1,max_steps=1000"):
        get_task("gym/Blackjack-v1")
    cards = get_task("gym/Blackjack-v1,max_steps=10")
    assert isinstance(cards.observation_space, spaces.Tuple)
    assert 1 <= len(record_episode(cards, cards.make(), RandomAgent(), 0)[0]) <= 10


def test_a_task_of_a_package_reads_text_and_pictures():
    pytest.importorskip("minigrid")
    with pytest.raises(OpenGatoError, match="no registered time limit"):
        get_task(EMPTY)
    task = get_task(f"{EMPTY},max_steps=20")
    layout = Layout(task.observation_space, task.action_space)
    assert {f.path: f.kind for f in layout.observation if f.path != "direction"} == {"image": IMAGE, "mission": TEXT}
    env = task.make()
    observation, _ = env.reset(seed=0)
    assert observation["mission"] == "get to the green goal square" and task.observation_space.contains(observation)
    assert env.observation_space == task.observation_space
    same = pickle.loads(pickle.dumps(task))  # as a worker gets it
    assert same.make_env.args == task.make_env.args and len(record_episode(same, same.make(), RandomAgent(), 1)[0]) <= 20


def test_wrappers_are_applied_by_name_innermost_first():
    pytest.importorskip("minigrid")
    seen = get_task(f"{EMPTY},max_steps=20,wrapper=minigrid.wrappers:RGBImgObsWrapper,wrapper=minigrid.wrappers:ImgObsWrapper")
    assert seen.observation_space == spaces.Box(0, 255, (40, 40, 3), np.uint8)
    observation, _ = seen.make().reset(seed=0)
    assert observation.shape == (40, 40, 3)
    flat = get_task(f"{EMPTY},max_steps=20,wrapper=minigrid.wrappers:ImgObsWrapper,wrapper=FlattenObservation")
    assert flat.observation_space.shape == (147,)


def test_success_is_told_where_the_environment_tells_it(registered):
    space = spaces.Box(-np.inf, np.inf, (2,), np.float32)
    for says in (None, True, False):
        task = get_task(registered(f"Says{says}", max_episode_steps=3, kwargs={"space": space, "says": says}))
        assert record_episode(task, task.make(), RandomAgent(), 0)[0].success is says


@pytest.mark.parametrize(
    ("name", "space", "sentence"),
    [
        (
            "Sequence",
            spaces.Dict(many=spaces.Sequence(spaces.Discrete(2))),
            "observation field many is a Sequence space, which has no",
        ),
        ("Cells", spaces.Dict(a=spaces.Dict(b=spaces.Discrete(2000))), "observation field a.b takes 2000 different values"),
        ("Wide", spaces.Box(-(2**63), 2**63 - 1, (1,), np.int64), r"observation field \(root\) takes 1844\d+ different values"),
        ("Channels", spaces.Box(0, 255, (8, 8, 4), np.uint8), r"observation field \(root\) is an image of shape \(8, 8, 4\)"),
    ],
)
def test_spaces_without_tokens_are_refused_by_field(name, space, sentence, registered):
    task_id = registered(name, max_episode_steps=3, kwargs={"space": space})
    with pytest.raises(OpenGatoError, match=f"task '{task_id}': {sentence}") as error:
        get_task(task_id)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("gym/CartPol-v1", "cannot be made: NameNotFound: Environment `CartPol` doesn't exist. Did you mean: `CartPole`?"),
        ("gym/no_such_package:A-v0", "cannot be made: ModuleNotFoundError: No module named 'no_such_package'"),
        ("gym/CartPole-v1,steps=5", "has the option 'steps=5': use max_steps=N, 1 or more, and wrapper=NAME"),
        ("gym/CartPole-v1,max_steps=0", "has the option 'max_steps=0'"),
        ("gym/CartPole-v1,wrapper=NoSuchWrapper", "names the wrapper 'NoSuchWrapper', which gymnasium.wrappers does not have"),
        ("gym/CartPole-v1,wrapper=TimeLimit", "cannot be made: TypeError"),
    ],
)
def test_what_cannot_be_made_is_one_sentence(name, sentence):
    with pytest.raises(OpenGatoError) as error:
        match_tasks([name])
    assert str(error.value).startswith(f"task {name!r} {sentence}") and "\n" not in str(error.value)


def test_it_is_made_once_to_read_its_spaces(monkeypatch):
    made, make = [], gym.make
    monkeypatch.setattr(gym, "make", lambda *a, **k: made.append(a) or make(*a, **k))
    name = "gym/Acrobot-v1,max_steps=7"
    assert find_task(name) is find_task(name) and len(made) == 1


def test_collect_and_reference_say_that_there_is_no_expert(tmp_path):
    from opengato.collection import collect
    from opengato.references import Counts, write_references

    task = get_task("gym/CartPole-v1")
    with pytest.raises(OpenGatoError, match="task 'gym/CartPole-v1' has no expert to record"):
        collect([task], 1, tmp_path)
    with pytest.raises(OpenGatoError, match="task 'gym/CartPole-v1' has no expert"):
        write_references([task], tmp_path / "references.json", Counts(1, 1), workers=1)


def test_another_agent_is_recorded_where_one_is_given(tmp_path):
    """Under a name that Minari takes; the episodes know whose they are."""
    pytest.importorskip("minigrid")
    pytest.importorskip("minari")
    from opengato.collection import collect
    from opengato.datasets.minari import load_minari

    task = dataclasses.replace(get_task(f"{EMPTY},max_steps=9"), make_expert=RandomAgent, expert_name="random")
    (name,) = collect([task], 2, tmp_path, workers=1, progress=False)
    assert name == "opengato/gym/minigrid-MiniGrid-Empty-5x5-v0-max_steps-9-v0"
    episodes = load_minari(name, tmp_path)
    assert episodes.task == task.id and [len(e) for e in episodes] == [9, 9]
    assert episodes[0].observations["mission"] == ["get to the green goal square"] * 9
