"""What a task is: an environment that can be made, an expert that solves it, and the scores both are measured by."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Protocol

import gymnasium as gym
from gymnasium import spaces

from opengato.errors import OpenGatoError


class Expert(Protocol):
    """An agent that solves one task with privileged access to its environment."""

    def reset(self, env: gym.Env, observation: Any, seed: int) -> None:
        """Start an episode: `env` was just reset and returned `observation`; `seed` seeds the expert's own randomness."""

    def act(self, observation: Any) -> Any:
        """The action to take now, a member of the action space.

        It must change neither the environment's visible state nor the observation.
        """


@dataclass(frozen=True)
class Reference:
    """Random and expert mean returns, measured by `opengato reference`, with the number of episodes and the command.

    `random_sd`, `expert_sd`: the standard deviations of the returns; None of a single episode, and of references that never told.
    """

    random: float
    expert: float
    n_random: int
    n_expert: int
    command: str
    random_sd: float | None = None
    expert_sd: float | None = None

    @property
    def problem(self) -> str | None:
        """Why no score can be measured by them; None where one can."""
        if self.expert > self.random:
            return None
        return f"its expert's return {self.expert:.4g} is not above the random agent's {self.random:.4g}"


@dataclass(frozen=True)
class Task:
    """One task of one domain.

    Attributes:
        id: "domain/name" in kebab case, for example "metaworld/drawer-close".
        domain: the first part of `id`.
        observation_space, action_space: what `make_env()` has, stated without importing the simulator.
        make_env: makes a fresh `gymnasium.Env` (render_mode "rgb_array"); truncates at the task's own time limit.
        make_expert: makes an `Expert` for it; None for tasks that only have data.
        requires: the import name of the simulator, for example "minigrid".
        extra: the extra that installs it: `pip install "opengato[extra]"`.
        expert_name: one line on how the expert works.
        has_success: whether `info["success"]` (bool or 0/1) of the last step tells success.
        burst: longest run of steps that noise in collection holds a random action: enough to be driven off course.
        start: of an environment that was just reset: its full state, nested like an observation, by which starts are told apart; None: its
            first observation is all of it. few_starts: whether two seeds easily draw the same one (see `domains.starts`).
    """

    id: str
    observation_space: spaces.Space
    action_space: spaces.Space
    make_env: Callable[[], gym.Env]
    make_expert: Callable[[], Expert] | None
    requires: str
    extra: str
    expert_name: str
    has_success: bool = False
    burst: int = 6
    start: Callable[[gym.Env], Any] | None = None
    few_starts: bool = False

    @property
    def domain(self) -> str:
        return self.id.split("/")[0]

    @property
    def available(self) -> bool:
        """Whether the simulator is installed (found, not imported)."""
        return importlib.util.find_spec(self.requires) is not None

    @property
    def reference(self) -> Reference:
        """The stored reference scores. Raises OpenGatoError where none was measured."""
        table = reference_scores()
        if self.id not in table:
            raise OpenGatoError(f"task {self.id!r} has no stored reference score: measure it with `opengato reference {self.id}`")
        return Reference(**table[self.id])

    def make(self) -> gym.Env:
        """Make the environment, or say which extra is missing."""
        if not self.available:
            raise OpenGatoError(f'task {self.id!r} needs {self.requires!r}, which is not installed: pip install "opengato[{self.extra}]"')
        return self.make_env()


@cache
def reference_scores() -> dict[str, dict[str, Any]]:
    """domains/references.json: task id -> the fields of `Reference`."""
    path = resources.files("opengato.domains") / "references.json"
    return json.loads(path.read_text()) if path.is_file() else {}
