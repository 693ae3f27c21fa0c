"""Which games there are, and how each seed's is made: by a process of its own, once.

TextWorld's generators iterate over sets, so that what they make depends on how the process hashes strings: `make_game` runs with hashing
that is fixed, and makes the same game anywhere.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from opengato.cache import cache_root
from opengato.errors import OpenGatoError

_TIMEOUT_S = 600


@dataclass(frozen=True)
class Recipe:
    """How the games of a task are made.

    Attributes:
        challenge: TextWorld's name of the generator. settings: its own.
        steps: after so many commands the game is over.
        guided: whether the goal tells every step of the way; or else only what is to be taken, and from where.
    """

    challenge: str
    settings: Mapping[str, Any]
    steps: int
    guided: bool = False


def _kitchen(rooms: int, ingredients: int, skills: tuple[str, ...], steps: int) -> Recipe:
    settings = {"recipe": ingredients, "take": ingredients, "go": rooms, "split": None}
    return Recipe("tw-cooking", settings | {skill: skill in skills for skill in ("open", "cook", "cut", "drop")}, steps)


GAMES: dict[str, Recipe] = {
    "treasure-guided": Recipe("tw-treasure_hunter", {"level": 10}, 30, guided=True),  # 5 rooms, 5 commands
    "treasure-easy": Recipe("tw-treasure_hunter", {"level": 6}, 30),  # 5 rooms, 3 commands
    "treasure-medium": Recipe("tw-treasure_hunter", {"level": 15}, 50),  # 10 rooms and furniture, 6 commands
    "treasure-hard": Recipe("tw-treasure_hunter", {"level": 22}, 100),  # 20 rooms, locks, 5 commands
    "coin-5": Recipe("tw-coin_collector", {"level": 5}, 50),  # 5 rooms in a row
    "coin-10-dead-ends": Recipe("tw-coin_collector", {"level": 110}, 100),  # 10 rooms in a row, and 10 beside them
    "coin-15-dead-ends": Recipe("tw-coin_collector", {"level": 215}, 100),  # 15, and 30 beside them
    "cooking-take": _kitchen(1, 1, (), 50),
    "cooking-prepare": _kitchen(1, 1, ("open", "cook", "cut"), 50),
    "cooking-house": _kitchen(6, 2, ("open", "cook", "cut"), 100),
    "cooking-far": _kitchen(9, 3, ("open", "cook", "cut"), 100),
}


def game_file(name: str, seed: int) -> Path:
    """The compiled game of a task and a seed, with its .json beside it; made where it is not there yet.

    Raises OpenGatoError where the generator fails, with its last words.
    """
    folder = cache_root() / "textworld" / version("textworld")
    path = folder / f"{name}-{seed}.z8"
    if path.is_file() and path.with_suffix(".json").is_file():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        made = Path(scratch) / path.name
        command = [sys.executable, "-m", "opengato.domains.textworld.make_game", name, str(seed), str(made)]
        try:
            done = subprocess.run(
                command, env=os.environ | {"PYTHONHASHSEED": "0"}, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
            )
        except subprocess.TimeoutExpired:
            raise OpenGatoError(f"game {seed} of 'textworld/{name}' was not made in {_TIMEOUT_S} s: take another seed") from None
        if done.returncode or not made.is_file():
            reason = (done.stderr.strip() or done.stdout.strip() or "it says nothing").splitlines()[-1]
            raise OpenGatoError(f"game {seed} of 'textworld/{name}' cannot be made: {reason}")
        for suffix in (".json", ".z8"):  # whoever sees the game finds its description too
            os.replace(made.with_suffix(suffix), path.with_suffix(suffix))
    return path
