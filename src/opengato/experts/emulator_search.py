"""Search on an emulator's own state: rolling-horizon shooting with held actions, the best plan kept and changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np


@dataclass(frozen=True)
class SearchConfig:
    """How far and how wide to look.

    Attributes:
        horizon: agent steps a candidate is rolled out. commit: agent steps played before the next search.
        lengths: how many agent steps an action is held.
        candidates: random sequences of held actions tried in each search, every second one a change of the best so far.
        discount: a step; earlier reward is better, so that the search does not put things off.
    """

    horizon: int = 36
    commit: int = 4
    lengths: tuple[int, ...] = (2, 4, 8)
    candidates: int = 8
    discount: float = 0.98


class EmulatorSearch:
    """Tries doing nothing, every action held, the rest of its last plan and random plans; where several do equally well, the simplest wins.

    Works on any environment whose `ale` is an `ALEInterface` and whose `frame_skip` says how many frames an action lasts.
    """

    def __init__(self, config: SearchConfig | None = None):
        self.config = config or SearchConfig()

    def reset(self, env: gym.Env, observation: Any, seed: int) -> None:
        world: Any = env.unwrapped
        self._ale, self._skip = world.ale, world.frame_skip
        self._actions = [int(a.value) for a in self._ale.getMinimalActionSet()]
        self._plan: list[int] = []
        self._queue: list[tuple[int, bytes]] = []
        self._expected: bytes | None = None
        self._rng = np.random.default_rng(seed)

    def act(self, observation: Any) -> int:
        if not self._queue or self._ram() != self._expected:
            self._search()
        action, self._expected = self._queue.pop(0)
        self._plan = self._plan[1:]
        return action

    def _ram(self) -> bytes:
        return self._ale.getRAM().tobytes()

    def _step(self, action: int) -> float:
        return float(sum(self._ale.act(action) for _ in range(self._skip)))

    def _value(self, plan: Sequence[int], start: Any) -> float:
        """Discounted reward of a plan from a saved state; a lost life costs one."""
        self._ale.restoreState(start)
        lives, value, weight = self._ale.lives(), 0.0, 1.0
        for action in plan:
            value += weight * float(np.sign(self._step(action)))
            if self._ale.lives() < lives:
                value -= weight
                lives = self._ale.lives()
            if self._ale.game_over():
                break
            weight *= self.config.discount
        return value

    def _random_plan(self) -> list[int]:
        plan: list[int] = []
        while len(plan) < self.config.horizon:
            plan += [int(self._rng.choice(self._actions))] * int(self._rng.choice(self.config.lengths))
        return plan[: self.config.horizon]

    def _search(self) -> None:
        config = self.config
        start = self._ale.cloneState()

        idle = [0] * config.horizon
        best, best_value = idle, self._value(idle, start)

        def consider(plan: list[int]) -> None:
            nonlocal best, best_value
            value = self._value(plan, start)
            if value > best_value + 1e-9:
                best, best_value = plan, value

        for action in self._actions:
            if action:
                hold = config.lengths[-1]
                consider([action] * hold + [0] * (config.horizon - hold))
        if any(self._plan):
            consider([*self._plan, *idle][: config.horizon])
        for k in range(config.candidates):
            plan = list(best) if k % 2 else self._random_plan()
            if k % 2:
                at, length = int(self._rng.integers(config.horizon // 2)), int(self._rng.choice(config.lengths))
                plan[at : at + length] = [int(self._rng.choice(self._actions))] * length
            consider(plan)
        self._ale.restoreState(start)
        # What the memory will look like after each committed step tells later whether the environment was played otherwise.
        self._queue, self._expected = [], None
        for action in best[: config.commit]:
            self._step(action)
            self._queue.append((action, self._ram()))
            if self._ale.game_over():
                break
        self._ale.restoreState(start)
        self._plan = list(best)
