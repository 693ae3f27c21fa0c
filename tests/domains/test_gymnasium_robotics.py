"""Gymnasium-Robotics: stated spaces and limits, seeds, and experts that get there and change nothing."""

import subprocess
import sys

import gymnasium as gym
import numpy as np
import pytest

pytest.importorskip("gymnasium_robotics")

from opengato.collection import record_episode
from opengato.domains.gymnasium_robotics import KINDS, TASKS

TASK = {task.id.removeprefix("gymnasium-robotics/"): task for task in TASKS}
QUICK = ["fetch-push", "point-maze-medium", "adroit-door", "hand-reach", "kitchen-microwave"]


def parts(observation):
    return np.concatenate([np.ravel(part) for part in observation.values()] if isinstance(observation, dict) else [observation])


def check(name):
    task = TASK[name]
    env = task.make()
    inner = env.inner
    assert env.observation_space == task.observation_space and env.action_space == task.action_space
    assert inner.action_space.shape == task.action_space.shape
    np.testing.assert_array_equal([inner.action_space.low, inner.action_space.high], [task.action_space.low, task.action_space.high])
    shapes = {key: s.shape for key, s in inner.observation_space.items()} if isinstance(inner.observation_space, gym.spaces.Dict) else {}
    if shapes.get("desired_goal"):
        assert {key: s.shape for key, s in task.observation_space.items()} == {k: shapes[k] for k in ("observation", "desired_goal")}
    else:
        assert task.observation_space.shape == shapes.get("observation", inner.observation_space.shape)
    assert gym.spec(env.kind.env_id).max_episode_steps == env.kind.limit
    traces = []
    for seed in (3, 3, 4):
        observation, _ = env.reset(seed=seed)
        env.action_space.seed(0)
        trace = [parts(observation)]
        for _ in range(4):
            observation, *_, info = env.step(env.action_space.sample())
            assert task.observation_space.contains(observation) and isinstance(info["success"], bool)
            trace.append(parts(observation))
        traces.append(np.concatenate(trace))
    np.testing.assert_array_equal(traces[0], traces[1])
    assert not np.array_equal(traces[0], traces[2])
    env.close()


@pytest.mark.parametrize("name", QUICK)
def test_spaces_limits_and_seeds(name):
    check(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in TASK if name not in QUICK])
def test_spaces_limits_and_seeds_of_all_others(name):
    check(name)


def test_every_kind_is_a_task_and_the_elements_are_the_kitchens():
    from gymnasium_robotics.envs.franka_kitchen.kitchen_env import OBS_ELEMENT_GOALS

    kitchen = {f"kitchen-{element.replace(' ', '-')}" for element in OBS_ELEMENT_GOALS}
    assert set(TASK) == set(KINDS) | kitchen and len(TASK) == 32
    assert {name for name, task in TASK.items() if task.make_expert is None} == {
        name for name in TASK if name.startswith(("ant-", "adroit-", "hand-"))
    }


@pytest.mark.parametrize("name", ["fetch-push", "fetch-pick-and-place", "kitchen-microwave", "point-maze-medium"])
def test_experts_answer_wherever_they_were_brought_and_change_nothing(name):
    task = TASK[name]
    env, expert = task.make(), task.make_expert()
    observation, _ = env.reset(seed=1)
    expert.reset(env, observation, 1)
    env.action_space.seed(2)
    data = env.inner.data
    for k in range(24):
        before = data.qpos.copy(), data.qvel.copy(), data.site_xpos.copy(), data.time
        advice = expert.act(observation)
        assert task.action_space.contains(advice)
        for was, now in zip(before, (data.qpos, data.qvel, data.site_xpos, data.time), strict=True):
            np.testing.assert_array_equal(was, now)
        observation, *_ = env.step(env.action_space.sample() if k % 2 else advice)


@pytest.mark.parametrize("name", ["fetch-reach", "fetch-push", "fetch-pick-and-place", "point-maze-umaze", "kitchen-microwave"])
def test_experts_get_there(name):
    task = TASK[name]
    env = task.make()
    assert sum(record_episode(task, env, task.make_expert(), seed)[0].success for seed in range(3)) == 3


def test_listing_imports_no_simulator():
    code = "import sys; import opengato.domains.gymnasium_robotics; assert not {'mujoco', 'gymnasium_robotics'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
