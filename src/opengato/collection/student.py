"""Students: agents that act in an expert's place, so that the expert labels the states they reach (DAgger, Ross et al. 2011)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from opengato.domains.task import Task
from opengato.episode import student_of
from opengato.errors import OpenGatoError


class Acting(Protocol):
    """Agents of one task beside one another, in slots; what one does must not hang on who else acts."""

    def reset(self, slot: int, seed: int) -> None:
        """Start an episode in a slot; `seed` is of its sampling."""

    def act(self, observations: dict[int, Any]) -> dict[int, Any]:
        """Observations by slot to actions by slot."""


@dataclass(frozen=True)
class Student:
    """Who acts while an expert labels.

    Attributes:
        make: the agent at a task, in so many slots; it travels to other processes, so that it must be importable by name (no lambdas).
        beta: chance, at every timestep, that the expert's action is executed in place of the student's.
        round: of corrections, 1 or more; episodes are by "student of round N".
        digest: of what the student is, and its beta: a collection goes on with the same student only.
    """

    make: Callable[[Task, int], Acting]
    beta: float = 0.0
    round: int = 1
    digest: str = ""

    def __post_init__(self) -> None:
        if not 0 <= self.beta <= 1:
            raise OpenGatoError(f"beta is {self.beta:g}: give the chance of the expert's action, from 0 to 1")
        if self.round < 1:
            raise OpenGatoError(f"round is {self.round}: corrections begin with round 1")

    @property
    def source(self) -> str:
        """By whom its episodes are."""
        return student_of(self.round)

    def yields(self, seed: int, timestep: int) -> bool:
        """Whether the expert's action is executed: a draw that depends on round, seed and timestep alone."""
        draw = np.random.Generator(np.random.Philox(key=seed, counter=[0, 0, self.round, timestep])).random()
        return bool(draw < self.beta)
