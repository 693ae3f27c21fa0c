"""Sokoban solved by A* over pushes, with the cheapest matching of boxes to targets as its heuristic.

A set of cells is an integer with a bit a cell, row by row, so that where the player can walk, and which boxes can be pushed which way, are
a few operations on whole boards. The border of a board must be wall: then a step off one row's end never lands in the next.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator

import numpy as np

UP, DOWN, LEFT, RIGHT = range(4)
Push = tuple[int, int]  # the cell of the box, the direction
_FAR = 1_000_000


def cells(mask: int) -> Iterator[int]:
    """The cells of a set, lowest first."""
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low


def mask_of(board: np.ndarray) -> int:
    """The set of the cells at which a boolean (H, W) is true."""
    return sum(1 << int(i) for i in np.flatnonzero(board))


class Board:
    """Walls and targets, which never move, and what follows from them. `floor`, `targets`: sets of cells of a board `width` wide."""

    def __init__(self, floor: int, targets: int, width: int):
        self.floor, self.targets, self.width = floor, targets, width
        self.steps = (-width, width, -1, 1)  # by direction
        # For every target, how many pushes a box alone on the board needs from a cell to there, _FAR where it never gets there.
        self._pushes = [self._pushes_to(target) for target in cells(targets)]
        self.alive = sum(1 << c for c in cells(floor) if any(c in pushes for pushes in self._pushes))
        self._costs: dict[int, int] = {}

    @staticmethod
    def shift(mask: int, step: int) -> int:
        return mask << step if step > 0 else mask >> -step

    def _pushes_to(self, target: int) -> dict[int, int]:
        found, queue = {target: 0}, deque([target])
        while queue:
            cell = queue.popleft()
            for step in self.steps:
                box, player = cell - step, cell - 2 * step
                if box not in found and min(box, player) >= 0 and self.floor >> box & 1 and self.floor >> player & 1:
                    found[box] = found[cell] + 1
                    queue.append(box)
        return found

    def region(self, boxes: int, player: int) -> int:
        """Where the player can walk without a push."""
        free, width = self.floor & ~boxes, self.width
        region, before = 1 << player, 0
        while region != before:
            before = region
            region |= (region << 1 | region >> 1 | region << width | region >> width) & free
        return region

    def pushes(self, boxes: int, region: int, into: int) -> Iterator[Push]:
        """Every box that can be pushed onto one of the cells `into`, and the direction."""
        free = into & ~boxes
        for direction, step in enumerate(self.steps):
            for box in cells(boxes & self.shift(region, step) & self.shift(free, -step)):
                yield box, direction

    def walk(self, boxes: int, player: int, goal: int) -> list[int]:
        """The shortest way from cell to cell without a push, as directions; the goal must be in the player's `region`."""
        free = self.floor & ~boxes
        came: dict[int, int] = {player: -1}
        queue = deque([player])
        while goal not in came:
            cell = queue.popleft()
            for direction, step in enumerate(self.steps):
                if free >> cell + step & 1 and cell + step not in came:
                    came[cell + step] = direction
                    queue.append(cell + step)
        way: list[int] = []
        while goal != player:
            way.append(came[goal])
            goal -= self.steps[way[-1]]
        return way[::-1]

    def least_pushes(self, boxes: int) -> int:
        """A lower bound of the pushes to go: the cheapest matching of boxes to targets, each box as if alone; _FAR where there is none."""
        known = self._costs.get(boxes)
        if known is None:
            best = {0: 0}  # set of targets taken -> cost, box by box
            for box in cells(boxes):
                following: dict[int, int] = {}
                for taken, cost in best.items():
                    for target, pushes in enumerate(self._pushes):
                        if not taken >> target & 1 and (more := pushes.get(box)) is not None:
                            key = taken | 1 << target
                            following[key] = min(following.get(key, _FAR), cost + more)
                best = following
            known = self._costs[boxes] = min(best.values(), default=_FAR)
        return known

    def frozen_off_target(self, boxes: int, box: int) -> bool:
        """Whether the box, and with it one that is on no target, can never be pushed again."""
        frozen: set[int] = set()

        def stuck(cell: int, walls: int) -> bool:
            """Whether a box is, where others that are being asked about count as walls."""
            walls |= 1 << cell
            for one, other in ((LEFT, RIGHT), (UP, DOWN)):
                a, b = cell + self.steps[one], cell + self.steps[other]
                wall = any(not self.floor >> side & 1 or walls >> side & 1 for side in (a, b))
                dead = not (self.alive >> a & 1 or self.alive >> b & 1)
                if not (wall or dead or any(boxes >> side & 1 and stuck(side, walls) for side in (a, b))):
                    return False
            frozen.add(cell)
            return True

        return stuck(box, 0) and any(not self.targets >> cell & 1 for cell in frozen)


def solve(board: Board, boxes: int, player: int, most: int) -> list[Push] | None:
    """The fewest pushes that bring all boxes to targets.

    None where there is no way, and where none was found when `most` states were looked into.
    """
    region = board.region(boxes, player)
    start = (boxes, region & -region)
    came: dict[tuple[int, int], tuple[tuple[int, int], Push] | None] = {start: None}
    cost = {start: 0}
    bound = board.least_pushes(boxes)
    queue = [(bound, bound, 0, start, region)]
    done: set[tuple[int, int]] = set()
    count = 0
    while queue and len(done) < most:
        total, ahead, _, state, region = heapq.heappop(queue)
        if total >= _FAR:
            return None
        if state in done:
            continue
        if ahead == 0:
            return _pushes_of(came, state)
        done.add(state)
        boxes = state[0]
        so_far = cost[state] + 1
        for box, direction in board.pushes(boxes, region, board.alive):
            moved = boxes ^ (1 << box) ^ (1 << box + board.steps[direction])
            ahead = board.least_pushes(moved)
            if ahead >= _FAR:
                continue
            onward = board.region(moved, box)
            following = (moved, onward & -onward)
            if so_far >= cost.get(following, _FAR) or board.frozen_off_target(moved, box + board.steps[direction]):
                continue
            cost[following], came[following] = so_far, (state, (box, direction))
            count += 1
            # Of equally promising states the one that is further goes first, and then the older: the same state has the same plan.
            heapq.heappush(queue, (so_far + ahead, ahead, count, following, onward))
    return None


def most_on_targets(board: Board, boxes: int, player: int, most: int) -> list[Push]:
    """Of a state that cannot be solved: the fewest pushes to as many boxes on targets as any of the `most` nearest states has."""
    region = board.region(boxes, player)
    start = (boxes, region & -region)
    came: dict[tuple[int, int], tuple[tuple[int, int], Push] | None] = {start: None}
    best, best_state = (boxes & board.targets).bit_count(), start
    queue = deque([(start, region)])
    while queue and len(came) < most:
        state, region = queue.popleft()
        for box, direction in board.pushes(state[0], region, board.floor):
            moved = state[0] ^ (1 << box) ^ (1 << box + board.steps[direction])
            onward = board.region(moved, box)
            following = (moved, onward & -onward)
            if following in came:
                continue
            came[following] = (state, (box, direction))
            queue.append((following, onward))
            if (on := (moved & board.targets).bit_count()) > best:
                best, best_state = on, following
    return _pushes_of(came, best_state)


def _pushes_of(came: dict[tuple[int, int], tuple[tuple[int, int], Push] | None], state: tuple[int, int]) -> list[Push]:
    found: list[Push] = []
    while (step := came[state]) is not None:
        state = step[0]
        found.append(step[1])
    return found[::-1]
