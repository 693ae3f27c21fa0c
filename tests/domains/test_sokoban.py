"""Sokoban: its rules, its levels, and an expert that answers in every state."""

import numpy as np
import pytest

from opengato.domains import get_task, make
from opengato.domains.sokoban import SIZES, TASKS
from opengato.domains.sokoban.levels import BOX, BOX_ON_TARGET, PLAYER, PLAYER_ON_TARGET, TARGET, read_levels
from opengato.errors import OpenGatoError

UP, RIGHT = 0, 3
LETTERS = "# .$*@+"
LEVEL = """; 0
#######
#@$ . #
#  $. #
#######
"""
DEAD = """
#####
#@  #
# $ #
#  .#
#####
"""


def text(board):
    return "\n".join("".join(LETTERS[symbol] for symbol in row) for row in board)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "000.txt").write_text(LEVEL + "\n; 1\n" + DEAD)
    return tmp_path


def test_a_level_of_a_file_is_played_by_the_rules(folder):
    env = make(f"sokoban/levels:{folder}")
    board, _ = env.reset(options={"level": read_levels(folder)[0]})
    assert text(board) == "#######\n#@$ . #\n#  $. #\n#######\n#######"  # as high as the highest, padded with walls
    played = [env.step(action) for action in (UP, RIGHT, RIGHT, RIGHT)]
    assert text(played[-1][0]).splitlines()[1] == "#   +$#"  # pushed onto the target, and off it
    assert [round(step[1], 1) for step in played] == [-0.1, -0.1, 0.9, -1.1]  # a wall; a push; onto a target; off it
    assert not any(step[2] or step[3] for step in played)
    stuck = env.step(RIGHT)  # a box at the wall
    assert text(stuck[0]) == text(played[-1][0]) and round(stuck[1], 1) == -0.1


def test_the_last_box_ends_the_episode(folder):
    env, expert = make(f"sokoban/levels:{folder}"), get_task("sokoban/boxes-4").make_expert()
    observation, _ = env.reset(options={"level": read_levels(folder)[0]})
    expert.reset(env, observation, 0)
    rewards, terminated = [], False
    while not terminated:
        observation, reward, terminated, truncated, info = env.step(expert.act(observation))
        rewards.append(reward)
        assert info["success"] == terminated and not truncated
    assert rewards[-1] == pytest.approx(10.9) and sum(rewards) == pytest.approx(12 - 0.1 * len(rewards))


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.id)
def test_seeds_give_levels_that_the_expert_solves(task):
    env, expert = task.make(), task.make_expert()
    config, limit = SIZES[task.id.removeprefix("sokoban/")]
    assert env.observation_space == task.observation_space and env.action_space == task.action_space
    levels = []
    for seed in range(6):
        observation, _ = env.reset(seed=seed)
        levels.append(observation)
        assert observation in task.observation_space
        assert (observation == BOX).sum() == config.boxes and not (observation == BOX_ON_TARGET).any()
        assert np.isin(observation, (TARGET, PLAYER_ON_TARGET)).sum() == config.boxes and (observation >= PLAYER).sum() == 1
        assert env.render().shape == (16 * config.size, 16 * config.size, 3)
        expert.reset(env, observation, seed)
        steps, ended = 0, False
        while not ended:
            observation, _, terminated, truncated, info = env.step(expert.act(observation))
            steps, ended = steps + 1, terminated or truncated
        assert info["success"] and steps <= limit
    np.testing.assert_array_equal(env.reset(seed=0)[0], levels[0])
    assert len({level.tobytes() for level in levels}) == len(levels)


def test_the_expert_answers_wherever_it_was_brought():
    """Every third move is random: it goes on from there, and on a board that is lost it pushes nothing once there is nothing to gain."""
    env = make("sokoban/boxes-3-8x8")
    expert, rng = get_task("sokoban/boxes-3-8x8").make_expert(), np.random.default_rng(0)
    solved = 0
    for seed in range(12):
        observation, _ = env.reset(seed=seed)
        expert.reset(env, observation, seed)
        ended = False
        while not ended:
            before = env.board.copy()
            advice = expert.act(observation)
            np.testing.assert_array_equal(env.board, before)
            observation, _, terminated, truncated, info = env.step(rng.integers(4) if rng.random() < 0.1 else advice)
            ended = terminated or truncated
        solved += info["success"]
    assert 4 <= solved < 12  # some were lost by chance


def test_on_a_lost_board_it_gains_what_can_be_gained_and_then_pushes_nothing():
    level = np.array([[LETTERS.index(c) for c in row] for row in ("########", "#@   .$#", "#   $  #", "# .    #", "########")])
    env = make("sokoban/boxes-4")
    observation, _ = env.reset(options={"level": level})
    expert = get_task("sokoban/boxes-4").make_expert()
    expert.reset(env, observation, 0)
    for _ in range(40):
        observation, _, terminated, _, _ = env.step(expert.act(observation))
        assert not terminated
    assert (observation == BOX_ON_TARGET).sum() == 1 and (observation == BOX).sum() == 1
    boxes = np.isin(observation, (BOX, BOX_ON_TARGET))
    for _ in range(10):
        observation, *_ = env.step(expert.act(observation))
        np.testing.assert_array_equal(np.isin(observation, (BOX, BOX_ON_TARGET)), boxes)


def test_levels_are_read_whatever_surrounds_them(folder):
    levels = read_levels(folder)
    assert levels.shape == (2, 5, 7) and text(levels[1]).splitlines()[3] == "#  .###"
    (folder / "b.txt").write_text("$.@")  # without a border
    assert text(read_levels(folder)[2]).splitlines()[:3] == ["#######", "#$.@###", "#######"]
    task = get_task(f"sokoban/levels:{folder}")
    assert task.few_starts and task.observation_space == task.make().observation_space


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("#@$.#\n#?  #", "line 1 has the letter '\\?'"),
        ("; 3\n\n#@ .#", "line 3 has 1 players, 0 boxes and 1 targets"),
        ("; nothing", "has no levels"),
    ],
)
def test_what_is_no_level_is_named(tmp_path, content, message):
    (tmp_path / "levels.txt").write_text(content)
    with pytest.raises(OpenGatoError, match=message):
        get_task(f"sokoban/levels:{tmp_path}")
    with pytest.raises(OpenGatoError, match="a folder that is not there"):
        get_task("sokoban/levels:/nowhere/at/all")
