"""OGBench's goals: stated spaces, seeds, the goal in the observation, presses against brute force, and experts that get there."""

import itertools
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opengato.collection import record_episode
from opengato.domains.ogbench.experts import CUBE, cubes_next, presses
from opengato.experts.grid_path import distances, next_cell


def turned(pressed, rows, columns):
    """What presses do to a puzzle, button by button."""
    states = np.zeros((rows, columns), int)
    for k in np.flatnonzero(pressed):
        i, j = divmod(int(k), columns)
        for a, b in ((i, j), (i + 1, j), (i - 1, j), (i, j + 1), (i, j - 1)):
            if 0 <= a < rows and 0 <= b < columns:
                states[a, b] ^= 1
    return states.ravel()


def test_presses_are_the_fewest_that_there_are():
    rng = np.random.default_rng(0)
    fewest = {}
    for pressed in itertools.product((0, 1), repeat=9):
        key = tuple(turned(pressed, 3, 3))
        fewest[key] = min(sum(pressed), fewest.get(key, 9))
    for key, least in fewest.items():
        assert presses(np.zeros(9, int), np.array(key), 3, 3).sum() == least
    for rows, columns in ((4, 4), (4, 5), (4, 6)):
        for _ in range(10):
            pressed, begun = rng.integers(0, 2, (2, rows * columns))
            goal = begun ^ turned(pressed, rows, columns)
            found = presses(begun, goal, rows, columns)
            np.testing.assert_array_equal(begun ^ turned(found, rows, columns), goal)
            assert found.sum() <= pressed.sum()


def test_a_puzzle_that_no_presses_solve_is_refused():
    one = np.eye(1, 16, dtype=int)[0]
    each = np.array([turned(row, 4, 4) for row in np.eye(16)])
    all_of_them = np.array(list(itertools.product((0, 1), repeat=16))) @ each % 2
    assert not (all_of_them == one).all(1).any()
    with pytest.raises(ValueError, match="no presses"):
        presses(np.zeros(16, int), one, 4, 4)


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 8), st.randoms(use_true_random=False))
def test_cubes_come_to_their_places_whatever_stands_on_whatever(n, random):
    """Played with a hand that drops each cube exactly where it is told: nothing is moved from below another, nothing put into another."""
    spots = [(0.3 + 0.1 * i, -0.3 + 0.1 * j) for i in range(3) for j in range(7)]

    def towers():
        chosen, order = random.sample(spots, random.randint(1, n)), random.sample(range(n), n)
        heights, places = dict.fromkeys(chosen, 0), np.zeros((n, 3))
        for k in order:
            spot = random.choice(chosen)
            places[k] = (*spot, CUBE / 2 + CUBE * heights[spot])
            heights[spot] += 1
        return places

    places, goals = towers(), towers()
    for _ in range(4 * n):
        step = cubes_next(places, goals)
        if step is None:
            break
        flat = np.linalg.norm(places[:, :2] - places[step.which, :2], axis=1)
        assert not np.any((flat < CUBE) & (places[:, 2] > places[step.which, 2] + 0.01))
        others = np.delete(places, step.which, axis=0)
        assert len(others) == 0 or np.linalg.norm(others - step.target, axis=1).min() > 0.9 * CUBE
        places[step.which] = step.target
    np.testing.assert_allclose(places, goals)


def test_ways_through_a_grid():
    free = np.array([[1, 1, 1, 0], [0, 0, 1, 0], [1, 1, 1, 0], [0, 0, 0, 1]], bool)
    away = distances(free, (2, 0))
    assert away[0, 0] == 6 and away[3, 3] == away[0, 3] == -1 and away[2, 0] == 0
    cell, way = (0, 0), []
    while cell != (2, 0):
        cell = next_cell(cell, away)
        way.append(cell)
    assert way == [(0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0)]
    assert next_cell((3, 3), away) == (3, 3)


def test_listing_imports_no_simulator():
    code = "import sys; import opengato.domains.ogbench; assert not {'mujoco', 'ogbench', 'dm_control'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.fixture(scope="module")
def made():
    """Environments, made once each: task name -> (task, environment)."""
    pytest.importorskip("ogbench")
    from opengato.domains.ogbench import TASKS

    tasks, found = {task.id.removeprefix("ogbench/"): task for task in TASKS}, {}

    def make(name):
        if name not in found:
            found[name] = tasks[name], tasks[name].make()
        return found[name]

    yield make
    for _, env in found.values():
        env.close()


def check(task, env):
    inner = env.inner
    assert env.observation_space == task.observation_space and env.action_space == task.action_space == inner.action_space
    assert task.observation_space["state"].shape == inner.observation_space.shape
    traces = []
    for seed in (3, 3, 4):
        np.random.seed(len(traces))  # noqa: NPY002  what others do to NumPy's generator changes nothing
        observation, _ = env.reset(seed=seed)
        drawn = np.random.get_state()[1].copy()  # noqa: NPY002
        env.action_space.seed(0)
        trace = [observation["state"], observation["goal"]]
        for _ in range(4):
            observation, reward, *_, info = env.step(env.action_space.sample())
            assert task.observation_space.contains(observation) and reward == float(info["success"])
            trace.append(observation["state"])
        np.testing.assert_array_equal(drawn, np.random.get_state()[1])  # noqa: NPY002
        traces.append(np.concatenate(trace))
    np.testing.assert_array_equal(traces[0], traces[1])
    assert not np.array_equal(traces[0], traces[2])


@pytest.mark.parametrize("name", ["cube-double-task2", "scene-task3", "pointmaze-teleport-task1"])
def test_spaces_seeds_and_a_reward_of_success(made, name):
    check(*made(name))


@pytest.mark.slow
def test_spaces_and_seeds_of_every_environment(made):
    from opengato.domains.ogbench import ARM, MAZES

    for name in ARM | MAZES:
        check(*made(f"{name}-task5"))


@pytest.mark.parametrize("name", ["cube-double-task2", "scene-task3", "pointmaze-teleport-task1"])
def test_the_goal_is_what_the_oracle_sees_there(made, name):
    """OGBench's own representation of a goal, of a world that is put there by force."""
    env = made(name)[1]
    observation, _ = env.reset(seed=7)
    inner, goal = env.inner, observation["goal"]
    if "maze" in name:
        np.testing.assert_allclose(goal, inner.get_oracle_rep())
        inner.set_xy(inner.cur_goal_xy)
        assert inner.compute_success()
        return
    for i in range(inner._num_cubes):
        inner.data.joint(f"object_joint_{i}").qpos[:3] = inner.data.mocap_pos[inner._cube_target_mocap_ids[i]]
    if "scene" in name:
        inner._cur_button_states = inner._target_button_states.copy()
        inner.data.joint("drawer_slide").qpos[0] = inner._target_drawer_pos
        inner.data.joint("window_slide").qpos[0] = inner._target_window_pos
    np.testing.assert_allclose(goal, inner.compute_oracle_observation(), atol=1e-5)
    inner.post_step()
    assert inner._success


def test_an_expert_answers_wherever_the_arm_was_brought_and_changes_nothing(made):
    task, env = made("cube-double-task2")
    observation, _ = env.reset(seed=1)
    expert = task.make_expert()
    expert.reset(env, observation, 1)
    env.action_space.seed(2)
    for k in range(40):
        before = env.inner.data.qpos.copy(), env.state()
        advice = expert.act(observation)
        np.testing.assert_array_equal(before[0], env.inner.data.qpos)
        np.testing.assert_array_equal(before[1], env.state())
        assert task.action_space.contains(advice)
        observation, *_ = env.step(env.action_space.sample() if k % 2 else advice)
    for _ in range(300):
        observation, reward, ended, *_ = env.step(expert.act(observation))
        if ended:
            break
    assert reward == 1


@pytest.mark.parametrize("name", ["cube-double-task2", "scene-task3", "pointmaze-teleport-task1"])
def test_experts_get_there(made, name):
    task, env = made(name)
    assert record_episode(task, env, task.make_expert(), 10_000)[0].success


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["cube-single-task4", "cube-triple-task5", "cube-quadruple-task3", "scene-task5", "puzzle-3x3-task4", "puzzle-4x4-task5"]
)
def test_experts_get_there_by_many_steps(made, name):
    task, env = made(name)
    assert record_episode(task, env, task.make_expert(), 10_001)[0].success
