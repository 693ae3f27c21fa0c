"""Every domain: declared spaces are the environment's, seeds decide, experts beat the random agent."""

import dataclasses

import numpy as np
import pytest

from opengato.collection import record_episode
from opengato.domains import get_task, match_tasks, tasks
from opengato.domains.metaworld import TASKS
from opengato.errors import OpenGatoError
from opengato.references import RandomAgent
from opengato.tokens.layout import Layout

QUICK = [
    "babyai/go-to-local",
    "babyai/pickup-loc",
    "babyai/open-door",
    "metaworld/reach",
    "metaworld/drawer-open",
    "dm-control/reacher-easy",
    "dm-control/cartpole-balance",
    "atari/pong",
]


def flat(observation):
    if isinstance(observation, dict):
        return np.concatenate(
            [
                np.atleast_1d(np.frombuffer(v.encode(), np.uint8) if isinstance(v, str) else np.ravel(v))
                for _, v in sorted(observation.items())
            ]
        )
    return np.ravel(observation)


@pytest.mark.parametrize("name", QUICK)
def test_spaces_and_seeds(name):
    task = get_task(name)
    if not task.available:
        pytest.skip(task.extra)
    env = task.make()
    assert env.action_space == task.action_space
    traces = []
    for seed in (5, 5, 6):
        observation, _ = env.reset(seed=seed)
        assert task.observation_space.contains(observation)
        env.action_space.seed(1)
        trace = [flat(observation)]
        for _ in range(12):
            observation, reward, terminated, truncated, _ = env.step(env.action_space.sample())
            assert task.observation_space.contains(observation) and isinstance(reward, float)
            trace.append(flat(observation))
            if terminated or truncated:
                break
        traces.append(np.concatenate(trace))
    np.testing.assert_array_equal(traces[0], traces[1])
    assert len(traces[0]) != len(traces[2]) or not np.array_equal(traces[0], traces[2])


@pytest.mark.parametrize(
    "name", ["babyai/go-to-local", "babyai/pickup-loc", "babyai/open-door", "metaworld/reach", "metaworld/window-close"]
)
def test_experts_solve_their_tasks(name):
    task = get_task(name)
    if not task.available:
        pytest.skip(task.extra)
    env, expert = task.make(), task.make_expert()
    solved = [record_episode(task, env, expert, seed)[0].success for seed in range(5)]
    assert sum(solved) >= 4


def test_experts_leave_their_observation_as_it_is():
    """Those of Meta-World, two of whose own policies move the door in the array that they are given."""
    pytest.importorskip("metaworld")
    for task in TASKS:
        expert = task.make_expert()
        seen = np.linspace(-0.5, 0.7, 39)
        expert.reset(None, seen, 0)
        expert.act(seen)
        np.testing.assert_array_equal(seen, np.linspace(-0.5, 0.7, 39), err_msg=task.id)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "least"),
    [
        ("dm-control/cartpole-balance", 900),
        ("dm-control/reacher-easy", 900),
        ("dm-control/point-mass-easy", 700),
        ("dm-control/pendulum-swingup", 500),
    ],
)
def test_planners_beat_the_random_agent_by_far(name, least):
    task = get_task(name)
    if not task.available:
        pytest.skip(task.extra)
    env = task.make()
    planned = record_episode(task, env, task.make_expert(), 0)[0].episode_return
    random = record_episode(task, env, RandomAgent(), 0)[0].episode_return
    assert planned > least > 1.5 * random


@pytest.mark.slow
def test_search_wins_at_pong():
    task = get_task("atari/pong")
    if not task.available:
        pytest.skip(task.extra)
    assert record_episode(task, task.make(), task.make_expert(), 0)[0].episode_return >= 5


def test_search_leaves_the_game_as_it_was():
    task = get_task("atari/breakout")
    if not task.available:
        pytest.skip(task.extra)
    env, untouched, expert = task.make(), task.make(), task.make_expert()
    observation, _ = env.reset(seed=0)
    untouched.reset(seed=0)
    expert.reset(env, observation, 0)
    for _ in range(30):
        ram, screen = env.ale.getRAM().copy(), env.render().copy()
        action = expert.act(observation)
        np.testing.assert_array_equal(ram, env.ale.getRAM())
        np.testing.assert_array_equal(screen, env.render())
        observation, *rest = env.step(action)
        seen, *others = untouched.step(action)
        np.testing.assert_array_equal(observation, seen)
        np.testing.assert_array_equal(env.ale.getRAM(), untouched.ale.getRAM())
        np.testing.assert_array_equal(env.render(), untouched.ale.getScreenRGB())
        assert rest == others


def test_planning_rolls_out_as_the_environment_does():
    task = get_task("dm-control/cartpole-two-poles")
    if not task.available:
        pytest.skip(task.extra)
    env, expert = task.make(), task.make_expert()
    observation, _ = env.reset(seed=3)
    expert.reset(env, observation, 3)
    physics, planner = env.inner.physics, expert._planner
    actions = np.random.default_rng(0).uniform(-1, 1, (1, 30, 1))
    qpos, qvel = planner.simulate(planner.state_of(physics.data.ptr), actions)
    for t in range(30):
        env.step(actions[0, t])
        np.testing.assert_allclose(qpos[0, t], physics.data.qpos, atol=1e-12)
        np.testing.assert_allclose(qvel[0, t], physics.data.qvel, atol=1e-12)


def test_every_task_has_a_layout_and_is_listed_without_its_simulator():
    assert len(tasks()) > 150
    for task in tasks().values():
        Layout(task.observation_space, task.action_space)


def test_names():
    assert [t.id for t in match_tasks(["metaworld/drawer-*"])] == ["metaworld/drawer-close", "metaworld/drawer-open"]
    mazes = match_tasks(["gymnasium-robotics/*-maze-*"], with_expert=True)
    assert mazes and all(t.make_expert for t in mazes) and len(mazes) < len(match_tasks(["gymnasium-robotics/*-maze-*"]))
    # What is named stays, so that whoever named it is told why it will not do.
    (named,) = match_tasks(["gymnasium-robotics/ant-maze-umaze"], with_expert=True)
    assert named.make_expert is None
    with pytest.raises(OpenGatoError, match="did you mean 'babyai/go-to-local'"):
        get_task("babyai/goto-local")


def test_a_missing_simulator_names_the_command_that_installs_it():
    task = dataclasses.replace(get_task("metaworld/reach"), requires="a_simulator_that_is_not_there")
    assert not task.available
    with pytest.raises(OpenGatoError, match=r'pip install "opengato\[metaworld\]"'):
        task.make()


def test_canonical_metaworld_has_its_own_limit_and_ends_where_it_is_solved():
    """500 steps by Meta-World's own attribute; the expert's success of the first 200 steps is the same in both, at the same step."""
    task = get_task("metaworld/drawer-open")
    if not task.available:
        pytest.skip(task.extra)
    canonical = task.canonical
    env, usual = canonical.make(), task.make()
    assert env.unwrapped.horizon == env.unwrapped.inner.max_path_length == 500
    assert (env.observation_space, env.action_space) == (usual.observation_space, usual.action_space) and not canonical.measured
    solved, whole = (record_episode(t, e, task.make_expert(), 3)[0] for t, e in ((canonical, env), (task, usual)))
    assert solved.success and whole.success and solved.info["terminated"] and not whole.info["terminated"]
    assert len(whole) == 200 > len(solved)
    np.testing.assert_array_equal(solved.observations, whole.observations[: len(solved)])
    env.reset(seed=3)
    steps = [env.step(np.zeros(4, np.float32))[2:4] for _ in range(500)]
    assert steps[-1] == (False, True) and not any(map(any, steps[:-1]))
    with pytest.raises(OpenGatoError, match="no other rules"):
        get_task("babyai/go-to-local").canonical  # noqa: B018
