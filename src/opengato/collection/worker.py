"""What a collecting process does: episodes of one task, checked and packed, an expert's one by one, a student's beside one another."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Generator, Iterator
from typing import Any

import gymnasium as gym

from opengato.collection.record import course_of, record_episode
from opengato.collection.staging import pack_episode
from opengato.collection.student import Acting, Student
from opengato.domains.starts import is_evaluation
from opengato.domains.task import Expert, Task
from opengato.episode import Episode
from opengato.jobs import Begun, Done, Failed, describe
from opengato.tokens.members import conform

STUDENT_SLOTS = 16  # episodes of a student beside one another: a step of all of them takes hardly longer than one of one
_REFILLS = 4  # new ones begin once one slot in so many is free: each beginning is a pass of its own
_SILENCE_S = 1.0  # longest time without a sign of life, while steps are taken


class _Places:
    """Environments, each with its expert, and who acts: kept from job to job, since to import and load them costs seconds."""

    def __init__(self, task: Task, student: Student | None):
        self.task, self.student = task, student
        self.acting: Acting | None = student.make(task, STUDENT_SLOTS) if student is not None else None
        self._made: dict[int, tuple[gym.Env, Expert]] = {}

    def __getitem__(self, slot: int) -> tuple[gym.Env, Expert]:
        if slot not in self._made:
            assert self.task.make_expert is not None
            self._made[slot] = self.task.make(), self.task.make_expert()
        return self._made[slot]

    def let_go(self, slot: int) -> None:
        """After whatever went wrong: the next episode must not depend on what this one left behind."""
        if slot in self._made:
            try:
                self._made.pop(slot)[0].close()
            except Exception:  # it may be broken: that is why it is let go
                pass

    def close(self) -> None:
        for slot in list(self._made):
            self.let_go(slot)


_places: _Places | None = None


def record(task: Task, noise: float, student: Student | None, seeds: tuple[int, ...]) -> Iterator[Begun | Done | Failed | None]:
    """The work of a collecting process: an episode a seed, packed; None where its start is evaluation's."""
    global _places
    if _places is None or (_places.task.id, _places.student) != (task.id, student):
        if _places is not None:
            _places.close()
        _places = None  # should making the next one raise
        _places = _Places(task, student)
    if student is not None:
        yield from _corrected(_places, task, student, seeds)
        return
    for seed in seeds:
        yield Begun(seed)
        try:
            env, expert = _places[0]
            found = None if is_evaluation(task, env, seed) else _packed(task, *record_episode(task, env, expert, seed, noise))
        except Exception:  # whatever the expert or the simulator raises
            _places.let_go(0)
            raise
        yield Done(seed, found)


def _corrected(places: _Places, task: Task, student: Student, seeds: tuple[int, ...]) -> Iterator[Begun | Done | Failed | None]:
    """Episodes of a student; what goes wrong in one leaves the others alone."""
    assert places.acting is not None
    waiting, spoken = deque(seeds), time.monotonic()
    seed_of: dict[int, int] = {}
    courses: dict[int, Generator[Any, Any, tuple[Episode, Any]]] = {}
    seen: dict[int, Any] = {}

    def go_on(slot: int, action: Any = None) -> Done | Failed | None:
        """Step the episode of a slot; how it ended, where it did."""
        try:
            seen[slot] = courses[slot].send(action)
            return None
        except StopIteration as end:
            message: Done | Failed = Done(seed_of[slot], _packed(task, *end.value))
        except Exception as error:  # whatever the expert or the simulator raises
            places.let_go(slot)
            message = Failed(seed_of[slot], describe(error))
        del courses[slot], seed_of[slot]
        seen.pop(slot, None)
        return message

    while waiting or courses:
        free = [slot for slot in range(STUDENT_SLOTS) if slot not in courses]
        if len(free) * _REFILLS >= STUDENT_SLOTS:
            for slot, seed in zip(free, [waiting.popleft() for _ in range(min(len(free), len(waiting)))]):
                yield Begun(seed)
                try:
                    env, expert = places[slot]
                    if is_evaluation(task, env, seed):
                        yield Done(seed, None)
                        continue
                except Exception as error:
                    places.let_go(slot)
                    yield Failed(seed, describe(error))
                    continue
                seed_of[slot], courses[slot] = seed, course_of(task, env, expert, seed, 0.0, student)
                if (message := go_on(slot)) is not None:
                    yield message
                else:
                    places.acting.reset(slot, seed)
        actions = places.acting.act(dict(seen)) if seen else {}
        for slot, action in actions.items():
            if (message := go_on(slot, action)) is not None:
                yield message
        if time.monotonic() - spoken > _SILENCE_S:
            spoken = time.monotonic()
            yield None


def _packed(task: Task, episode: Episode, final: Any) -> bytes:
    # What does not fit the task's spaces would only fail at training. Simulators leave their own bounds, though.
    steps = len(episode)
    episode.observations = conform(task.observation_space, episode.observations, "observation", bounded=False, steps=steps)
    episode.actions = conform(task.action_space, episode.actions, "action", bounded=False, steps=steps)
    return pack_episode(episode, final)  # half of a surrogate pair cannot be
