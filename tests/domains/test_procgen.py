"""Procgen: levels by their number, states that come back to the bit, experts that leave the game as it was and win it."""

import dataclasses
import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from opengato.collection import record_episode
from opengato.domains import get_task, match_tasks
from opengato.domains.starts import SEEDS
from opengato.errors import OpenGatoError
from opengato.experts.level_search import Exploration, find_reward

pytest.importorskip("gym3")
procgen = pytest.importorskip("opengato.domains.procgen")
if not get_task("procgen/maze-easy").available:
    pytest.skip("procgen", allow_module_level=True)


@pytest.mark.parametrize("task", match_tasks(["procgen"]), ids=lambda task: task.id)
def test_a_level_is_a_function_of_its_number(task):
    env = task.make()
    assert env.observation_space == task.observation_space and env.action_space == task.action_space
    actions = np.random.default_rng(0).integers(15, size=20)

    def play(seed):
        frames = [env.reset(seed=seed)[0]]
        for action in actions:
            frame, reward, terminated, truncated, info = env.step(action)
            frames.append(frame)
            assert frame in task.observation_space and isinstance(reward, float) and info["success"] in (True, False)
            if terminated or truncated:
                break
        return np.stack(frames)

    first = play(3)
    np.testing.assert_array_equal(play(3), first)
    other = play(4)
    assert other.shape != first.shape or (other != first).any()
    env.close()


def test_training_levels_and_those_of_evaluation_are_apart():
    for mode, training in procgen.TRAINING_LEVELS.items():
        trained = {procgen.level_of(seed, mode) for seed in range(3_000)}
        evaluated = {procgen.level_of(seed, mode) for seed in SEEDS}
        assert trained == set(range(training)) and not trained & evaluated and len(evaluated) == len(SEEDS)
    env = get_task("procgen/maze-hard").make()
    assert env.reset(seed=501)[1]["level"] == 1 and env.reset(options={"level": 77})[1]["level"] == 77
    assert env.reset(seed=SEEDS.start + 2)[1]["level"] == 502
    assert len({env.reset()[1]["level"] for _ in range(5)} - set(range(500))) == 0


@pytest.mark.parametrize("name", ["coinrun", "starpilot", "plunder"])
def test_a_saved_game_goes_on_as_it_went_on(name):
    """To the bit, rewards, frames and what is saved next, from the middle of a level; and the agent is where the picture changes."""
    game = procgen.Game(name, "easy", 5)
    rng = np.random.default_rng(1)
    for action in rng.integers(15, size=25):
        game.step(int(action))
    state, actions = game.save(), rng.integers(15, size=30)

    def play():
        seen = []
        for action in actions:
            game.step(int(action))
            seen.append((game.reward, game.over, game.frame.tobytes(), game.save()))
        return seen

    first = play()
    game.restore(state)
    assert game.save() == state and play() == first


def test_the_agent_is_found_in_a_saved_game():
    """In a maze, where a step is a cell: as it is told to go, unless there is a wall."""
    env = get_task("procgen/maze-easy").make()
    env.reset(options={"level": 4})
    moves = {1: (-1, 0), 7: (1, 0), 5: (0, 1), 3: (0, -1)}
    moved = 0
    before = procgen.entities(env.game.save())[0, :2].copy()
    for action in np.random.default_rng(0).choice([1, 7, 5, 3], 40):
        _, _, ended, _, _ = env.step(action)
        if ended:
            break
        after = procgen.entities(env.game.save())[0, :2].copy()
        assert tuple(after - before) in ((0, 0), moves[action])
        moved += tuple(after - before) != (0, 0)
        before = after
    assert moved >= 5


@pytest.mark.parametrize(("name", "limit"), [("maze-easy", 500), ("coinrun-easy", 1_000)])
def test_who_does_nothing_is_stopped_at_the_games_own_limit(name, limit):
    env = get_task(f"procgen/{name}").make()
    env.reset(options={"level": 12})
    for step in range(limit):
        _, _, terminated, truncated, info = env.step(4)
        assert (terminated, truncated) == (False, step + 1 == limit) and not info["success"]
    assert procgen.time_limit(procgen.Game("bossfight", "easy", 0).save()) == 4_000


class Corridor:
    """Cells in a row, the reward at the right end; at the left end the game is over."""

    def __init__(self):
        self.at, self.reward, self.over, self.complete = 3, 0.0, False, False

    def step(self, action):
        self.at += (-1, 1)[action]
        self.reward, self.over, self.complete = float(self.at == 8), self.at in (0, 8), self.at == 8

    def save(self):
        return self.at

    def restore(self, state):
        self.at, self.reward, self.over, self.complete = state, 0.0, False, False


def test_exploration_finds_the_shortest_way_and_leaves_the_game_as_it_was():
    level = Corridor()
    assert find_reward(level, lambda state, _: (state, 0.0), Exploration((0, 1), hold=1)) == [1] * 5
    assert find_reward(level, lambda state, _: (state, 0.0), Exploration((0, 1), hold=2)) == [1] * 5
    assert (level.at, level.reward, level.over) == (3, 0.0, False)
    assert len(find_reward(level, lambda state, _: (state, 2.0 * state), Exploration((0, 1), hold=1, most=2))) == 1  # out of patience


@pytest.mark.parametrize("name", ["procgen/maze-easy", "procgen/bigfish-easy"])
def test_an_expert_leaves_the_game_as_it_was(name):
    task = get_task(name)
    env, untouched, expert = task.make(), task.make(), task.make_expert()
    observation, _ = env.reset(seed=1)
    untouched.reset(seed=1)
    expert.reset(env, observation, 1)
    for k in range(6):
        state, frame = env.game.save(), env.render().copy()
        action = expert.act(observation)
        assert env.game.save() == state
        np.testing.assert_array_equal(env.render(), frame)
        if k == 3:
            action = 4  # as if another played
        observation, *rest = env.step(action)
        seen, *same = untouched.step(action)
        np.testing.assert_array_equal(observation, seen)
        assert rest == same
        if rest[1]:
            break


@pytest.mark.parametrize("name", ["procgen/maze-easy", "procgen/coinrun-easy"])
def test_explorers_win(name):
    task = get_task(name)
    episodes = [record_episode(task, task.make(), task.make_expert(), seed)[0] for seed in (SEEDS.start, SEEDS.start + 1)]
    assert [episode.episode_return for episode in episodes] == [10, 10] and all(episode.success for episode in episodes)


def test_nothing_is_left_behind():
    """The games start no process, and no thread that could outlive Python."""
    program = textwrap.dedent("""
        import os
        from opengato.domains import make
        envs = [make("procgen/bigfish-easy"), make("procgen/maze-hard")]
        for env in envs:
            env.reset(seed=0); env.step(4)
        children = open(f"/proc/self/task/{os.getpid()}/children").read().split()
        print(len(children), len(os.listdir("/proc/self/task")))
    """)
    one = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=os.environ | one, check=True, timeout=300)
    assert done.stdout.split() == ["0", "1"]


def test_where_it_is_missing_the_whole_command_is_named():
    task = dataclasses.replace(get_task("procgen/maze-easy"), requires="a_simulator_that_is_not_there")
    with pytest.raises(OpenGatoError, match=r'pip install "opengato\[procgen\]" && pip install --no-deps procgen-mirror'):
        task.make()
