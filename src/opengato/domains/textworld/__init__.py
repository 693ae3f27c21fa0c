"""TextWorld: games in words. One reads where one is and types what to do; treasure hunts, mazes with a coin, kitchens with a recipe.

An observation is five texts: what is asked for, the room, what is carried, what the cookbook says once it has been read, and what the game
answered to the last command, "" where that is the room again. An action is a sentence, "take the red apple from the fridge", as the game's
own parser takes it; one that it does not understand passes a turn, and those that steer the interpreter (quit, undo, save) are not passed
on. Points are the game's own: one for what was to be taken, in a kitchen one for each step of the recipe. `info["success"]` tells that the
game was won; taking the wrong treasure, or spoiling an ingredient, loses it. `info["admissible_commands"]` has what would change something
or tell something now, of which the action space's `sample` draws: the random agent plays by them, and knows no more (Côté et al. 2018).

Each seed has a game of its own, made in seconds by TextWorld 1.7's generators (its levels in `GAMES`) and kept in the user's cache,
0.4 MB each.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import gymnasium as gym

from opengato.domains.task import Expert, Task
from opengato.domains.textworld.games import GAMES
from opengato.domains.textworld.words import ACTION_SPACE, OBSERVATION_SPACE


def _make_env(name: str) -> gym.Env:
    from opengato.domains.textworld.play import TextGame

    return TextGame(name)


def _make_expert() -> Expert:
    from opengato.domains.textworld.play import Guide

    return Guide()


def _start(env: gym.Env) -> dict[str, Any]:
    world: Any = env.unwrapped
    return {"game": world.file.read_bytes()}  # as it is before the first command


TASKS = [
    Task(
        id=f"textworld/{name}",
        observation_space=OBSERVATION_SPACE,
        action_space=ACTION_SPACE,
        make_env=partial(_make_env, name),
        make_expert=_make_expert,
        requires="textworld",
        extra="textworld",
        expert_name="TextWorld's winning policy, after reading the cookbook",
        has_success=True,
        burst=3,
        start=_start,
    )
    for name in GAMES
]
