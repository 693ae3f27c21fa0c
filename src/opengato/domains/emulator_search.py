"""Search on an emulator's own state: rolling-horizon shooting with macro-actions, deterministic, so that its choices can be cloned."""

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
        lengths: a candidate holds one action for so many agent steps, then does nothing.
        discount: a step; earlier reward is better, so that the search does not put things off.
        mutations: further candidates, random changes of the best plan; 0 keeps the search deterministic and its choices simple.
    """

    horizon: int = 36
    commit: int = 4
    lengths: tuple[int, ...] = (2, 4, 8, 16)
    discount: float = 0.98
    mutations: int = 0


class EmulatorSearch:
    """Tries every action of the game's minimal set held for several lengths, and the rest of its last plan; the simplest of the best wins.

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

    def _search(self) -> None:
        config = self.config
        start = self._ale.cloneState()

        def held(action: int, length: int) -> list[int]:
            return [action] * min(length, config.horizon) + [0] * max(config.horizon - length, 0)

        rest = [*self._plan, *[0] * config.horizon][:config.horizon]
        candidates = [[0] * config.horizon, rest] if any(rest) else [[0] * config.horizon]
        candidates += [held(action, length) for length in config.lengths for action in self._actions if action != 0]
        best, best_value = candidates[0], -np.inf
        for plan in candidates:
            value = self._value(plan, start)
            if value > best_value + 1e-9:
                best, best_value = plan, value
        for _ in range(config.mutations):
            plan = list(best)
            at, length = int(self._rng.integers(config.horizon)), int(self._rng.choice(config.lengths))
            plan[at:at + length] = [int(self._rng.choice(self._actions))] * len(plan[at:at + length])
            value = self._value(plan, start)
            if value > best_value + 1e-9:
                best, best_value = plan, value
        self._ale.restoreState(start)
        # What the memory will look like after each committed step tells later whether the environment was played otherwise.
        self._queue, self._expected = [], None
        for action in best[:config.commit]:
            self._step(action)
            self._queue.append((action, self._ram()))
            if self._ale.game_over():
                break
        self._ale.restoreState(start)
        self._plan = list(best)
