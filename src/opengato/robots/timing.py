"""How well a control loop kept its time."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


@dataclass
class Timing:
    """What was measured, in seconds, in the order of the ticks.

    Attributes:
        rate: ticks a second that were wanted.
        periods: from one command to the next, as they were handed to the robot.
        delays: from when a tick was due to when its command was handed to the robot.
        work: that the robot took, for its command and its observation.
        inference: that the agent took for an action. The first one of a run is left out of these two, since it is waited for at rest.
        ages: from an observation to the command that answers it; one period, where nothing is late.
        frames: how old the oldest picture was when it was observed, of a robot that says so (`Stamped`).
        late: ticks without a new action. missed: ticks that passed without a command, since the robot was still busy.
    """

    rate: float
    periods: list[float] = field(default_factory=list)
    delays: list[float] = field(default_factory=list)
    work: list[float] = field(default_factory=list)
    inference: list[float] = field(default_factory=list)
    ages: list[float] = field(default_factory=list)
    frames: list[float] = field(default_factory=list)
    late: int = 0
    missed: int = 0

    @property
    def ticks(self) -> int:
        """How many commands were sent."""
        return len(self.delays)

    @property
    def jitter(self) -> np.ndarray:
        """How far each period was from the wanted one, absolute, in seconds, (ticks - 1,)."""
        return np.abs(np.array(self.periods) - 1 / self.rate)

    def __add__(self, other: Timing) -> Timing:
        """Of one run after the other, at the same rate; the pause between them counts as no period."""
        names = ("periods", "delays", "work", "inference", "ages", "frames")
        lists = {name: getattr(self, name) + getattr(other, name) for name in names}
        return Timing(self.rate, **lists, late=self.late + other.late, missed=self.missed + other.missed)

    def summary(self) -> dict[str, float | int]:
        """rate, held_rate, ticks, late, missed; p50, p99 and max in ms of the other rows that there are."""
        facts: dict[str, float | int] = {"rate": self.rate, "ticks": self.ticks, "late": self.late, "missed": self.missed}
        if self.periods:
            facts["held_rate"] = len(self.periods) / sum(self.periods)
        for name, seconds in self._rows():
            for label, value in zip(("p50", "p99", "max"), np.quantile(np.array(seconds), (0.5, 0.99, 1.0))):
                facts[f"{name}_{label}_ms"] = 1000 * float(value)
        return facts

    def _rows(self) -> list[tuple[str, np.ndarray | list[float]]]:
        rows: list[tuple[str, np.ndarray | list[float]]] = [("jitter", self.jitter), ("delay", self.delays), ("work", self.work)]
        rows += [("inference", self.inference), ("age", self.ages), ("frame", self.frames)]
        return [(name, seconds) for name, seconds in rows if len(seconds)]

    def __str__(self) -> str:
        """A table of the summary."""
        facts, says = (
            self.summary(),
            {
                "jitter": "of the period",
                "delay": "of a command behind its due time",
                "work": "of the robot a tick",
                "inference": "of the agent an action",
                "age": "of the observation when its action is sent",
                "frame": "of the oldest picture when it is observed",
            },
        )
        held = f", held {facts['held_rate']:.3f} Hz" if self.periods else ""
        lines = [f"{self.rate:g} Hz{held}: {self.ticks} ticks, {self.late} late, {self.missed} missed"]
        lines.append(f"{'ms':12}{'p50':>9}{'p99':>9}{'max':>9}")
        for name, _ in self._rows():
            numbers = "".join(f"{facts[f'{name}_{label}_ms']:9.2f}" for label in ("p50", "p99", "max"))
            lines.append(f"{name:12}{numbers}  {says[name]}")
        return "\n".join(lines)
