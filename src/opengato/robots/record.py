"""What a robot was made to do, kept as episodes and written as Minari datasets."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from opengato.domains.task import Task, dataset_id
from opengato.episode import Episode, Nested, stack
from opengato.errors import OpenGatoError
from opengato.robots.robot import Robot, Scored
from opengato.tokens.spaces import differences, to_json

_IDS = re.compile(r"[A-Za-z0-9_-]+/[A-Za-z0-9_.-]+")


class Recorder:
    """Keeps the episodes of `run` in memory until `write` adds them to the dataset `<root>/opengato/<task>-v0`.

    Timestep t is what the robot saw, and the action that it then did, as far as it says (`Robot.act`), late ticks' held or interpolated
    actions included: what was done, not what the agent wanted. Where several agents acted (`Takeover`), the episode's info "agents" says
    who from which timestep on, as JSON. Where the robot could not be observed after its last action, the
    observation before it stands in its place.

    Args:
        root: the folder of the datasets; None: the episodes are only kept.
        source: who acted, "expert" where a human did.

    Attributes:
        episodes: those that are not written yet, each with its T + 1 observations.
    """

    def __init__(self, root: Path | str | None = None, source: str = "opengato"):
        self.root, self.source = Path(root).absolute() if root is not None else None, source
        self.episodes: list[tuple[Episode, Nested]] = []
        self._task: Task | None = None
        self._facts: dict[str, Any] = {}
        self._robot: Robot | None = None
        self._observations: list[Nested] = []
        self._actions: list[Nested] = []
        self._rewards: list[float] = []
        self._agents: list[tuple[int, str]] = []  # first timestep, name
        self._last: Nested = None

    @property
    def folder(self) -> Path | None:
        """Of the dataset, once an episode has begun."""
        return self.root / dataset_id(self._task) if self.root is not None and self._task is not None else None

    def begin(self, robot: Robot, task: str) -> None:
        """An episode begins. Raises OpenGatoError where it could not be written afterwards."""
        if not _IDS.fullmatch(task):
            raise OpenGatoError(f"task {task!r} cannot be recorded: name it domain/name, in letters, digits, '-' and '_'")
        described = Task(task, robot.observation_space, robot.action_space, _no_env, None, "", "", f"{self.source} on a robot")
        # As JSON gives it back, to be compared with.
        facts = json.loads(json.dumps({"opengato_rate": float(robot.rate), "opengato_names": getattr(robot, "names", None)}))
        if self._task is not None and self.episodes and (self._task.id != task or self._facts != facts):
            raise OpenGatoError(
                f"the recorder has episodes of {self._task.id!r} that are not written: write them, or take another recorder"
            )
        self._task, self._facts = described, facts
        self._check_dataset()
        self._clear()
        self._robot = robot

    def add(self, observation: Nested, action: Nested, reward: float, agent: str = "") -> None:
        """One timestep: what was seen, and what was then done, by which agent of a `Takeover`."""
        if not self._agents or self._agents[-1][1] != agent:
            self._agents.append((len(self._actions), agent))
        self._observations.append(observation)
        self._actions.append(action)
        self._rewards.append(reward)
        self._last = observation

    def see(self, observation: Nested) -> None:
        """What was seen after the last action."""
        self._last = observation

    def end(self, ended: str) -> None:
        """The episode is over; one without actions is not kept. `ended`: as in `Report`."""
        robot, self._robot = self._robot, None
        if robot is None or self._task is None or not self._actions:
            return
        scored = robot if isinstance(robot, Scored) else None
        episode = Episode(
            stack(self._observations),
            stack(self._actions),
            np.array(self._rewards, np.float32),
            self._task.id,
            self.source,
            scored.success if scored else None,
            getattr(robot, "seed", None),
            {"ended": ended, "terminated": bool(scored and scored.terminated)},
        )
        episode.info["return"] = episode.episode_return
        if len(self._agents) > 1:
            episode.info["agents"] = json.dumps(self._agents)
        self.episodes.append((episode, stack([*self._observations, self._last])))
        self._clear()

    def write(self, command: str = "") -> Path | None:
        """Add the episodes to the dataset and forget them; returns its folder, None where there is nothing to write."""
        from opengato.datasets.minari import write_minari

        if self.root is None:
            raise OpenGatoError("the recorder has no root: give it the folder of the datasets")
        if not self.episodes or self._task is None or (folder := self.folder) is None:
            return None
        write_minari(
            self._task,
            folder,
            self.episodes,
            command=command,
            description=f"{self._task.id}: what {self.source} did on a robot at {self._facts['opengato_rate']:g} Hz.",
            metadata=self._facts,
        )
        self.episodes = []
        return folder

    def _clear(self) -> None:
        self._robot, self._last = None, None
        self._observations, self._actions, self._rewards, self._agents = [], [], [], []

    def _check_dataset(self) -> None:
        """Stop before anything moves, where what will be done does not belong into the dataset that is there."""
        if (folder := self.folder) is None or self._task is None:
            return
        from opengato.datasets.minari import import_minari, load_minari

        import_minari()
        if not folder.is_dir():
            return
        there = load_minari(folder)
        found = {"source": there.source, **{key: there.metadata.get(key) for key in self._facts}}
        lines = [
            f"its {key.removeprefix('opengato_')} is {found[key]!r}, not {value!r}"
            for key, value in {"source": self.source, **self._facts}.items()
            if found[key] != value
        ]
        for known, given in (
            (there.observation_space, self._task.observation_space),
            (there.action_space, self._task.action_space),
        ):
            lines += differences(to_json(known), to_json(given))
        if lines:
            raise OpenGatoError(f"the dataset in {folder} is another one: {'; '.join(lines)}: record into another folder")


def _no_env() -> Any:
    raise OpenGatoError("a robot is no environment that could be made")
