"""Which games there are, and where each seed's is: made once, by a process of its own.

TextWorld's generators iterate over sets, so that what they make depends on how the process hashes strings: `make_games` runs with hashing
that is fixed, and makes the same game anywhere.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from opengato.cache import cache_root
from opengato.errors import OpenGatoError


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


class _Maker:
    """A process that makes games, one line of JSON each, as long as this one lives: most of the work of the first is to begin."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "opengato.domains.textworld.make_games"],
            env=os.environ | {"PYTHONHASHSEED": "0"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def __call__(self, name: str, seed: int, path: Path) -> None:
        """Raises OpenGatoError, with the generator's last words."""
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps([name, seed, str(path)]) + "\n")
            self._process.stdin.flush()
            failed = json.loads(self._process.stdout.readline() or '"its process ended"')
        except OSError as error:
            failed = str(error)
        if failed:
            _maker.cache_clear()
            self._process.kill()
            raise OpenGatoError(f"game {seed} of 'textworld/{name}' cannot be made: {failed}")


@cache
def _maker(process: int) -> _Maker:
    """Of this process: one that was forked from it must not write into the same pipe."""
    return _Maker()


def game_file(name: str, seed: int) -> Path:
    """The compiled game of a task and a seed, with its .json beside it; made where it is not there yet.

    Raises OpenGatoError where it cannot be made.
    """
    folder = cache_root() / "textworld" / version("textworld")
    path = folder / f"{name}-{seed}.z8"
    if path.is_file() and path.with_suffix(".json").is_file():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        made = Path(scratch) / path.name
        _maker(os.getpid())(name, seed, made)
        for suffix in (".json", ".z8"):  # whoever sees the game finds its description too
            os.replace(made.with_suffix(suffix), path.with_suffix(suffix))
    return path
