"""Atari Extended: 33 more games, each episode in a mode and difficulty of its own, played by search on the emulator's own state.

The paper has 28 games beside its 51 and randomises mode and difficulty; which they are is not told. Here they are those beyond the 57 of
the usual benchmark that have more than one mode or difficulty. The seed draws both, all combinations alike. Else as `atari`: 80×64 colour
frames, 18 actions, four frames an action, no sticky actions, 2,000 agent steps at most.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import gymnasium as gym

from opengato.domains.atari import ACTION_SPACE, MAX_STEPS, OBSERVATION_SPACE, Atari
from opengato.domains.task import Expert, Task
from opengato.experts.emulator_search import EmulatorSearch

# Game -> how many modes and difficulties it has, as ale-py 0.12 lists them.
VARIANTS = {
    "adventure": (3, 4),
    "air_raid": (8, 1),
    "basic_math": (4, 3),
    "blackjack": (1, 4),
    "casino": (3, 4),
    "crossbow": (4, 2),
    "entombed": (1, 2),
    "et": (3, 4),
    "flag_capture": (3, 1),
    "frogger": (3, 2),
    "galaxian": (9, 2),
    "hangman": (4, 2),
    "haunted_house": (9, 2),
    "human_cannonball": (8, 2),
    "journey_escape": (1, 2),
    "king_kong": (4, 1),
    "klax": (3, 1),
    "lost_luggage": (2, 2),
    "mario_bros": (4, 1),
    "miniature_golf": (1, 2),
    "mr_do": (4, 1),
    "othello": (3, 2),
    "pacman": (8, 2),
    "pooyan": (4, 1),
    "space_war": (12, 1),
    "superman": (1, 4),
    "tic_tac_toe_3d": (9, 2),
    "trondead": (1, 2),
    "turmoil": (9, 1),
    "video_checkers": (18, 1),
    "video_chess": (5, 1),
    "video_cube": (153, 2),
    "word_zapper": (24, 4),
}


def _make_expert() -> Expert:
    return EmulatorSearch()


def _start(env: gym.Env) -> dict[str, Any]:
    """The emulator's memory, and the switches, which are not in it."""
    world: Any = env.unwrapped
    return {"memory": world.ale.getRAM(), "variant": world.variant}


TASKS = [
    Task(
        id=f"atari-extended/{game.replace('_', '-')}",
        observation_space=OBSERVATION_SPACE,
        action_space=ACTION_SPACE,
        make_env=partial(Atari, game, 0.0, MAX_STEPS, True),
        make_expert=_make_expert,
        requires="ale_py",
        extra="atari",
        expert_name="search on the emulator's state",
        start=_start,
        few_starts=True,
    )
    for game in VARIANTS
]
