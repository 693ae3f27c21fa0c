"""Rollouts: episodes of an agent in its environments, many at once."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
import numpy as np

from opengato.console import notice
from opengato.domains import Task
from opengato.domains.starts import evaluation_seeds, fingerprint, start_of
from opengato.domains.task import success_of
from opengato.errors import OpenGatoError
from opengato.evaluation.agent import Agent, Steady
from opengato.jobs import Begun, Done, Failed, describe

BATCH = 32  # environments stepped together
MOST_FRAMES = 80
_REFILLS = 4  # new episodes begin once one in so many slots is free: each beginning is a pass of its own
_SILENCE_S = 1.0  # longest time without a sign of life, while steps are taken


@dataclass
class Rollout:
    """One episode: its seed, undiscounted return, length, success (None where the task defines none), and its frames if asked for.

    `start` and `first` are the hashes of its full starting state and of its first observation, see `domains.starts`. `stride` is the
    number of steps from one frame to the next.
    """

    seed: int
    episode_return: float
    length: int
    success: bool | None
    start: int = 0
    first: int = 0
    frames: list[np.ndarray] = field(default_factory=list)
    stride: int = 1


def rollout(
    agent: Agent,
    task: Task,
    episodes: int,
    *,
    batch: int = BATCH,
    temperature: float | None = None,
    prompt: bool = True,
    action_steps: int = 1,
    record: int = 0,
    seed: int | None = None,
) -> list[Rollout]:
    """Run `episodes` episodes in this process and return them by seed; each is the same whatever runs beside it.

    Args:
        batch: environments stepped together.
        seed: of the first episode, which the others follow; None: the task's evaluation seeds.
        temperature, prompt, action_steps, record: as in `rollouts`.

    Raises:
        OpenGatoError: where an episode fails.
    """
    done: list[Rollout] = []
    seeds = evaluation_seeds(task, episodes) if seed is None else list(range(seed, seed + episodes))
    acting: dict[str, Any] = {"temperature": temperature, "prompt": prompt, "action_steps": action_steps}
    for message in rollouts(agent, task, seeds, batch=batch, record=seeds[:record], **acting):
        if isinstance(message, Failed):
            raise OpenGatoError(f"the episode of {task.id!r} with seed {message.seed} failed: {message.reason}")
        if isinstance(message, Done):
            done.append(message.value)
    return sorted(done, key=lambda r: r.seed)


def rollouts(
    agent: Agent,
    task: Task,
    seeds: Sequence[int],
    *,
    batch: int = BATCH,
    temperature: float | None = None,
    prompt: bool = True,
    action_steps: int = 1,
    record: Collection[int] = (),
    timeout_s: float = math.inf,
) -> Iterator[Begun | Done | Failed | None]:
    """Run the episodes of some seeds beside one another, and yield what becomes of each: `Done` with its `Rollout`, or `Failed`.

    None is a sign of life. An environment that raises fails its own episode only. Where one episode ends the next begins, in the same
    environment, some at a time: they read their prompts together.

    Args:
        batch: environments stepped together.
        temperature, prompt: see `make_actor`. action_steps: actions that are taken from one look, see `Engine.plan`.
        record: keep frames of these seeds: every frame, or of long episodes 40 to 80, equally far apart.
        timeout_s: an episode that takes longer fails: what its environment takes, and its part of what the agent takes.
    """
    waiting = deque(seeds)
    slots = min(batch, len(seeds))
    actor = Steady(agent, task, slots, temperature, prompt, action_steps)
    desks: dict[int, _Desk] = {}
    idle: list[gym.Env | None] = [None] * slots  # environments without an episode, or places for one
    spoken = time.monotonic()

    try:
        while waiting or desks:
            if not desks or len(idle) * _REFILLS >= slots:
                while waiting and idle:
                    seed = waiting.popleft()
                    yield Begun(seed)
                    desk = _Desk(task, seed, seed in record, idle.pop())
                    if (reason := desk.start()) is not None:
                        idle.append(None)
                        yield Failed(seed, reason)
                        continue
                    slot = next(free for free in range(slots) if free not in desks)
                    desks[slot] = desk
                    actor.reset(slot, seed)
            began = time.monotonic()
            actions = actor.act({slot: desk.observation for slot, desk in desks.items()}) if desks else {}
            share = (time.monotonic() - began) / max(1, len(desks))
            for slot, desk in list(desks.items()):
                desk.seconds += share
                reason = desk.step(actions[slot])
                if reason is None and not desk.over and desk.seconds > timeout_s:
                    reason = f"it took longer than {timeout_s:g} s"
                if reason is None and not desk.over:
                    if time.monotonic() - spoken > _SILENCE_S:
                        spoken = time.monotonic()
                        yield None
                    continue
                if reason is not None:
                    desk.leave()
                idle.append(desk.environment)
                del desks[slot]
                yield Done(desk.episode.seed, desk.episode) if reason is None else Failed(desk.episode.seed, reason)
    finally:
        for environment in [*idle, *(desk.environment for desk in desks.values())]:
            _close(environment)


def _close(environment: gym.Env | None) -> None:
    if environment is not None:
        try:
            environment.close()
        except Exception:  # its episode is over, or it is broken already
            pass


class _Desk:
    """An episode and its environment, a new one where none is given. What it raises comes back as the reason of the failure."""

    def __init__(self, task: Task, seed: int, filmed: bool, environment: gym.Env | None = None):
        self.task, self.filmed, self.environment = task, filmed, environment
        self.episode = Rollout(seed, 0.0, 0, success_of(task.has_success, {}))
        self.over, self.seconds = False, 0.0

    def start(self) -> str | None:
        return self._guard(self._start)

    def step(self, action: Any) -> str | None:
        return self._guard(self._step, action)

    def leave(self) -> None:
        """Let the environment go."""
        _close(self.environment)
        self.environment = None

    def _guard(self, function: Callable[..., None], *arguments: Any) -> str | None:
        began = time.monotonic()
        try:
            function(*arguments)
        except Exception as error:
            self.leave()
            return describe(error)
        finally:
            self.seconds += time.monotonic() - began
        return None

    def _start(self) -> None:
        if self.environment is None:
            self.environment = self.task.make()
        self.observation, _ = self.environment.reset(seed=self.episode.seed)
        self.episode.start = start_of(self.task, self.environment, self.observation)
        self.episode.first = fingerprint(self.observation)

    def _step(self, action: Any) -> None:
        assert self.environment is not None
        episode = self.episode
        if self.filmed and episode.length % episode.stride == 0:
            self._film(episode, self.environment)
        self.observation, reward, terminated, truncated, info = self.environment.step(action)
        episode.episode_return += float(reward)
        episode.length += 1
        episode.success = success_of(self.task.has_success, info)
        self.over = bool(terminated or truncated)

    def _film(self, episode: Rollout, environment: gym.Env) -> None:
        try:
            frame = np.asarray(environment.render())
            if frame.ndim != 3:
                raise OpenGatoError("its environment draws no pictures")
            episode.frames.append(frame)
        except Exception as error:  # a machine without OpenGL: scores matter more than pictures
            notice(f"{self.task.id}: no video: {error}")
            self.filmed = False
        if len(episode.frames) == MOST_FRAMES:
            episode.frames, episode.stride = episode.frames[::2], 2 * episode.stride
