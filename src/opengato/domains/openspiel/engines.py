"""Engines that others wrote, spoken to as they are: GNU Go by the Go Text Protocol, Stockfish by the Universal Chess Interface.

Both come with Debian and are optional: a game against them says what to install. Each move is asked for from the position alone, with a
seed where the engine takes one, by one thread and a fixed effort, so that the same position and seed get the same move.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from opengato.errors import OpenGatoError

_FOLDERS = "/usr/games"  # where Debian has both, which not every user's PATH names
_COLOURS = "bw"
_SEEDS = 2**16


class _Engine:
    """A running engine. Raises OpenGatoError where it is not installed."""

    def __init__(self, name: str, package: str, arguments: tuple[str, ...]):
        path = shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:{_FOLDERS}")
        if path is None:
            raise OpenGatoError(f"the engine {name!r} is not installed: apt-get install {package}")
        self._name = name
        self._process = subprocess.Popen(
            [path, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, bufsize=1
        )

    def ask(self, command: str, is_last: Callable[[str], bool] | None) -> str:
        """Send a line, and read up to the line that ends the answer, which is returned; None: there is no answer."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(command + "\n")
        while is_last is not None:
            line = self._process.stdout.readline()
            if not line:
                raise OpenGatoError(f"the engine {self._name!r} ended at {command!r}: install another version of it")
            if is_last(line.strip()):
                return line.strip()
        return ""


@cache
def _gnugo(level: int, process: int) -> _Engine:
    return _Engine("gnugo", "gnugo", ("--mode", "gtp", "--level", str(level), "--never-resign", "--chinese-rules", "--komi", "7.5"))


@cache
def _stockfish(process: int) -> _Engine:
    engine = _Engine("stockfish", "stockfish", ())
    for option, value in (("Threads", 1), ("Hash", 16)):
        engine.ask(f"setoption name {option} value {value}", None)
    return engine


def gnugo(level: int) -> Callable[[Any, int], int]:
    """GNU Go at one of its levels, 1 to 10; a move that OpenSpiel's rules forbid, as a repetition, is a pass."""
    _gnugo(level, os.getpid())

    def play(state: Any, seed: int) -> int:
        engine = _gnugo(level, os.getpid())

        def ask(command: str) -> str:
            return engine.ask(command, lambda line: line.startswith(("=", "?"))).lstrip("=? ")

        size = round(np.sqrt(state.num_distinct_actions() - 1))
        ask(f"boardsize {size}")
        ask("clear_board")
        for number, action in enumerate(state.history()):
            ask("play " + state.action_to_string(number % 2, action))
        ask(f"set_random_seed {seed % _SEEDS}")
        player = state.current_player()
        said = ask(f"genmove {_COLOURS[player]}").lower()
        legal = {state.action_to_string(player, action).split()[1].lower(): action for action in state.legal_actions()}
        return int(legal.get(said, legal["pass"]))

    return play


def stockfish(nodes: int) -> Callable[[Any, int], int]:
    """Stockfish at its full skill, its search so many positions long; it takes no seed, and needs none."""
    _stockfish(os.getpid())

    def play(state: Any, seed: int) -> int:
        engine = _stockfish(os.getpid())
        engine.ask("ucinewgame", None)
        engine.ask("isready", lambda line: line == "readyok")
        engine.ask(f"position fen {state}", None)
        said = engine.ask(f"go nodes {nodes}", lambda line: line.startswith("bestmove")).split()[1]
        return int(state.parse_move_to_action(said))

    return play
