"""The Jaco arm's tasks: the suite's names, stated spaces, seeds, and experts that reach and change nothing."""

import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("dm_control")

from opengato.collection import record_episode
from opengato.domains.dm_manipulation import FULL, TASKS
from opengato.episode import stack
from opengato.tokens.encode import encode_timesteps
from opengato.tokens.layout import Layout
from opengato.tokens.text import TextTokenizer

TASK = {task.id.removeprefix("dm-manipulation/"): task for task in TASKS}
QUICK = ["place-cradle-features", "reach-site-features"]


def test_they_are_the_suites():
    from dm_control import manipulation

    assert sorted(name.replace("_", "-") for name in manipulation.ALL) == sorted(TASK)


def check(name):
    task = TASK[name]
    env = task.make()
    spec = env.inner.action_spec()
    np.testing.assert_allclose([task.action_space.low, task.action_space.high], [spec.minimum, spec.maximum], rtol=1e-6)
    told = {key.replace("/", "."): value for key, value in env.inner.observation_spec().items()}
    assert set(told) == set(task.observation_space.keys())
    for key, space in task.observation_space.items():
        assert np.prod(space.shape) == np.prod(told[key].shape), key
    traces = []
    for seed in (3, 3, 4):
        observation, _ = env.reset(seed=seed)
        env.action_space.seed(0)
        trace = [np.ravel(value) for value in observation.values()]
        for _ in range(3):
            observation, reward, ended, truncated, info = env.step(env.action_space.sample())
            assert task.observation_space.contains(observation) and not (ended or truncated)
            assert 0 <= reward <= 1 and info["success"] == (reward >= FULL)
            trace += [np.ravel(value) for value in observation.values()]
        traces.append(np.concatenate(trace))
    np.testing.assert_array_equal(traces[0], traces[1])
    assert not np.array_equal(traces[0], traces[2])
    layout = Layout(task.observation_space, task.action_space)  # its names have dots
    encoded = encode_timesteps(layout, TextTokenizer.load(), stack([observation]), stack([env.action_space.sample()]), 1)
    assert len(encoded.tokens) == sum(field.count for field in (*layout.observation, *layout.action)) + 1
    env.close()


@pytest.mark.parametrize("name", QUICK)
def test_spaces_and_seeds(name):
    check(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in TASK if name not in QUICK])
def test_spaces_and_seeds_of_all_others(name):
    if name.endswith("vision"):
        try:
            TASK[name].make().render()
        except Exception as error:
            pytest.skip(f"no pictures here: {error}")
    check(name)


@pytest.mark.parametrize("name", ["reach-site-features", "reach-duplo-features"])
def test_experts_reach_and_change_nothing(name):
    task = TASK[name]
    env, expert = task.make(), task.make_expert()
    episode, _ = record_episode(task, env, expert, 10_000)
    assert len(episode) == 250 and episode.success and episode.episode_return > 200
    observation, _ = env.reset(seed=1)
    expert.reset(env, observation, 1)
    physics = env.inner.physics
    for k in range(10):
        before = physics.get_state(), physics.data.site_xpos.copy()
        advice = expert.act(observation)
        assert task.action_space.contains(advice)
        for was, now in zip(before, (physics.get_state(), physics.data.site_xpos), strict=True):
            np.testing.assert_array_equal(was, now)
        observation, *_ = env.step(env.action_space.sample() if k % 2 else advice)


def test_listing_imports_no_simulator():
    code = "import sys; import opengato.domains.dm_manipulation; assert not {'mujoco', 'dm_control'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
