"""Who plays: at random, by Monte Carlo tree search, by an equilibrium or against one; each a function of the position and a seed."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import gymnasium as gym
import numpy as np

from opengato.domains.openspiel import engines
from opengato.domains.openspiel.games import Game

# From a position in which it is to move and a seed of 31 bits, the number of a legal action.
Player = Callable[[Any, int], int]

_UCT = 1.4  # the weight of what is little known, √2 as it is usual
_MEMORY_MB = 200
_ITERATIONS = 100  # of the solver: kuhn_poker's can then be exploited by 0.0012 chips a hand, leduc_poker's by 0.0134


def at_random(state: Any, seed: int) -> int:
    """Each legal action as likely."""
    return int(np.random.default_rng(seed).choice(state.legal_actions()))


def searching(simulations: int) -> Player:
    """Monte Carlo tree search, one random game from each leaf, positions that are decided proven; of games in which all is seen."""

    def play(state: Any, seed: int) -> int:
        import pyspiel

        rollouts = pyspiel.RandomRolloutEvaluator(1, seed)
        bot = pyspiel.MCTSBot(state.get_game(), rollouts, _UCT, simulations, _MEMORY_MB, True, seed, False)
        return int(bot.step(state))

    return play


@cache
def _policy(name: str, player: str) -> Any:
    """OpenSpiel's, of the players that a game of hidden cards has: "random", or "cfr", the average strategy of CFR+."""
    import pyspiel

    game = pyspiel.load_game(name)
    if player == "random":
        return pyspiel.UniformRandomPolicy(game)
    solver = pyspiel.CFRPlusSolver(game)
    for _ in range(_ITERATIONS):
        solver.evaluate_and_update_policy()
    return solver.tabular_average_policy()


@cache
def _response(name: str, player: str, side: int) -> Any:
    import pyspiel

    return pyspiel.TabularBestResponse(pyspiel.load_game(name), side, _policy(name, player)).get_best_response_policy()


def _drawn(chances: dict[int, float], seed: int) -> int:
    actions, share = list(chances), np.array(list(chances.values()), np.float64)
    return int(np.random.default_rng(seed).choice(actions, p=share / share.sum()))


def solved(name: str) -> Player:
    """An equilibrium, by what the player to move knows, its chances drawn by the seed."""

    def play(state: Any, seed: int) -> int:
        return _drawn(_policy(name, "cfr").action_probabilities(state), seed)

    return play


def responding(name: str, player: str) -> Player:
    """The best response to another player of hidden cards, whose strategy it knows and whose cards it does not."""

    def play(state: Any, seed: int) -> int:
        return _drawn(_response(name, player, state.current_player()).action_probabilities(state), seed)

    return play


def opponent(game: Game, name: str, simulations: int) -> Player:
    """The opponent of a name, "random", "mcts", "cfr", "gnugo" or "stockfish". Raises OpenGatoError where it is not installed."""
    if name == "gnugo":
        return engines.gnugo(level=1)
    if name == "stockfish":
        return engines.stockfish(nodes=50)
    return {"random": at_random, "mcts": searching(simulations), "cfr": solved(game.name)}[name]


def master(game: Game, against: str, simulations: int) -> Player:
    """The best player that there is of a game, against this opponent."""
    if game.engine:
        return engines.gnugo(level=10) if game.engine == "gnugo" else engines.stockfish(nodes=5_000)
    return responding(game.name, against) if game.hidden else searching(simulations)


class Master:
    """The expert: it searches further than its opponent does, or where cards are hidden answers best to how the opponent plays them."""

    def __init__(self, game: Game, against: str, simulations: int):
        self._play = master(game, against, simulations)

    def reset(self, env: gym.Env, observation: Any, seed: int) -> None:
        self._table: Any = env.unwrapped
        self._rng = np.random.default_rng([seed, 1])

    def act(self, observation: Any) -> int | str:
        move: int | str = self._table.named(self._play(self._table.state, int(self._rng.integers(2**31))))
        return move
