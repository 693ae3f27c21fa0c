"""Search on an emulator's own state: rolling-horizon shooting with held actions, the best plan kept and changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

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
        life: what a lost life costs.
    """

    horizon: int = 36
    commit: int = 4
    lengths: tuple[int, ...] = (2, 4, 8)
    candidates: int = 8
    discount: float = 0.98
    life: float = 1.0


class Emulator(Protocol):
    """A game that can be taken back. `actions`: those to try. `idle`: doing nothing."""

    @property
    def actions(self) -> Sequence[int]: ...

    @property
    def idle(self) -> int: ...

    def save(self) -> Any: ...

    def restore(self, state: Any) -> None: ...

    def step(self, action: int) -> float:
        """Play one agent step: what it is worth."""

    def lives(self) -> int: ...

    def over(self) -> bool: ...

    def mark(self) -> bytes:
        """What tells whether the game went as foreseen."""


class _Ale:
    """An environment whose `ale` is an `ALEInterface` and whose `frame_skip` says how many frames an action lasts."""

    idle = 0

    def __init__(self, env: gym.Env):
        world: Any = env.unwrapped
        self._ale, self._skip = world.ale, world.frame_skip
        self.actions = [int(a.value) for a in self._ale.getMinimalActionSet()]
        self.save, self.restore = self._ale.cloneState, self._ale.restoreState
        self.lives, self.over = self._ale.lives, self._ale.game_over

    def step(self, action: int) -> float:
        return float(np.sign(sum(self._ale.act(action) for _ in range(self._skip))))  # games count in ones or in thousands

    def mark(self) -> bytes:
        return self._ale.getRAM().tobytes()


class EmulatorSearch:
    """Tries doing nothing, every action held, the rest of its last plan and random plans; where several do equally well, the simplest wins.

    Args: emulator: makes the `Emulator` of an environment; by default that of the Arcade Learning Environment.
    """

    def __init__(self, config: SearchConfig | None = None, emulator: Callable[[gym.Env], Emulator] = _Ale):
        self.config = config or SearchConfig()
        self._emulator = emulator

    def reset(self, env: gym.Env, observation: Any, seed: int) -> None:
        self._game = self._emulator(env)
        self._plan: list[int] = []
        self._queue: list[tuple[int, bytes]] = []
        self._expected: bytes | None = None
        self._rng = np.random.default_rng(seed)

    def act(self, observation: Any) -> int:
        if not self._queue or self._game.mark() != self._expected:
            self._search()
        action, self._expected = self._queue.pop(0)
        self._plan = self._plan[1:]
        return action

    def _value(self, plan: Sequence[int], start: Any) -> float:
        """Discounted reward of a plan from a saved state; a lost life costs what `config` says."""
        game = self._game
        game.restore(start)
        lives, value, weight = game.lives(), 0.0, 1.0
        for action in plan:
            value += weight * game.step(action)
            if game.lives() < lives:
                value -= weight * self.config.life
                lives = game.lives()
            if game.over():
                break
            weight *= self.config.discount
        return value

    def _random_plan(self) -> list[int]:
        plan: list[int] = []
        while len(plan) < self.config.horizon:
            plan += [int(self._rng.choice(self._game.actions))] * int(self._rng.choice(self.config.lengths))
        return plan[: self.config.horizon]

    def _search(self) -> None:
        config = self.config
        start = self._game.save()

        idle = [self._game.idle] * config.horizon
        best, best_value = idle, self._value(idle, start)

        def consider(plan: list[int]) -> None:
            nonlocal best, best_value
            value = self._value(plan, start)
            if value > best_value + 1e-9:
                best, best_value = plan, value

        for action in self._game.actions:
            if action != self._game.idle:
                consider([*[action] * config.lengths[-1], *idle][: config.horizon])
        if any(action != self._game.idle for action in self._plan):
            consider([*self._plan, *idle][: config.horizon])
        for k in range(config.candidates):
            plan = list(best) if k % 2 else self._random_plan()
            if k % 2:
                at, length = int(self._rng.integers(config.horizon // 2)), int(self._rng.choice(config.lengths))
                plan[at : at + length] = [int(self._rng.choice(self._game.actions))] * length
            consider(plan)
        self._game.restore(start)
        # What the game will look like after each committed step tells later whether the environment was played otherwise.
        self._queue, self._expected = [], None
        for action in best[: config.commit]:
            self._game.step(action)
            self._queue.append((action, self._game.mark()))
            if self._game.over():
                break
        self._game.restore(start)
        self._plan = list(best)
