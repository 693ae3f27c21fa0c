"""Atari: every game that is listed loads, and games otherwise played are tasks of their own."""

import numpy as np
import pytest

from opengato.domains import atari, atari_extended, get_task, tasks
from opengato.domains.atari_human import HUMANS
from opengato.domains.task import Human
from opengato.errors import OpenGatoError

ale_py = pytest.importorskip("ale_py")


def test_all_games_of_ale_are_listed_but_those_that_end_the_process():
    from ale_py import roms

    assert {*atari.GAMES, *atari.MORE_GAMES} == {*roms.get_all_rom_ids()} - {"combat", "joust", "maze_craze", "warlords"}
    assert len(atari.GAMES) == 57 and not {*atari.GAMES} & {*atari.MORE_GAMES}


@pytest.mark.parametrize("game", ["frogger", "tetris", "video_cube"])
def test_more_games_play(game):
    task = get_task(f"atari/{game.replace('_', '-')}")
    env = task.make()
    observation, _ = env.reset(seed=0)
    assert observation in task.observation_space
    assert env.step(3)[0] in task.observation_space


def test_a_game_otherwise_played_is_a_task_of_its_own():
    usual = get_task("atari/pong,max_steps=27000")
    both = get_task("atari/pong-sticky,max_steps=50")
    assert usual.id not in tasks() and not usual.measured and usual.make().max_steps == 27_000
    env = both.make()
    env.reset(seed=0)
    ended = [env.step(0)[3] for _ in range(50)]
    assert env.sticky == 0.25 and ended == [False] * 49 + [True]
    with pytest.raises(OpenGatoError, match="max_steps of task 'atari/pong,max_steps=many' is 'many': give a number"):
        get_task("atari/pong,max_steps=many")
    with pytest.raises(OpenGatoError, match="did you mean"):
        get_task("atari/pang,max_steps=5")


def test_extended_games_have_the_variants_that_are_told():
    assert len(atari_extended.VARIANTS) >= 28 and not {*atari_extended.VARIANTS} & {*atari.GAMES}
    for game, counts in atari_extended.VARIANTS.items():
        ale = atari.Atari(game).ale
        assert (len(ale.getAvailableModes()), len(ale.getAvailableDifficulties())) == counts and max(counts) > 1, game


@pytest.mark.parametrize("game", ["human-cannonball", "pacman"])
def test_each_episode_draws_its_variant_and_plays_in_it(game):
    task = get_task(f"atari-extended/{game}")
    env = task.make()
    starts = {}
    for seed in range(40):
        env.reset(seed=seed)
        assert (env.ale.cloneState().getCurrentMode(), env.ale.cloneState().getDifficulty()) == env.variant
        starts[seed] = task.start(env)
    modes, difficulties = atari_extended.VARIANTS[game.replace("-", "_")]
    assert len({start["variant"] for start in starts.values()}) > modes * difficulties / 2
    env.reset(seed=7)
    again = task.start(env)
    assert again["variant"] == starts[7]["variant"]
    np.testing.assert_array_equal(again["memory"], starts[7]["memory"])
    assert not env.sticky


def test_people_have_played_every_game_of_the_usual_benchmark():
    assert set(HUMANS) == {*atari.GAMES} and all(human.human > human.random for human in HUMANS.values())
    assert get_task("atari/breakout").human == get_task("atari/breakout-sticky").human == Human(1.7, 30.5)
    assert get_task("atari/pitfall").human == Human(-229.4, 6463.7) and get_task("atari/tetris").human is None
