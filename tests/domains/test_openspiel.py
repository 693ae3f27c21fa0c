"""OpenSpiel: the rules are the library's, illegal moves and opponents are as documented, and the experts are worth what theory says."""

import os
import shutil

import numpy as np
import pytest

from opengato.collection import record_episode
from opengato.domains import get_task
from opengato.domains.openspiel import TASKS
from opengato.domains.openspiel.games import GAMES
from opengato.errors import OpenGatoError
from opengato.references import RandomAgent

if not TASKS[0].available:
    pytest.skip("open_spiel", allow_module_level=True)

import pyspiel

from opengato.domains.openspiel import engines, players


def returns_of(task, agent, seeds):
    env = task.make()
    return [record_episode(task, env, agent(), seed)[0].episode_return for seed in seeds]


def installed(engine):
    return shutil.which(engine, path=f"{os.environ['PATH']}:{engines._FOLDERS}") is not None


SEARCHED = [task for task in TASKS if "go-9x9" not in task.id and "chess" not in task.id]


@pytest.mark.parametrize("task", SEARCHED, ids=lambda task: task.id)
def test_stated_spaces_are_the_games_and_seeds_decide(task):
    game = pyspiel.load_game(
        GAMES[task.id.removeprefix("openspiel/").removesuffix("-random").removesuffix("-mcts").removesuffix("-cfr")].name
    )
    assert task.action_space.n == game.num_distinct_actions()
    assert task.observation_space["board"].shape == (np.prod(game.observation_tensor_shape()),)
    env = task.make()
    first, again, other = (record_episode(task, env, RandomAgent(), seed)[0] for seed in (3, 3, 4))
    for one, two in ((first, again), (first, other)):
        same = len(one) == len(two) and np.array_equal(one.observations["board"], two.observations["board"])
        assert same == (two is again) or len(one) < 10  # short games may go alike
    assert all(seen in task.observation_space["board"] for seen in first.observations["board"])
    assert (first.observations["legal"].sum(1) > 0).all()  # it is asked only where it has a move
    assert (np.abs(first.rewards[:-1]).sum() == 0) == ("poker" not in task.id)


def test_a_game_goes_as_the_library_has_it():
    """The agent's own legal moves and the opponent's, replayed in a game of its own, end as the environment says."""
    env = get_task("openspiel/connect-four-random").make()
    for seed in range(6):
        observation, _ = env.reset(seed=seed)
        rng, over, total = np.random.default_rng(seed), False, 0.0
        while not over:
            action = int(rng.choice(np.flatnonzero(observation["legal"])))
            observation, reward, over, _, info = env.step(action)
            total += reward
            assert info["legal"]
        replayed = pyspiel.load_game("connect_four").new_initial_state()
        for action in env.state.history():
            replayed.apply_action(action)
        assert replayed.is_terminal() and total == replayed.returns()[env.side] and info["success"] == (total > 0)


def test_an_illegal_move_is_replaced_by_a_legal_one():
    env = get_task("openspiel/tic-tac-toe-random").make()
    replaced = set()
    for seed in range(30):
        observation, _ = env.reset(seed=seed)
        if observation["side"] == 0:
            continue
        taken = int(np.flatnonzero(observation["legal"] == 0)[0])
        before = env.state.history()
        _, _, _, _, info = env.step(taken)
        played = env.state.history()[len(before)]
        assert not info["legal"] and observation["legal"][played] == 1
        replaced.add(played)
    assert len(replaced) > 3  # drawn, not always the same


def test_both_sides_are_drawn_and_the_opponent_searches():
    env = get_task("openspiel/tic-tac-toe-mcts").make()
    assert {int(env.reset(seed=seed)[0]["side"]) for seed in range(10)} == {0, 1}
    mcts, random = (returns_of(get_task(f"openspiel/connect-four-{name}"), RandomAgent, range(12)) for name in ("mcts", "random"))
    assert np.mean(mcts) < -0.7 < np.mean(random)


def test_search_never_loses_at_what_is_a_draw():
    """Tic-tac-toe is a draw by perfect play (so is the expert's against a searching opponent), and won or drawn against any other."""
    for opponent in ("mcts", "random"):
        task = get_task(f"openspiel/tic-tac-toe-{opponent}")
        assert min(returns_of(task, task.make_expert, range(10))) >= 0


def test_search_plays_nim_as_theory_does():
    """Misère nim, OpenSpiel's default (who takes the last object loses): from a won position of six objects or fewer it leaves none."""

    def winning(piles):  # for who is to move: Bouton 1901
        return (max(piles) > 1 and np.bitwise_xor.reduce(piles) != 0) or (max(piles) <= 1 and sum(piles) % 2 == 0)

    play, rng, asked = players.searching(1000), np.random.default_rng(0), 0
    for seed in range(60):
        state = pyspiel.load_game("nim").new_initial_state()
        for _ in range(rng.integers(3, 8)):
            if not state.is_terminal():
                state.apply_action(int(rng.choice(state.legal_actions())))
        piles = [int(n) for n in str(state).split(":")[1].split()] if not state.is_terminal() else [0]
        if state.is_terminal() or sum(piles) > 6 or not winning(piles):
            continue
        state.apply_action(play(state, seed))
        if not state.is_terminal():
            assert not winning([int(n) for n in str(state).split(":")[1].split()])
        asked += 1
    assert asked >= 8


def test_a_players_move_is_a_function_of_position_and_seed():
    state = pyspiel.load_game("othello").new_initial_state()
    for player in (players.at_random, players.searching(50)):
        moves = [player(state, seed) for seed in range(8)]
        assert moves == [player(state, seed) for seed in range(8)]
        assert len(set(moves)) > 1 and state.history() == []


@pytest.mark.parametrize(("opponent", "worth"), [("random", (0.5 + 5 / 12) / 2), ("cfr", 0.0)])
def test_the_best_response_to_kuhn_poker_is_worth_what_can_be_computed(opponent, worth):
    """By hand, to a random opponent: 1/2 a hand for who begins, 5/12 for who does not; to an equilibrium the two sides' values sum to 0."""
    task = get_task(f"openspiel/kuhn-poker-{opponent}")
    hands = np.array(returns_of(task, task.make_expert, range(30))) / 100
    assert abs(hands.mean() - worth) < 4 * hands.std() / np.sqrt(len(hands))
    assert hands.mean() > np.mean(returns_of(task, RandomAgent, range(30))) / 100 + 0.05


def test_the_equilibrium_can_hardly_be_exploited():
    game = pyspiel.load_game("kuhn_poker")
    policy = players._policy("kuhn_poker", "cfr")
    assert pyspiel.exploitability(game, policy) < 0.002
    value = pyspiel.expected_returns(game.new_initial_state(), [policy, policy], -1, False)
    assert value[0] == pytest.approx(-1 / 18, abs=0.002)  # Kuhn 1950


# ---- engines --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["gnugo", "stockfish"])
def test_a_missing_engine_names_its_package(engine, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(engines, "_FOLDERS", str(tmp_path))
    for known in (engines._gnugo, engines._stockfish):
        known.cache_clear()
    name = {"gnugo": "go-9x9", "stockfish": "chess"}[engine]
    with pytest.raises(OpenGatoError, match=f"engine '{engine}' is not installed: apt-get install {engine}"):
        get_task(f"openspiel/{name}-{engine}").make()
    task = get_task(f"openspiel/{name}-random")
    with pytest.raises(OpenGatoError, match=f"apt-get install {engine}"):
        task.make_expert()
    task.make()  # against whom no engine is needed


@pytest.mark.skipif(not installed("stockfish"), reason="stockfish")
def test_chess_is_played_in_words():
    task = get_task("openspiel/chess-stockfish")
    env, expert = task.make(), task.make_expert()
    openings = set()
    for seed in (0, 1):
        observation, _ = env.reset(seed=seed)
        assert observation in task.observation_space and env.action_space == task.action_space
        openings.add(observation["board"])
        expert.reset(env, observation, seed)
        over, total, engine = False, 0.0, engines._stockfish(os.getpid())
        while not over:
            engine.ask(f"position fen {observation['board']}", None)  # an engine of others counts as many legal moves
            counted = engine.ask("go perft 1", lambda line: line.startswith("Nodes searched"))
            assert len(observation["legal"].split()) == int(counted.split(":")[1])
            move = expert.act(observation)
            assert move in observation["legal"].split()
            observation, reward, over, late, info = env.step(move)
            total, over = total + reward, over or late
            assert info["legal"]
        assert total == 1 and observation["legal"] == ""
    assert len(openings) == 2
    env.reset(seed=0)
    assert not env.step("castle at once")[4]["legal"]


@pytest.mark.slow
@pytest.mark.skipif(not installed("gnugo"), reason="gnugo")
def test_go_is_played_by_gnu_go():
    """Level 10 beats level 1, and both beat chance; what it plays is a function of position and seed."""
    state = pyspiel.load_game("go(board_size=9)").new_initial_state()
    weak = engines.gnugo(1)
    assert [weak(state, seed) for seed in range(6)] == [weak(state, seed) for seed in range(6)]
    for name, seeds in (("random", (0, 1)), ("gnugo", (0, 1, 2))):
        task = get_task(f"openspiel/go-9x9-{name}")
        assert np.mean(returns_of(task, task.make_expert, seeds)) > 0


def test_the_expert_labels_states_that_it_did_not_bring_about():
    task = get_task("openspiel/hex-random")
    env, expert = task.make(), task.make_expert()
    observation, _ = env.reset(seed=1)
    expert.reset(env, observation, 1)
    over = False
    while not over:
        before = env.state.history()
        assert observation["legal"][expert.act(observation)] == 1 and env.state.history() == before
        observation, _, over, _, _ = env.step(int(np.flatnonzero(observation["legal"])[-1]))
