"""Ways through a grid: how far every free cell is from a goal, and which neighbour is nearer."""

from __future__ import annotations

from collections import deque

import numpy as np

Cell = tuple[int, int]  # row, column


def distances(free: np.ndarray, goal: Cell) -> np.ndarray:
    """Steps from every cell to the goal, up, down, left and right: (rows, columns) int, -1 where there is no way.

    `free` is (rows, columns) bool; the goal counts as free.
    """
    found = np.full(free.shape, -1)
    found[goal] = 0
    queue = deque([goal])
    while queue:
        cell = queue.popleft()
        for other in neighbours(cell, free.shape):
            if free[other] and found[other] < 0:
                found[other] = found[cell] + 1
                queue.append(other)
    return found


def neighbours(cell: Cell, shape: tuple[int, ...]) -> list[Cell]:
    """The up to four cells beside this one."""
    i, j = cell
    return [(a, b) for a, b in ((i - 1, j), (i, j - 1), (i + 1, j), (i, j + 1)) if 0 <= a < shape[0] and 0 <= b < shape[1]]


def next_cell(cell: Cell, away: np.ndarray) -> Cell:
    """The cell to go to from this one, by `distances`: the nearest to the goal of those beside it; itself at the goal or where none is."""
    here = away[cell]
    nearer = [other for other in neighbours(cell, away.shape) if away[other] >= 0 and (here < 0 or away[other] < here)]
    return min(nearer, key=lambda other: int(away[other]), default=cell)
