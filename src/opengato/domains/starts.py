"""Starts: which beginnings of a task are kept for evaluation, and by what they are told apart.

Disjoint seeds are not disjoint episodes: a small world has so few starting states that two seeds often draw the same one. A start is
therefore told apart by a hash of the full starting state.

* Where starts are few (`Task.few_starts`), one in four is evaluation's: those whose hash says so, whichever seed draws them.
* Elsewhere two seeds practically never draw the same start, and evaluation's are those of `SEEDS`.

`collect` records neither. Which they are depends on the task alone, so that scores of one agent and another are of the same starts.
"""

from __future__ import annotations

import hashlib
from typing import Any

import gymnasium as gym
import numpy as np

from opengato.domains.task import Task
from opengato.episode import leaves
from opengato.errors import OpenGatoError

SEEDS = range(100_000, 200_000)  # evaluation's; collection begins at 0, reference scores at 10,000
_ONE_IN = 4  # so that of a hundred starts at least a fifth are evaluation's, however the hash falls
_BARREN = 200  # seeds in a row without a new start: then there is none left


def fingerprint(state: Any) -> int:
    """A 64-bit hash of an observation or a state: nested dicts and tuples of arrays, numbers and text.

    Numbers that are equal have equal hashes, whichever width they are kept in.
    """
    digest = hashlib.blake2b(digest_size=8)
    for path, leaf in sorted(leaves(state)):
        if isinstance(leaf, str):
            content = leaf.encode("utf-8", "surrogatepass")
        elif isinstance(leaf, bytes):
            content = leaf
        else:
            values = np.asarray(leaf)
            whole = values.dtype.kind in "biu"
            content = repr(values.shape).encode() + values.astype(np.int64 if whole else np.float64).tobytes()
        digest.update(f"{path}:{len(content)}:".encode() + content)
    return int.from_bytes(digest.digest(), "big")


def start_of(task: Task, env: gym.Env, observation: Any) -> int:
    """The hash of the full state of an environment that was just reset; of its first observation, where the task names no state."""
    return fingerprint(observation if task.start is None else task.start(env))


def is_kept(start: int) -> bool:
    """Whether this start, of a task that has few, is evaluation's."""
    return start % _ONE_IN == 0


def is_evaluation(task: Task, env: gym.Env, seed: int) -> bool:
    """Whether the episode of this seed begins at a start of evaluation. The environment may be reset."""
    if not task.few_starts:
        return seed in SEEDS
    observation, _ = env.reset(seed=seed)
    return is_kept(start_of(task, env, observation))


def evaluation_seeds(task: Task, episodes: int) -> list[int]:
    """The seeds of the first so many evaluation episodes; more episodes only add seeds at the end.

    Where starts are few, no start comes twice before all of evaluation's have come once.

    Raises:
        OpenGatoError: where there are not so many seeds, or where no start of the task is evaluation's.
    """
    if episodes > len(SEEDS):
        raise OpenGatoError(f"episodes is {episodes}: evaluate at most {len(SEEDS)}")
    if not task.few_starts:
        return list(SEEDS[:episodes])
    env = task.make()
    found: list[int] = []
    seen: set[int] = set()
    barren = 0
    try:
        for seed in SEEDS:
            if len(found) == episodes:
                break
            observation, _ = env.reset(seed=seed)
            start = start_of(task, env, observation)
            if is_kept(start) and start not in seen:
                found.append(seed)
                seen.add(start)
                barren = 0
                continue
            barren += 1
            if barren == _BARREN:
                if not seen:
                    raise OpenGatoError(f"task {task.id!r} has too few starts to keep any for evaluation: let its seed draw more")
                seen.clear()
                barren = 0
    finally:
        env.close()
    return found
