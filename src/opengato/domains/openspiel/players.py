"""Who plays: at random, by Monte Carlo tree search, or by an equilibrium. What a player does is a function of the position and a seed."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import gymnasium as gym
import numpy as np

from opengato.domains.openspiel.games import Game

# From a position in which it is to move and a seed of 31 bits, the number of a legal action.
Player = Callable[[Any, int], int]

_UCT = 1.4  # the weight of what is little known, √2 as it is usual
_MEMORY_MB = 200
_ITERATIONS = 400  # of the solver: kuhn_poker is then exploitable by less than 0.01 chips a hand, leduc_poker by less than 0.1


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
def _equilibrium(name: str) -> Any:
    import pyspiel

    solver = pyspiel.CFRPlusSolver(pyspiel.load_game(name))
    for _ in range(_ITERATIONS):
        solver.evaluate_and_update_policy()
    return solver.average_policy()


def solved(name: str) -> Player:
    """The average strategy of CFR+, by what the player to move knows, its chances drawn by the seed."""

    def play(state: Any, seed: int) -> int:
        actions, chances = zip(*_equilibrium(name).action_probabilities(state).items())
        share = np.array(chances, np.float64)
        return int(np.random.default_rng(seed).choice(actions, p=share / share.sum()))

    return play


def opponent(game: Game, name: str, simulations: int) -> Player:
    """The opponent of a name, "random", "mcts" or "cfr"."""
    return {"random": at_random, "mcts": searching(simulations), "cfr": solved(game.name)}[name]


class Master:
    """The expert: it searches further than its opponent does, or plays the equilibrium where cards are hidden, its own at each seed."""

    def __init__(self, game: Game, simulations: int):
        self._play = solved(game.name) if game.hidden else searching(simulations)

    def reset(self, env: gym.Env, observation: Any, seed: int) -> None:
        self._table: Any = env.unwrapped
        self._rng = np.random.default_rng([seed, 1])

    def act(self, observation: Any) -> int:
        return self._play(self._table.state, int(self._rng.integers(2**31)))
