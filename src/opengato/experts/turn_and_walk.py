"""A* for a walker that turns by a fixed angle or walks a fixed length: the fewest such moves, nearly, to a pose that will do."""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

LEFT, RIGHT, FORWARD = "left", "right", "forward"


@dataclass(frozen=True)
class Pose:
    """Place and direction: an angle of 0 looks along +x with +y to its right, as in MiniWorld, and a turn to the left adds to it."""

    x: float
    y: float
    angle: float

    def ahead(self, length: float) -> Pose:
        """So much further."""
        return Pose(self.x + length * math.cos(self.angle), self.y - length * math.sin(self.angle), self.angle)

    def turned(self, angle: float) -> Pose:
        """So much to the left."""
        return Pose(self.x, self.y, self.angle + angle)


@dataclass(frozen=True)
class Gait:
    """What a move does. turn: radians. step: length. merge: poses whose places differ by less are one to the search."""

    turn: float
    step: float
    merge: float


def moves_to(
    start: Pose,
    gait: Gait,
    reached: Callable[[Pose], bool],
    allowed: Callable[[Pose, str], bool],
    estimate: Callable[[float, float], float],
    weight: float = 1.5,
    most: int = 20_000,
) -> list[str] | None:
    """The moves from `start` to the first pose found that is `reached`; [] where it is already; None where there are none.

    Args:
        allowed: whether the world lets the walker into this pose by this move; where it does not, the walker stays where it is.
        estimate: the length that is left from a place, infinity where no way leads.
        weight: how much the estimate counts against the moves made; more than 1 searches less and finds ways a little longer.
        most: poses looked at before the search gives up.
    """
    half = round(2 * math.pi / gait.turn)

    def key(pose: Pose, turns: int) -> tuple[int, int, int]:
        return round(pose.x / gait.merge), round(pose.y / gait.merge), turns % half

    counter = itertools.count()  # of several that are as good the first found is taken: the same world has the same plan
    begin = key(start, 0)
    best: dict[tuple[int, int, int], int] = {begin: 0}
    came: dict[tuple[int, int, int], tuple[tuple[int, int, int], str]] = {}
    queue = [(weight * estimate(start.x, start.y) / gait.step, next(counter), 0, start, 0)]
    seen = 0
    while queue and seen < most:
        _, _, made, pose, turns = heapq.heappop(queue)
        here = key(pose, turns)
        if made > best[here]:
            continue
        seen += 1
        if reached(pose):
            moves: list[str] = []
            while here in came:
                here, move = came[here]
                moves.append(move)
            return moves[::-1]
        for move, other, turned in (
            (FORWARD, pose.ahead(gait.step), turns),
            (LEFT, pose.turned(gait.turn), turns + 1),
            (RIGHT, pose.turned(-gait.turn), turns - 1),
        ):
            there = key(other, turned)
            if made + 1 >= best.get(there, math.inf) or not allowed(other, move):
                continue
            left = estimate(other.x, other.y)
            if left == math.inf:
                continue
            best[there] = made + 1
            came[there] = (here, move)
            heapq.heappush(queue, (made + 1 + weight * left / gait.step, next(counter), made + 1, other, turned))
    return None
