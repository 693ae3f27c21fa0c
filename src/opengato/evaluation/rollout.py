"""Rollouts: episodes of an agent in its environments, many at once through one engine."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from opengato.checkpoint import Checkpoint
from opengato.domains import Task
from opengato.policy.engine import Engine
from opengato.policy.prompt import crop_prompt

BATCH = 10  # environments stepped together
MOST_FRAMES = 80
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
    progress: Callable[[Rollout], None] | None = None,
) -> list[Rollout]:
    """Run `episodes` episodes, seeds `seed` on, and return them by seed; each is the same whatever runs beside it.

    Args:
        batch: environments stepped together. prompt: start from the checkpoint's demonstration of the task.
        record: keep frames of this many episodes, from the first: every frame, or of long episodes 40 to 80, equally far apart.
        progress: called with each finished episode.
    """
    layout = checkpoint.layout(task.id, task.observation_space, task.action_space)
    before = crop_prompt(checkpoint.prompts.get(task.id), checkpoint.model.config) if prompt else None
    batch = min(batch, episodes)
    engine = Engine(checkpoint.model, checkpoint.tokenizer, batch, temperature=temperature)
    environments = [task.make() for _ in range(batch)]
    waiting = list(range(seed, seed + episodes))
    running: dict[int, Rollout] = {}
    observations: dict[int, Any] = {}
    done: list[Rollout] = []

    def start(slot: int) -> None:
        if waiting:
            now = waiting.pop(0)
            observations[slot], _ = environments[slot].reset(seed=now)
            running[slot] = Rollout(now, 0.0, 0, False if task.has_success else None)
            engine.reset(slot, layout, before, now)

    try:
        for slot in range(batch):
            start(slot)
        while running:
            actions = engine.act(observations)
            for slot, action in actions.items():
                current = running[slot]
                if current.seed - seed < record and current.length % current.stride == 0:
                    try:
                        current.frames.append(np.asarray(environments[slot].render()))
                    except Exception as error:  # a machine without OpenGL: scores matter more than pictures
                        print(f"{task.id}: no video: {error}", file=sys.stderr)
                        record = 0
                    if len(current.frames) == MOST_FRAMES:
                        current.frames, current.stride = current.frames[::2], 2 * current.stride
                observations[slot], reward, terminated, truncated, info = environments[slot].step(action)
                current.episode_return += float(reward)
                current.length += 1
                if task.has_success:
                    current.success = bool(info.get("success", False))
                if terminated or truncated:
                    done.append(current)
                    del running[slot], observations[slot]
                    if progress:
                        progress(current)
                    start(slot)
    finally:
        for environment in environments:
            environment.close()
    return sorted(done, key=lambda r: r.seed)
