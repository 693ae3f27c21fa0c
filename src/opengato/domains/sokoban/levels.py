"""Sokoban's levels: drawn by playing backwards from the solved state, or read from text files as Boxoban has them.

A level is an int64 (H, W) of the symbols below: its walls, targets, boxes and player at the start. Its border is wall.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from opengato.errors import OpenGatoError
from opengato.experts.sokoban import Board, cells, mask_of

WALL, FLOOR, TARGET, BOX, BOX_ON_TARGET, PLAYER, PLAYER_ON_TARGET = range(7)
SYMBOLS = 7
_LETTERS = "# .$*@+"  # of the symbols, in their order

# What a step of the digger clears, around where it stands.
_STAMPS = (
    ((0, 0), (0, 1)),
    ((0, 0), (1, 0)),
    ((0, 0), (0, 1), (1, 0)),
    ((0, 0), (0, 1), (1, 0), (1, 1)),
    ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1)),
)


@dataclass(frozen=True)
class LevelConfig:
    """What levels are drawn.

    Attributes:
        size: rows and columns with the border. boxes: how many.
        least: pushes at least, as if no box were in another's way, that a level needs.
    """

    size: int
    boxes: int
    least: int


def draw_level(config: LevelConfig, rng: np.random.Generator) -> np.ndarray:
    """A level that can be solved, int64 (size, size), no box of which is on a target."""
    while True:
        floor = _dig(config.size, rng)
        level = _play_backwards(floor, config, rng)
        if level is not None:
            return level


def _dig(size: int, rng: np.random.Generator) -> np.ndarray:
    """Which cells are floor, bool (size, size): a walk that clears a stamp at every step, so that all of it hangs together."""
    floor = np.zeros((size, size), bool)
    directions = ((-1, 0), (1, 0), (0, -1), (0, 1))
    row, column = (int(x) for x in rng.integers(1, size - 1, 2))
    heading = directions[rng.integers(4)]
    for _ in range(3 * size):
        if rng.random() < 0.35:
            heading = directions[rng.integers(4)]
        row, column = (min(max(place + step, 1), size - 2) for place, step in zip((row, column), heading))
        for down, right in _STAMPS[rng.integers(len(_STAMPS))]:
            if 1 <= row + down < size - 1 and 1 <= column + right < size - 1:
                floor[row + down, column + right] = True
    return floor


def _play_backwards(floor: np.ndarray, config: LevelConfig, rng: np.random.Generator) -> np.ndarray | None:
    """Boxes on targets, pulled away at random; of all that was met on the way, what is furthest from solved. None where that is near."""
    free = np.flatnonzero(floor)
    if len(free) < 3 * config.boxes + 4:
        return None
    chosen = rng.permutation(free)[: config.boxes + 1]
    targets = sum(1 << int(c) for c in chosen[1:])
    board = Board(mask_of(floor), targets, config.size)
    best, found = config.least - 1, None
    for _ in range(8):
        boxes, player, last = targets, int(chosen[0]), -1
        for _ in range(12 * config.boxes):
            pulls = _pulls(board, boxes, player)
            # A box is mostly pulled on, and not back where it came from: a walk at random would hardly leave the targets.
            onward = [pull for pull in pulls if pull[0] == last]
            if onward and rng.random() < 0.7:
                pulls = onward
            if not pulls:
                break
            box, direction = pulls[rng.integers(len(pulls))]
            last = box + board.steps[direction]
            boxes, player = boxes ^ (1 << box) ^ (1 << last), last + board.steps[direction]
            if not boxes & targets and (far := board.least_pushes(boxes)) > best:
                best, found = far, (boxes, board.region(boxes, player))
    if found is None:
        return None
    boxes, region = found
    stand = list(cells(region))
    return as_level(floor, targets, boxes, stand[rng.integers(len(stand))])


def _pulls(board: Board, boxes: int, player: int) -> list[tuple[int, int]]:
    """Every box that can be pulled, and the direction: the player stands beside it, with a free cell behind."""
    region, free = board.region(boxes, player), board.floor & ~boxes
    return [
        (box, direction)
        for direction, step in enumerate(board.steps)
        for box in cells(boxes & board.shift(region, -step) & board.shift(free, -2 * step))
    ]


def as_level(floor: np.ndarray, targets: int, boxes: int, player: int) -> np.ndarray:
    """The level of these sets of cells, int64 of the shape of `floor`."""
    level = np.where(floor, FLOOR, WALL).astype(np.int64).ravel()
    for kind, mask in ((TARGET, targets), (BOX, boxes & ~targets), (BOX_ON_TARGET, boxes & targets)):
        level[list(cells(mask))] = kind
    level[player] = PLAYER_ON_TARGET if targets >> player & 1 else PLAYER
    return level.reshape(floor.shape)


def read_levels(folder: Path) -> np.ndarray:
    """Every level of the text files of a folder and those below it, in order of their names: int64 (N, H, W), padded with walls.

    The files are those of Boxoban: a line with `;` and a number, and then the rows, in the usual letters: # wall, . target, $ box,
    * box on a target, @ player, + player on a target.

    Raises:
        OpenGatoError: where there are none, and for a level that is none, naming the file and the line.
    """
    found: list[np.ndarray] = []
    for file in sorted(folder.rglob("*.txt")):
        rows: list[str] = []
        lines = [*file.read_text().splitlines(), ";"]
        for number, line in enumerate(lines):
            if line.strip() and not line.startswith(";"):
                rows.append(line.rstrip())
            elif rows:
                found.append(_parse(rows, f"{file}, line {number - len(rows) + 1}"))
                rows = []
    if not found:
        raise OpenGatoError(f"folder {str(folder)!r} has no levels: name one with text files as Boxoban has them")
    height, width = (max(level.shape[axis] for level in found) for axis in (0, 1))
    padded = np.full((len(found), height, width), WALL, np.int64)
    for into, level in zip(padded, found):
        into[: level.shape[0], : level.shape[1]] = level
    return padded


def _parse(rows: list[str], where: str) -> np.ndarray:
    width = max(map(len, rows))
    unknown = set("".join(rows)) - set(_LETTERS)
    if unknown:
        raise OpenGatoError(f"the level at {where} has the letter {min(unknown)!r}: a level is made of {_LETTERS!r}")
    level = np.array([[_LETTERS.index(letter) for letter in row.ljust(width, "#")] for row in rows], np.int64)
    players, boxes, targets = (
        int(np.isin(level, kinds).sum())
        for kinds in ((PLAYER, PLAYER_ON_TARGET), (BOX, BOX_ON_TARGET), (TARGET, BOX_ON_TARGET, PLAYER_ON_TARGET))
    )
    if players != 1 or boxes != targets or not boxes:
        raise OpenGatoError(f"the level at {where} has {players} players, {boxes} boxes and {targets} targets: give it 1, and equally many")
    border = np.concatenate([level[0], level[-1], level[:, 0], level[:, -1]])
    return level if (border == WALL).all() else np.pad(level, 1, constant_values=WALL)
