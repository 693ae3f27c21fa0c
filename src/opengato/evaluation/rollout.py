"""Rollouts: episodes of an agent in its environments, many at once through one engine."""

from __future__ import annotations

import math
import sys
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
import numpy as np

from opengato.checkpoint import Checkpoint
from opengato.domains import Task
from opengato.errors import OpenGatoError
from opengato.jobs import Begun, Done, Failed, describe
from opengato.policy.engine import Engine
from opengato.policy.prompt import crop_prompt

BATCH = 10  # environments stepped together
MOST_FRAMES = 80
_SILENCE_S = 1.0  # longest time without a sign of life, while steps are taken
FIRST_SEED = 100_000  # evaluation's seeds; collection starts from 0, reference scores from 10,000


@dataclass
class Rollout:
    """One episode: its seed, undiscounted return, length, success (None where the task defines none), and its frames if asked for.

    `stride` is the number of steps from one frame to the next.
    """

    seed: int
    episode_return: float
    length: int
    success: bool | None
    frames: list[np.ndarray] = field(default_factory=list)
    stride: int = 1


def rollout(
    checkpoint: Checkpoint,
    task: Task,
    episodes: int,
    *,
    batch: int = BATCH,
    temperature: float | None = None,
    prompt: bool = True,
    record: int = 0,
    seed: int = FIRST_SEED,
) -> list[Rollout]:
    """Run `episodes` episodes in this process, seeds `seed` on, and return them by seed; each is the same whatever runs beside it.

    Args:
        batch: environments stepped together.
        temperature, prompt, record: as in `rollouts`.

    Raises:
        OpenGatoError: where an episode fails.
    """
    done: list[Rollout] = []
    seeds = range(seed, seed + episodes)
    for message in rollouts(checkpoint, task, seeds, batch=batch, temperature=temperature, prompt=prompt, record=seeds[:record]):
        if isinstance(message, Failed):
            raise OpenGatoError(f"the episode of {task.id!r} with seed {message.seed} failed: {message.reason}")
        if isinstance(message, Done):
            done.append(message.value)
    return sorted(done, key=lambda r: r.seed)


def rollouts(
    checkpoint: Checkpoint,
    task: Task,
    seeds: Sequence[int],
    *,
    batch: int = BATCH,
    temperature: float | None = None,
    prompt: bool = True,
    record: Collection[int] = (),
    timeout_s: float = math.inf,
) -> Iterator[Begun | Done | Failed | None]:
    """Run the episodes of some seeds, and yield what becomes of each: `Done` with its `Rollout`, or `Failed`; None as a sign of life.

    An environment that raises fails its own episode; a fresh one takes its place.

    Args:
        batch: environments stepped together.
        temperature: of the actions, see `Engine`. prompt: start from the checkpoint's demonstration of the task.
        record: keep frames of these seeds: every frame, or of long episodes 40 to 80, equally far apart.
        timeout_s: an episode that takes longer fails: what its environment takes, and its part of what the engine takes.
    """
    layout = checkpoint.layout(task.id, task.observation_space, task.action_space)
    before = crop_prompt(checkpoint.prompts.get(task.id), checkpoint.model.config) if prompt else None
    engine = Engine(checkpoint.model, checkpoint.tokenizer, min(batch, len(seeds)), temperature=temperature)
    waiting = deque(seeds)
    desks = [_Desk(task, record) for _ in engine.slots]
    busy: dict[int, _Desk] = {}
    spoken = time.monotonic()
    try:
        while waiting or busy:
            for slot, desk in enumerate(desks):
                while waiting and slot not in busy:
                    seed = waiting.popleft()
                    yield Begun(seed)
                    reason = desk.start(seed)
                    if reason is not None:
                        yield Failed(seed, reason)
                    else:
                        engine.reset(slot, layout, before, seed)
                        busy[slot] = desk
            if not busy:
                break
            began = time.monotonic()
            actions = engine.act({slot: desk.observation for slot, desk in busy.items()})
            share = (time.monotonic() - began) / len(busy)
            for slot, action in actions.items():
                desk = busy[slot]
                desk.seconds += share
                reason = desk.step(action)
                if reason is None and not desk.over and desk.seconds > timeout_s:
                    reason = f"it took longer than {timeout_s:g} s"
                    desk.leave()
                if reason is not None:
                    yield Failed(desk.episode.seed, reason)
                elif desk.over:
                    yield Done(desk.episode.seed, desk.episode)
                elif time.monotonic() - spoken > _SILENCE_S:
                    yield None
                else:
                    continue
                spoken = time.monotonic()
                if reason is not None or desk.over:
                    del busy[slot]
    finally:
        for desk in desks:
            desk.leave()


class _Desk:
    """One slot's environment and the episode in it. What the environment raises comes back as the reason of the failure."""

    def __init__(self, task: Task, record: Collection[int]):
        self.task, self.record = task, record
        self.environment: gym.Env | None = None

    def start(self, seed: int) -> str | None:
        self.episode = Rollout(seed, 0.0, 0, False if self.task.has_success else None)
        self.over, self.seconds, self.filmed = False, 0.0, seed in self.record
        return self._guard(self._start)

    def step(self, action: Any) -> str | None:
        return self._guard(self._step, action)

    def leave(self) -> None:
        """Let the environment go: the next episode must not depend on what this one left behind."""
        if self.environment is not None:
            try:
                self.environment.close()
            except Exception:  # it may be broken: that is why it is left
                pass
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

    def _step(self, action: Any) -> None:
        assert self.environment is not None
        episode = self.episode
        if self.filmed and episode.length % episode.stride == 0:
            self._film(episode, self.environment)
        self.observation, reward, terminated, truncated, info = self.environment.step(action)
        episode.episode_return += float(reward)
        episode.length += 1
        if self.task.has_success:
            episode.success = bool(info.get("success", False))
        self.over = bool(terminated or truncated)

    def _film(self, episode: Rollout, environment: gym.Env) -> None:
        try:
            episode.frames.append(np.asarray(environment.render()))
        except Exception as error:  # a machine without OpenGL: scores matter more than pictures
            print(f"{self.task.id}: no video: {error}", file=sys.stderr)
            self.filmed = False
        if len(episode.frames) == MOST_FRAMES:
            episode.frames, episode.stride = episode.frames[::2], 2 * episode.stride
