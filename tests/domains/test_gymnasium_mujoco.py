"""Gymnasium's bodies: stated spaces and limits, seeds, rewards over arrays against Gymnasium's own, and plans that pay."""

import subprocess
import sys

import gymnasium as gym
import numpy as np
import pytest

pytest.importorskip("mujoco")

import mujoco

from opengato.collection import record_episode
from opengato.domains.gymnasium_mujoco import RECIPES, TASKS
from opengato.experts.icem import Rolled
from opengato.references import RandomAgent

by_task = pytest.mark.parametrize("task", TASKS, ids=lambda t: t.id)


def recipe_of(task):
    return RECIPES[task.id.split("/")[1]]


@by_task
def test_spaces_limits_and_seeds(task):
    env, recipe = task.make(), recipe_of(task)
    inner = env.inner
    assert inner.action_space == task.action_space == env.action_space
    assert inner.observation_space.shape == task.observation_space.shape and env.observation_space == task.observation_space
    assert gym.spec(recipe.env_id).max_episode_steps == recipe.limit
    traces = []
    for seed in (3, 3, 4):
        observation, _ = env.reset(seed=seed)
        env.action_space.seed(0)
        trace = [observation, task.start(env)["positions"].copy()]
        for _ in range(5):
            observation, *_ = env.step(env.action_space.sample())
            assert task.observation_space.contains(observation)
            trace.append(observation)
        traces.append(np.concatenate(trace))
    np.testing.assert_array_equal(traces[0], traces[1])
    assert not np.array_equal(traces[0], traces[2])


def rewarded(task, env, action):
    """Gymnasium's own reward of a step and whether that ends the episode, without what contact costs, of frames that are not a step old."""
    name, inner = task.id.split("/")[1], env.inner
    model, data = inner.model, inner.data

    def x():
        mujoco.mj_kinematics(model, data)
        mujoco.mj_comPos(model, data)
        return data.xpos[1, 0] if name == "ant" else data.xipos[:, 0] @ model.body_mass / model.body_mass.sum()

    before = x()
    _, reward, ended, _, info = inner.step(action)
    after = x()
    if name in ("ant", "humanoid"):
        reward, info = inner._get_rew((after - before) / inner.dt, action)
    if name in ("reacher", "pusher"):
        reward, info = inner._get_rew(action)
    if name == "inverted-double-pendulum":
        along, _, high = data.site_xpos[0]
        ended = ended or high <= 1
        reward, info = inner._get_rew(along, high, high <= 1)
    return reward - info.get("reward_contact", 0.0) - info.get("reward_impact", 0.0), ended


@by_task
def test_planned_reward_is_gymnasiums(task):
    env, reward = task.make(), recipe_of(task).reward
    data, rewards = env.inner.data, []
    for seed in range(3):
        env.reset(seed=seed)
        env.action_space.seed(seed)
        poses, states, wanted = [data.qpos.copy()], [], []
        for _ in range(60):
            action = env.action_space.sample()
            expected, ended = rewarded(task, env, action)
            wanted.append(expected)
            states.append((data.qpos.copy(), data.qvel.copy(), np.asarray(action, np.float64), data.sensordata.copy()))
            poses.append(data.qpos.copy())
            if ended:
                break
        for t in {0, min(1, len(states) - 1), len(states) // 2}:  # from any step on
            later = Rolled(*(np.array(part)[None] for part in zip(*states[t:], strict=True)), env.inner.model, poses[t])
            np.testing.assert_allclose(reward(later)[0], wanted[t:], atol=1e-6)
        rewards += wanted
    assert len(set(rewards)) > 1


def test_what_comes_after_the_end_counts_nothing():
    task = next(t for t in TASKS if t.id.endswith("/hopper"))
    env = task.make()
    env.reset(seed=0)
    pose = env.inner.data.qpos.copy()
    qpos = np.repeat(pose[None, None], 4, axis=1)
    qpos[0, 1, 1] = 0.5  # fallen at the second step, and standing again at the next
    rolled = Rolled(qpos, np.zeros((1, 4, 6)), np.zeros((1, 4, 3)), np.zeros((1, 4, 0)), env.inner.model, pose)
    np.testing.assert_allclose(recipe_of(task).reward(rolled), [[1, 0, 0, 0]], atol=1e-9)


@pytest.mark.parametrize("name", ["hopper", "humanoid"])
def test_planning_rolls_out_as_the_environment_does_and_leaves_it_alone(name):
    task = next(t for t in TASKS if t.id.endswith(f"/{name}"))
    env, expert = task.make(), task.make_expert()
    observation, _ = env.reset(seed=3)
    expert.reset(env, observation, 3)
    data, planner = env.inner.data, expert._planner
    env.action_space.seed(0)
    actions = np.array([env.action_space.sample() for _ in range(8)], np.float64)
    qpos, qvel = planner.simulate(planner.state_of(data), actions[None], data.qacc_warmstart.copy())
    before = data.qpos.copy(), data.qvel.copy()
    assert task.action_space.contains(expert.act(observation))
    np.testing.assert_array_equal(np.concatenate(before), np.concatenate([data.qpos, data.qvel]))
    for t in range(8):
        env.step(actions[t])
        np.testing.assert_allclose(qpos[0, t], data.qpos, atol=1e-10)
        np.testing.assert_allclose(qvel[0, t], data.qvel, atol=1e-8)


def test_listing_imports_no_simulator():
    code = "import sys; import opengato.domains.gymnasium_mujoco; assert 'mujoco' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "least"), [("pusher", -80), ("reacher", -8)])
def test_plans_beat_the_random_agent_by_far(name, least):
    task = next(t for t in TASKS if t.id.endswith(f"/{name}"))
    env = task.make()
    planned = record_episode(task, env, task.make_expert(), 0)[0].episode_return
    random = record_episode(task, env, RandomAgent(), 0)[0].episode_return
    assert planned > least > random
