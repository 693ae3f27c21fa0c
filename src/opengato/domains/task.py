"""What a task is: an environment that can be made, an expert that solves it, and the scores both are measured by."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib import metadata, resources
from pathlib import Path
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
    `random_returns`, `expert_returns`: of every episode, in order of its seed. `random_success`, `expert_success`: share of their episodes
    that succeeded; None where the task defines no success, and of references that never told.
    `made_with`: `Task.made_with` as it was.
    """

    random: float
    expert: float
    n_random: int
    n_expert: int
    command: str
    random_sd: float | None = None
    expert_sd: float | None = None
    random_returns: list[float] | None = None
    expert_returns: list[float] | None = None
    expert_success: float | None = None
    random_success: float | None = None
    made_with: dict[str, str] | None = None

    def changed(self, task: Task) -> str | None:
        """What is another now than as this was measured; None where nothing is known to be."""
        now = task.made_with
        other = [f"{name} was {then}, and is {now.get(name)}" for name, then in (self.made_with or now).items() if now.get(name) != then]
        return "; ".join(other) or None

    @property
    def by_success(self) -> bool:
        """Whether a score is of success: the expert succeeds more often than the random agent, and its return is not above it."""
        if self.expert > self.random or self.expert_success is None or self.random_success is None:
            return False
        return self.expert_success > self.random_success

    @property
    def problem(self) -> str | None:
        """Why no score can be measured by them; None where one can."""
        if self.expert > self.random or self.by_success:
            return None
        return f"its expert's return {self.expert:.4g} is not above the random agent's {self.random:.4g}"


@dataclass(frozen=True)
class Human:
    """Published mean returns: of people at a task, and of a random agent under the same rules, which may not be all of ours."""

    random: float
    human: float

    def per_cent(self, episode_return: float) -> float:
        """Of the way from the random agent to people."""
        return 100 * (episode_return - self.random) / (self.human - self.random)


@cache
def _installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


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
        extra: the extra that installs it: `pip install "opengato[extra]"`; "" where none does, as of plug-ins.
        install: the whole command that installs the simulator, where the extra alone does not.
        expert_name: one line on how the expert works.
        has_success: whether `info["success"]` (bool or 0/1) of the last step tells success; None: where it is there, it does.
        burst: longest run of steps that noise in collection holds a random action: enough to be driven off course.
        start: of an environment that was just reset: its full state, nested like an observation, by which starts are told apart; None: its
            first observation is all of it. few_starts: whether two seeds easily draw the same one (see `domains.starts`).
        needs_past: what is observed now does not say what to do: what was done already, what was shown, or where one has been. Windows of
            one timestep teach nothing there.
        references: the package whose `references.json` has its reference scores; "": there are none.
        human: what people reach, where that was published.
        make_canonical: makes the environment under the rules that published results have, where they differ; see `canonical`.
        protocol: "canonical" of what `canonical` gave.
    """

    id: str
    observation_space: spaces.Space
    action_space: spaces.Space
    make_env: Callable[[], gym.Env]
    make_expert: Callable[[], Expert] | None
    requires: str
    extra: str
    expert_name: str
    has_success: bool | None = False
    burst: int = 6
    start: Callable[[gym.Env], Any] | None = None
    few_starts: bool = False
    needs_past: bool = False
    references: str = "opengato.domains"
    human: Human | None = None
    install: str = ""
    make_canonical: Callable[[], gym.Env] | None = None
    protocol: str = ""

    @property
    def canonical(self) -> Task:
        """This task under the rules that published results have: the same spaces, and other limits, for which no reference is stored.

        Raises OpenGatoError where no other rules are known.
        """
        if self.make_canonical is None:
            raise OpenGatoError(f"task {self.id!r} has no other rules than its own: leave --canonical out, or name tasks that have")
        return replace(self, make_env=self.make_canonical, make_canonical=None, references="", protocol="canonical")

    @property
    def domain(self) -> str:
        return self.id.split("/")[0]

    @property
    def available(self) -> bool:
        """Whether the simulator is installed (found, not imported)."""
        return _installed(self.requires)

    @property
    def measured(self) -> bool:
        """Whether there are stored reference scores."""
        return bool(self.references) and self.id in reference_scores(self.references)

    @property
    def reference(self) -> Reference:
        """The stored reference scores. Raises OpenGatoError where none was measured."""
        if not self.measured:
            raise OpenGatoError(f"task {self.id!r} has no stored reference score: measure it with `opengato reference {self.id}`")
        return Reference(**reference_scores(self.references)[self.id])

    @property
    def made_with(self) -> dict[str, str]:
        """What can be told, without making it, of what its episodes depend on."""
        digest = hashlib.blake2b(f"{self.observation_space!r} {self.action_space!r}".encode(), digest_size=4).hexdigest()
        return {"spaces": digest, "expert": self.expert_name, self.requires: _version(self.requires)}

    def make(self) -> gym.Env:
        """Make the environment, or say what is missing."""
        if not self.available:
            how = self.install or (f'pip install "opengato[{self.extra}]"' if self.extra else "install the package that has it")
            raise OpenGatoError(f"task {self.id!r} needs {self.requires!r}, which is not installed: {how}")
        return self.make_env()


def dataset_id(task: Task) -> str:
    """The Minari dataset of a task, "opengato/<domain>/<name>-v0", in the letters that Minari knows."""
    return f"opengato/{re.sub(r'[^-/0-9A-Za-z_]+', '-', task.id)}-v0"


def success_of(has_success: bool | None, info: Mapping[str, Any]) -> bool | None:
    """What the `info` of an episode's last step says of its success, see `Task.has_success`; None where success is not defined."""
    if has_success is False or (has_success is None and "success" not in info):
        return None
    return bool(info.get("success", False))


@cache
def _version(module: str) -> str:
    """Of the package that a module belongs to; empty where it is not installed, or of another name."""
    try:
        return metadata.version(module.replace("_", "-"))
    except metadata.PackageNotFoundError:
        return ""


def references_file(package: str) -> Path:
    """Where the reference scores of a package's tasks are."""
    return Path(str(resources.files(package) / "references.json"))


@cache
def reference_scores(package: str = "opengato.domains") -> dict[str, dict[str, Any]]:
    """A package's references.json, and in place of what it has that of $OPENGATO_REFERENCES: task id -> the fields of `Reference`."""
    paths = [references_file(package), Path(os.environ.get("OPENGATO_REFERENCES") or os.devnull)]
    return {task: fields for path in paths if path.is_file() for task, fields in json.loads(path.read_text()).items()}
