"""DM Lab's adapter, against the interface that its documentation describes, and the stand-in for the level that was never published.

The package cannot be installed where these tests run. In its place stands a module that keeps to docs/users/python_api.md and
docs/users/observations.md of google-deepmind/lab, and refuses what they do not allow: so much is known of the adapter, and no more.
"""

import sys
import types
from collections import Counter

import numpy as np
import pytest

from opengato.collection import record_episode
from opengato.domains import find_task, get_task, match_tasks
from opengato.domains.dm_lab.levels import ACTIONS, LEVELS
from opengato.domains.task import Task
from opengato.errors import OpenGatoError
from opengato.recipes import HELD_OUT, TABLE_1
from opengato.tokens.layout import Layout

ACTION_SPEC = [  # as printed in python_api.md
    {"max": 512, "min": -512, "name": "LOOK_LEFT_RIGHT_PIXELS_PER_FRAME"},
    {"max": 512, "min": -512, "name": "LOOK_DOWN_UP_PIXELS_PER_FRAME"},
    {"max": 1, "min": -1, "name": "STRAFE_LEFT_RIGHT"},
    {"max": 1, "min": -1, "name": "MOVE_BACK_FORWARD"},
    {"max": 1, "min": 0, "name": "FIRE"},
    {"max": 1, "min": 0, "name": "JUMP"},
    {"max": 1, "min": 0, "name": "CROUCH"},
]
SILENT = "seekavoid_arena_01"  # a level that the stand-in gives no INSTR


class Lab:
    """Keeps to the documented interface of `deepmind_lab.Lab`. Episodes are 10 calls of 4 frames; the reward is of walking forward."""

    made: list = []  # noqa: RUF012
    spec = ACTION_SPEC

    def __init__(self, level, observations, config={}, renderer="software", level_cache=None):  # noqa: B006
        if not isinstance(observations, list) or not isinstance(config, dict):
            raise TypeError("must be list, must be dict")
        if not all(isinstance(text, str) for pair in config.items() for text in pair):
            raise TypeError("bad argument type")
        if level.startswith("unknown"):
            raise RuntimeError("Failed to connect RL API")
        self.level, self.asked, self.config = level, observations, config
        self.height, self.width = int(config.get("height", "240")), int(config.get("width", "320"))
        if unknown := set(observations) - {entry["name"] for entry in self.observation_spec()}:
            raise ValueError(f"Unknown observation {unknown}")
        self.running = self.closed = False
        Lab.made.append(self)

    def observation_spec(self):
        spec = [
            {"dtype": np.uint8, "name": "RGB_INTERLEAVED", "shape": (self.height, self.width, 3)},
            {"dtype": np.uint8, "name": "RGBD_INTERLEAVED", "shape": (self.height, self.width, 4)},
        ]
        return spec + ([] if self.level == SILENT else [{"dtype": str, "name": "INSTR", "shape": ()}])

    def action_spec(self):
        return self.spec

    def reset(self, episode=-1, seed=None):
        if seed is not None and type(seed) is not int:
            raise ValueError("'seed' must be int or None")
        self.random, self.frames, self.running = np.random.default_rng([seed, episode]), 0, True

    def is_running(self):
        return self.running

    def observations(self):
        if not self.running or self.closed:
            raise RuntimeError("wrong status to get observations")
        image = self.random.integers(0, 256, (self.height, self.width, 3), np.uint8)
        return {name: image if name == "RGB_INTERLEAVED" else "pick the red cup" for name in self.asked}

    def step(self, action, num_steps=1):
        if not self.running or self.closed:
            raise RuntimeError("wrong status to advance")
        assert isinstance(action, np.ndarray) and action.dtype == np.intc and action.shape == (7,)
        assert all(entry["min"] <= value <= entry["max"] for entry, value in zip(ACTION_SPEC, action))
        self.frames += num_steps
        self.running = self.frames < 40
        self.last = action
        return float(action[3])

    def close(self):
        self.closed, self.running = True, False
        return True


@pytest.fixture
def lab(monkeypatch):
    monkeypatch.setitem(sys.modules, "deepmind_lab", types.SimpleNamespace(Lab=Lab))
    monkeypatch.setattr(Task, "available", property(lambda task: True))
    monkeypatch.setattr(Lab, "made", [])
    return Lab


def test_levels_are_those_that_were_published():
    assert len(LEVELS) == len(set(LEVELS.values())) == 86
    folders = Counter(path.rpartition("/")[0] for path in LEVELS.values())
    assert folders["contributed/dmlab30"] == 32 and folders[""] == 12  # 30 tasks, two of them with a level to train and one to test
    assert LEVELS["psychlab-landoltc-identification"] == "contributed/psychlab/landoltC_identification"
    assert get_task("dm-lab/rooms-watermaze").make_expert is None
    assert all(task.id == task.id.lower() for task in match_tasks(["dm-lab"]))


def test_without_the_package_the_way_to_it_is_told():
    task = get_task("dm-lab/lt-chasm")
    if task.available:
        pytest.skip("deepmind_lab is installed")
    with pytest.raises(OpenGatoError, match=r"needs 'deepmind_lab'.*python/pip_package/README.md"):
        task.make()


@pytest.mark.parametrize("name", ["rooms-watermaze", "seekavoid-arena-01", "level:tests/empty_room_test"])
def test_an_episode_keeps_to_the_interface(lab, name):
    task = get_task(f"dm-lab/{name}")
    env = task.make()
    asked, used = lab.made
    assert asked.closed and not used.closed
    level = name.removeprefix("level:") if ":" in name else LEVELS[name]
    assert used.level == level and used.config == {"width": "96", "height": "72", "fps": "60"}
    assert env.observation_space == task.observation_space and env.action_space == task.action_space
    first, _ = env.reset(seed=7 + 2**31)
    again, _ = env.reset(seed=7)
    other, _ = env.reset(seed=8)
    np.testing.assert_array_equal(first["image"], again["image"])
    assert not np.array_equal(first["image"], other["image"])
    assert first["instruction"] == ("" if level == SILENT else "pick the red cup")
    env.action_space.seed(0)
    ends = []
    for _ in range(10):
        seen, reward, terminated, truncated, _ = env.step(env.action_space.sample())
        assert seen in task.observation_space and type(reward) is float and reward == used.last[3]
        ends.append((terminated, truncated))
    assert ends == [(False, False)] * 9 + [(True, False)]
    assert env.render().shape == (72, 96, 3)
    env.reset(seed=1)  # after the end too
    env.close()
    assert used.closed


def test_an_action_means_what_the_lab_calls_it(lab):
    env = get_task("dm-lab/lt-chasm").make()
    env.reset(seed=0)
    for place, (name, values) in enumerate(ACTIONS.items()):
        for number, value in enumerate(values):
            action = np.array([3, 1, 1, 1, 0, 0, 0])  # which stands still
            action[place] = number
            env.reset(seed=0)
            env.step(action)
            expected = dict.fromkeys(ACTIONS, 0) | {name: value}
            assert dict(zip((entry["name"] for entry in ACTION_SPEC), lab.made[-1].last.tolist())) == expected


def test_what_does_not_fit_is_refused(lab, monkeypatch):
    with pytest.raises(OpenGatoError, match="'unknown/level' cannot be loaded by deepmind_lab: Failed to connect"):
        get_task("dm-lab/level:unknown/level").make()
    with pytest.raises(OpenGatoError, match="names no level"):
        find_task("dm-lab/level:")
    monkeypatch.setattr(lab, "spec", [{**entry, "max": 10} for entry in ACTION_SPEC])
    with pytest.raises(OpenGatoError, match="LOOK_LEFT_RIGHT_PIXELS_PER_FRAME from -512 to 10"):
        get_task("dm-lab/lt-chasm").make()
    monkeypatch.setattr(lab, "spec", ACTION_SPEC[:6])
    with pytest.raises(OpenGatoError, match="has the actions"):
        get_task("dm-lab/lt-chasm").make()


# ---- apples ---------------------------------------------------------------------------------------------------------------------

APPLES = "dm-lab/order-of-apples-forage-simple"


def test_what_the_paper_holds_out_is_there():
    for name in HELD_OUT:
        task = get_task(name)
        assert task.make_expert is not None and task.domain in TABLE_1
        Layout(task.observation_space, task.action_space)


@pytest.fixture
def apples():
    task = get_task(APPLES)
    if not task.available:
        pytest.skip("miniworld")
    env = task.make()
    yield env
    env.close()


def walk_to(env, colour):
    """Put the agent beside an apple, and let it take one step."""
    apple, agent = env.apples[colour], env.agent
    x, z = apple.pos[0], apple.pos[2]
    towards = np.arctan2(-(env.max_z / 2 - z), env.max_x / 2 - x)
    agent.pos = np.array([x + 0.9 * np.cos(towards), 0.0, z - 0.9 * np.sin(towards)])
    return env.step(0)


def test_the_order_is_the_rule(apples):
    for seed in range(3):
        apples.reset(seed=seed)
        first, second, third = apples.order
        assert sorted(apples.order) == sorted(apples.apples)
        assert walk_to(apples, first)[1] == 1.0 and first not in apples.apples
        before = {colour: apple.pos.copy() for colour, apple in apples.apples.items()}
        assert walk_to(apples, third)[1] == 0.0  # and all lie anew
        assert sorted(apples.apples) == sorted(apples.order) and not np.array_equal(before[second], apples.apples[second].pos)
        for round in range(2):
            assert [walk_to(apples, colour)[1] for colour in (first, second, third)] == [1.0] * 3
            assert apples.step(0)[4]["success"] == (round == 1)
        assert len(apples.entities) == 4  # three apples and the agent


def test_nothing_shows_the_order(apples):
    """Of two rooms that differ in the order alone the pictures are the same, and in which order apples lie in the world is no sign."""
    apples.reset(seed=3)
    seen = apples.render_obs()
    order = apples.order
    apples.order = order[::-1]
    np.testing.assert_array_equal(apples.render_obs(), seen)
    assert list(apples.apples) == sorted(order)


@pytest.mark.slow
def test_who_remembers_errs_three_times_at_most(apples):
    task, errors = get_task(APPLES), []
    for seed in (1, 2):
        expert = task.make_expert()
        observation, _ = apples.reset(seed=seed)
        expert.reset(apples, observation, seed)
        over, total = False, 0.0
        while not over:
            before = [apples.agent.pos.copy(), apples.agent.dir]
            action = expert.act(observation)
            assert np.array_equal(before[0], apples.agent.pos) and before[1] == apples.agent.dir
            observation, reward, _, over, info = apples.step(action)
            total += reward
        errors.append(sum(map(len, apples.wrong)))
        assert info["success"] and total >= 10
    assert max(errors) <= 3 and sum(errors) > 0


def test_the_forager_does_not_look_at_the_order(apples):
    """Whatever the order is, its first way is the same: it can only find out."""
    task, ways = get_task(APPLES), []
    for shift in (0, 1):
        observation, _ = apples.reset(seed=2)
        apples.order = apples.order[shift:] + apples.order[:shift]
        expert = task.make_expert()
        expert.reset(apples, observation, 2)
        way = []
        while not way or not (apples.eaten or sum(map(len, apples.wrong))):
            way.append(expert.act(observation))
            observation = apples.step(way[-1])[0]
        ways.append(way)
    assert ways[0] == ways[1]


@pytest.mark.slow
def test_a_disturbed_forager_goes_on():
    task = get_task(APPLES)
    if not task.available:
        pytest.skip("miniworld")
    env = task.make()
    returns = [record_episode(task, env, task.make_expert(), seed, noise=0.1)[0].episode_return for seed in (1, 3)]
    env.close()
    assert min(returns) >= 5
