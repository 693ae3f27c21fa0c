"""Which games there are, and the spaces of each; stated, since listing tasks imports no simulator."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from gymnasium import spaces

from opengato.tokens.spaces import text_space


@dataclass(frozen=True)
class Game:
    """One of OpenSpiel's games.

    Attributes:
        name: OpenSpiel's, with its parameters. actions: as many different ones. numbers: entries of its observation tensor.
        most: the largest of them; the least is 0. players: 2, or 1. hidden: whether a player does not see all: it is solved, not searched.
        rounds: games of an episode, one after another. engine: which plays it in place of search, "gnugo" or "stockfish".
        opening: moves, of both sides together, that the seed draws at random before anyone plays, where an engine's would ever be the same.
        in_words: whether positions and moves are written, FEN and algebraic notation, since they are too many for numbers.
    """

    name: str
    actions: int
    numbers: int
    most: float = 1.0
    players: int = 2
    hidden: bool = False
    rounds: int = 1
    engine: str = ""
    opening: int = 0
    in_words: bool = False

    @property
    def opponents(self) -> tuple[str, ...]:
        """The named opponents; "" where there is none."""
        return ("",) if self.players == 1 else ("random", "cfr") if self.hidden else ("random", self.engine or "mcts")

    @property
    def observation_space(self) -> spaces.Dict:
        if self.in_words:
            return spaces.Dict(board=text_space(100), legal=text_space(2_000), side=spaces.Discrete(2))
        board = spaces.Box(0.0, self.most, (self.numbers,), np.float32)
        return spaces.Dict(board=board, legal=spaces.MultiBinary(self.actions), side=spaces.Discrete(2))

    @property
    def action_space(self) -> spaces.Discrete | spaces.Text:
        return text_space(8) if self.in_words else spaces.Discrete(self.actions)


GAMES: dict[str, Game] = {
    "tic-tac-toe": Game("tic_tac_toe", 9, 27),
    "connect-four": Game("connect_four", 7, 126),
    "breakthrough": Game("breakthrough(rows=6,columns=6)", 432, 108),
    "othello": Game("othello", 65, 192),
    "pentago": Game("pentago", 288, 108),
    "hex": Game("hex(board_size=5)", 25, 225),
    "y": Game("y(board_size=5)", 25, 75),
    "havannah": Game("havannah(board_size=4)", 49, 147),
    "clobber": Game("clobber(rows=4,columns=5)", 80, 60),
    "nim": Game("nim", 29, 39),
    "oware": Game("oware", 6, 14),
    "go-5x5": Game("go(board_size=5)", 26, 100),
    "ultimate-tic-tac-toe": Game("ultimate_tic_tac_toe", 9, 254),
    "dots-and-boxes": Game("dots_and_boxes", 12, 81),
    "four-in-a-row": Game("mnk(m=5,n=5,k=4)", 25, 75),
    "twixt": Game("twixt(board_size=6)", 36, 288),
    "checkers": Game("checkers", 512, 320),
    "nine-mens-morris": Game("nine_mens_morris", 600, 245),
    "pig": Game("pig(winscore=50)", 2, 153),
    "einstein-wurfelt-nicht": Game("einstein_wurfelt_nicht", 300, 300),
    "go-9x9": Game("go(board_size=9)", 82, 324, engine="gnugo", opening=4),
    "chess": Game("chess", 4674, 1280, engine="stockfish", opening=4, in_words=True),
    "catch": Game("catch", 3, 50, players=1),
    "kuhn-poker": Game("kuhn_poker", 2, 7, most=2.0, hidden=True, rounds=100),
    "leduc-poker": Game("leduc_poker", 3, 16, most=13.0, hidden=True, rounds=50),
}
