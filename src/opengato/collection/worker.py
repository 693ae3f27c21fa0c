"""What a collecting process does: episodes of one task after the other, checked and packed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from opengato.collection.record import record_episode
from opengato.collection.staging import pack_episode
from opengato.collection.student import Student
from opengato.domains.starts import is_evaluation
from opengato.domains.task import Task
from opengato.jobs import Begun, Done
from opengato.tokens.members import conform

_worker: dict[str, Any] = {}  # what this process is at, with environment, expert and student: to import and load them costs seconds


def _let_go() -> None:
    if "env" in _worker:
        try:
            _worker["env"].close()
        except Exception:  # it may be broken: that is why it is let go
            pass
    _worker.clear()


def record(task: Task, noise: float, student: Student | None, seeds: tuple[int, ...]) -> Iterator[Begun | Done]:
    """The work of a collecting process: an episode a seed, packed; None where its start is evaluation's."""
    for seed in seeds:
        yield Begun(seed)
        try:
            if _worker.get("at") != (task.id, student):
                _let_go()
                assert task.make_expert is not None
                acting = student.make(task) if student is not None else None
                _worker.update(env=task.make(), expert=task.make_expert(), acting=acting, at=(task.id, student))
            if is_evaluation(task, _worker["env"], seed):
                yield Done(seed, None)
                continue
            episode, final = record_episode(task, _worker["env"], _worker["expert"], seed, noise, student, _worker["acting"])
            # What does not fit the task's spaces would only fail at training. Simulators leave their own bounds, though.
            steps = len(episode)
            episode.observations = conform(task.observation_space, episode.observations, "observation", bounded=False, steps=steps)
            episode.actions = conform(task.action_space, episode.actions, "action", bounded=False, steps=steps)
            packed = pack_episode(episode, final)  # half of a surrogate pair cannot be
        except Exception:  # whatever the expert or the simulator raises
            _let_go()  # the next episode must not depend on what this one left behind
            raise
        yield Done(seed, packed)
