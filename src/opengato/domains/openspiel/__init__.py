"""OpenSpiel: board games, dice and small poker against named opponents, the agent at the side that the seed draws.

A task is a game and an opponent: that of `connect-four-random` draws each legal move as likely, that of `connect-four-mcts` searches, 50
simulations a move, and that of `kuhn-poker-cfr` plays an equilibrium, as counterfactual regret minimisation finds it. A seed always meets
the same opponent, down to its dice. Go on 9×9 is played against GNU Go and chess against Stockfish, where they are installed.

An observation is the agent's own view, as OpenSpiel's observation tensor has it, flat; which moves are legal; and the side that it plays.
An action is a number of OpenSpiel's; chess has too many, and is read and played in words, FEN and algebraic notation. One that is illegal
is replaced by a legal one, each as likely, and `info["legal"]` is False: so a random agent is one that plays random legal moves. The return
is the game's own: 1 for a win, -1 for a loss, 0 for a draw, chips at poker, where an episode is a match of many hands, the side changing
with each. `info["success"]` tells that it ended above 0 (Lanctot et al. 2019).
"""

from __future__ import annotations

from functools import partial
from typing import Any

import gymnasium as gym

from opengato.domains.openspiel.games import GAMES, Game
from opengato.domains.task import Expert, Task

SIMULATIONS = {"expert": 1000, "opponent": 50}  # of a move


def _make_env(game: Game, opponent: str) -> gym.Env:
    from opengato.domains.openspiel.table import Table

    return Table(game, opponent, SIMULATIONS["opponent"])


def _make_expert(game: Game, opponent: str) -> Expert:
    from opengato.domains.openspiel.players import Master

    return Master(game, opponent, SIMULATIONS["expert"])


def _start(env: gym.Env) -> dict[str, Any]:
    table: Any = env.unwrapped
    return {"position": str(table.state), "side": table.side, "chance": table.chance}


def _expert_name(game: Game) -> str:
    if game.engine:
        return {"gnugo": "GNU Go, level 10", "stockfish": "Stockfish, 5,000 positions"}[game.engine]
    return "the best response" if game.hidden else f"MCTS, {SIMULATIONS['expert']} simulations"


def _task(name: str, game: Game, opponent: str) -> Task:
    return Task(
        id=f"openspiel/{name}-{opponent}" if opponent else f"openspiel/{name}",
        observation_space=game.observation_space,
        action_space=game.action_space,
        make_env=partial(_make_env, game, opponent),
        make_expert=partial(_make_expert, game, opponent),
        requires="open_spiel",
        extra="openspiel",
        expert_name=_expert_name(game),
        has_success=True,
        burst=2,
        start=_start,
    )


TASKS = [_task(name, game, opponent) for name, game in GAMES.items() for opponent in game.opponents]
