"""Search for the way to a reward that lies far off: every place that the agent can be brought to is looked into once."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


class Level(Protocol):
    """A game that can be taken back."""

    reward: float
    over: bool
    complete: bool

    def step(self, action: int) -> None: ...

    def save(self) -> Any: ...

    def restore(self, state: Any) -> None: ...


@dataclass(frozen=True)
class Exploration:
    """How a level is explored.

    Attributes:
        actions: those that are tried, the more wanted ones first. hold: steps that each is held.
        most: places that are looked into at most.
    """

    actions: Sequence[int]
    hold: int = 2
    most: int = 4_000


def find_reward(level: Level, place: Callable[[Any, int], tuple[Hashable, float]], how: Exploration) -> list[int]:
    """Actions that bring a reward; where none was found, those to the place that was looked into last. The level is left as it was.

    Args:
        place: of a saved state, and the steps that led to it: what tells one place from another, and how many steps the goal is nearer
            there than elsewhere, at a guess; places that promise to be there soonest are looked into first.
    """
    start = level.save()
    came: list[tuple[int, int, int]] = [(-1, 0, 0)]  # of each place: the one before, the action, how often it was played
    states = {0: start}
    seen = {place(start, 0)[0]}
    queue = [(0.0, 0)]  # steps less how far ahead, place
    steps_to = [0]
    last = 0

    def path(at: int) -> list[int]:
        found: list[int] = []
        while at:
            before, action, times = came[at]
            found[:0] = [action] * times
            at = before
        return found

    try:
        for _ in range(how.most):
            if not queue:
                break
            at = heapq.heappop(queue)[1]
            steps = steps_to[at]
            last, state = at, states.pop(at)
            for action in how.actions:
                level.restore(state)
                times = 0
                while times < how.hold and not level.over and level.reward <= 0:
                    level.step(action)
                    times += 1
                if level.reward > 0:
                    return [*path(at), *[action] * times]
                if level.over:
                    continue
                reached = level.save()
                key, lead = place(reached, steps + times)
                if key not in seen:
                    seen.add(key)
                    came.append((at, action, times))
                    steps_to.append(steps + times)
                    states[len(came) - 1] = reached
                    heapq.heappush(queue, (steps + times - lead, len(came) - 1))
        return path(last)
    finally:
        level.restore(start)
