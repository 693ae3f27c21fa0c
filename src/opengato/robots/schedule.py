"""When the ticks are, and which command each sends: the loop's arithmetic, without a clock or a thread."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
from gymnasium import spaces

from opengato.errors import OpenGatoError

Late = Literal["hold", "interpolate"]


class Schedule:
    """Tick k is due at start + k / rate, whatever happened to those before it, so that nothing adds up to a drift.

    Args:
        rate: ticks a second. start: of tick 0, in seconds.

    Attributes:
        tick: the number of the current one.
    """

    def __init__(self, rate: float, start: float):
        self.rate, self.start, self.tick = rate, start, -1

    def next(self, now: float) -> tuple[float, int]:
        """Go to the next tick: when it is due, in the past where it is late, and how many were missed before it.

        A tick whose whole period has passed is missed: to catch up with it would send two commands at once.
        """
        self.tick += 1
        missed = max(0, math.floor((now - self.start) * self.rate) - self.tick)
        self.tick += missed
        return self.start + self.tick / self.rate, missed


class Command:
    """The command of every tick, from the agent's actions, which may come late.

    hold: an action is sent when it came, and again while no newer one has come.
    interpolate: one that comes after m late ticks is reached in m + 1 equal steps from the last command, so that an agent that is m + 1
    periods slow moves the robot without jerks, those m periods later. One that is in time is sent as it is.

    Args:
        how: "hold" or "interpolate".

    Attributes:
        late: how many ticks in a row have had no new action.
    """

    def __init__(self, how: Late):
        self.late, self._how = 0, how
        self._now: Any = None
        self._from: Any = None
        self._to: Any = None
        self._step, self._steps = 0, 0

    def skip(self, ticks: int) -> None:
        """Ticks passed without a command."""
        self.late += ticks

    def fresh(self, action: Any) -> Any:
        """The command of a tick for which a new action is there."""
        self._from, self._to = self._now, action
        self._step, self._steps = 0, self.late + 1 if self._how == "interpolate" and self._now is not None else 1
        self.late = 0
        return self._next()

    def again(self) -> Any:
        """The command of a tick for which none is there: a late one."""
        self.late += 1
        return self._next()

    def _next(self) -> Any:
        if self._step < self._steps:
            self._step += 1
            self._now = self._to if self._step == self._steps else _between(self._from, self._to, self._step / self._steps)
        return self._now


def _between(a: Any, b: Any, share: float) -> Any:
    """The point on the line from `a` to `b`, in nested structures of float arrays."""
    if isinstance(a, dict):
        return {key: _between(a[key], b[key], share) for key in a}
    if isinstance(a, tuple):
        return tuple(_between(x, y, share) for x, y in zip(a, b))
    line = np.float64(a) + share * (np.float64(b) - np.float64(a))
    # Rounding to the space's dtype must not leave the interval between two members of it.
    return np.clip(line.astype(b.dtype), np.minimum(a, b), np.maximum(a, b))


def refuse_discrete(space: spaces.Space, path: str = "") -> None:
    """Raises OpenGatoError where an action space has a field without values in between."""
    if isinstance(space, spaces.Dict | spaces.Tuple):
        parts = space.spaces.items() if isinstance(space, spaces.Dict) else enumerate(space.spaces)
        for key, sub in parts:
            refuse_discrete(sub, f"{path}.{key}".lstrip("."))
    elif not (isinstance(space, spaces.Box) and np.issubdtype(space.dtype, np.floating)):
        raise OpenGatoError(
            f"late is 'interpolate', but action field {path or '(root)'} is {space}, without values in between: take 'hold'"
        )
