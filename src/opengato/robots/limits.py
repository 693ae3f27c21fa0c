"""Limits that the loop holds every command to, whatever the agent says; each command that was cut is counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from gymnasium import spaces

from opengato.errors import OpenGatoError, unknown

Numbers = float | np.ndarray | list[float] | tuple[float, ...]


@dataclass(frozen=True)
class Limits:
    """How far, how fast and where to one array of a command may move a robot. Numbers beyond are cut to the nearest allowed one.

    All are in the units of positions, each a number for all of the array's, or an array of its shape; infinity where one has no limit.

    Attributes:
        step: the farthest that one command may move it from where it is.
        velocity: the fastest, a second: from where the last command sent it to where the next one does.
        low, high: the workspace. A robot that is outside of it already may stay where it is or come back.
        commands: what the numbers are: "positions" to go to, "displacements" from where it is, or "velocities" a second.
        unit: what 1 of a command is in the units of positions.
        position: where it is, from an observation, as an array of the command's shape. Needed for steps and velocities of positions,
            whose first command has no other before it, and for the workspace of displacements and velocities.
    """

    step: Numbers | None = None
    velocity: Numbers | None = None
    low: Numbers | None = None
    high: Numbers | None = None
    commands: Literal["positions", "displacements", "velocities"] = "positions"
    unit: Numbers = 1.0
    position: Callable[[Any], Any] | None = None


class Limiter:
    """The limits of one episode's commands.

    Args:
        space: of the commands. rate: how many of them a second.
        limits: of an action space that is one array; or by the path of each array in it ("left.0"), others being free.

    Raises OpenGatoError for a field that is no array of floats, or limits that make no sense.

    Attributes:
        counts: how many commands were cut by each of "step", "velocity" and "workspace".
    """

    def __init__(self, space: spaces.Space, limits: Limits | Mapping[str, Limits], rate: float):
        fields = dict(_arrays(space))
        wanted = {"": limits} if isinstance(limits, Limits) else dict(limits)
        if strange := sorted(set(wanted) - set(fields)):
            if not strange[0]:
                raise OpenGatoError(f"limits are of one array, but the action space is {space}: give them by field, {{path: Limits(…)}}")
            raise unknown("action field of floats in limits", strange[0], fields)
        self._fields = {path: _Field(path, fields[path], given, rate) for path, given in wanted.items()}
        self.counts: Counter[str] = Counter()

    def __call__(self, command: Any, observation: Any) -> Any:
        """The command that may be sent instead, at this observation."""
        cut: set[str] = set()
        out = self._limit(command, observation, "", cut)
        self.counts.update(cut)
        return out

    def _limit(self, command: Any, observation: Any, path: str, cut: set[str]) -> Any:
        if path in self._fields:
            return self._fields[path](command, observation, cut)
        if isinstance(command, dict):
            return {key: self._limit(part, observation, f"{path}.{key}".lstrip("."), cut) for key, part in command.items()}
        if isinstance(command, tuple):
            return tuple(self._limit(part, observation, f"{path}.{i}".lstrip("."), cut) for i, part in enumerate(command))
        return command


class _Field:
    """The limits of one array."""

    def __init__(self, path: str, space: spaces.Box, limits: Limits, rate: float):
        self.space, self.rate, self.kind, self.position = space, rate, limits.commands, limits.position
        self.name = f"limits of {path}" if path else "limits"
        shape = space.shape

        def array(name: str, otherwise: float) -> np.ndarray:
            given = getattr(limits, name)
            try:
                out = np.broadcast_to(np.asarray(otherwise if given is None else given, np.float64), shape)
            except ValueError:
                raise OpenGatoError(f"{self.name}: {name} is {given} where the command has shape {shape}: give it that shape") from None
            if np.isnan(out).any() or (name in ("step", "velocity", "unit") and not (out > 0).all()):
                raise OpenGatoError(f"{self.name}: {name} is {given}: give numbers{'' if name in ('low', 'high') else ' above 0'}")
            return out

        self.step, self.velocity, self.unit = array("step", np.inf), array("velocity", np.inf) / rate, array("unit", 1.0)
        self.low, self.high = array("low", -np.inf), array("high", np.inf)
        if (self.low > self.high).any():
            raise OpenGatoError(f"{self.name}: low is {limits.low}, above high, which is {limits.high}: give the lower ones first")
        if self.kind not in ("positions", "displacements", "velocities"):
            raise OpenGatoError(f"{self.name}: commands is {self.kind!r}: choose 'positions', 'displacements' or 'velocities'")
        moves = "step" if limits.step is not None else "velocity" if limits.velocity is not None else None
        place = "low" if limits.low is not None else "high" if limits.high is not None else None
        if self.position is None and (needs := moves if self.kind == "positions" else place):
            raise OpenGatoError(
                f"{self.name}: {needs} of {self.kind} needs to know where the robot is: give position=lambda observation: …"
            )
        self.last: np.ndarray | None = None

    def __call__(self, command: np.ndarray, observation: Any, cut: set[str]) -> np.ndarray:
        wanted = np.asarray(command, np.float64) * self.unit
        if self.kind == "velocities":
            wanted = wanted / self.rate
        here = self._here(observation)
        allowed: list[tuple[str, np.ndarray, np.ndarray]]
        if self.kind == "positions":
            last = here if self.last is None else self.last
            allowed = [("workspace", self.low, self.high), ("velocity", last - self.velocity, last + self.velocity)]
            allowed.append(("step", here - self.step, here + self.step))
        else:
            inside = np.minimum(self.low - here, 0), np.maximum(self.high - here, 0)
            allowed = [("velocity", -self.velocity, self.velocity), ("step", -self.step, self.step), ("workspace", *inside)]
        target = wanted
        for name, low, high in allowed:
            before, target = target, np.clip(target, low, high)
            if (before != target).any():
                cut.add(name)
        self.last = target
        back = target / self.unit * (self.rate if self.kind == "velocities" else 1.0)
        out = np.where(target == wanted, command, back.astype(command.dtype))  # what is allowed stays to the last digit
        return np.clip(out, self.space.low, self.space.high)

    def _here(self, observation: Any) -> np.ndarray:
        if self.position is None:
            return np.zeros(self.space.shape)
        try:
            here = np.asarray(self.position(observation), np.float64)
        except Exception as error:
            raise OpenGatoError(f"{self.name}: position(observation) failed: {type(error).__name__}: {error}") from error
        if here.shape != self.space.shape or not np.isfinite(here).all():
            raise OpenGatoError(f"{self.name}: position(observation) is {here}: give finite numbers of shape {self.space.shape}")
        return here


def _arrays(space: spaces.Space, path: str = "") -> list[tuple[str, spaces.Box]]:
    """The arrays of floats in an action space, by path."""
    if isinstance(space, spaces.Dict | spaces.Tuple):
        parts = space.spaces.items() if isinstance(space, spaces.Dict) else enumerate(space.spaces)
        return [found for key, part in parts for found in _arrays(part, f"{path}.{key}".lstrip("."))]
    return [(path, space)] if isinstance(space, spaces.Box) and np.issubdtype(space.dtype, np.floating) else []
