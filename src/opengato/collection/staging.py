"""An episode as a file: whole, or not there."""

from __future__ import annotations

import errno
import io
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces

from opengato.domains.task import Task
from opengato.episode import Episode, Nested, leaves, map_leaves
from opengato.errors import OpenGatoError


def pack_episode(episode: Episode, final: Any) -> bytes:
    """An episode of T steps and the observation after it as the bytes of a file."""
    meta = {"task": episode.task, "source": episode.source, "success": episode.success, "seed": episode.seed, "info": episode.info}
    arrays = {"rewards": episode.rewards, "meta": np.frombuffer(json.dumps(meta).encode(), np.uint8)}
    tail = [leaf for _, leaf in leaves(final)]
    for side, nested, ends in (("observation", episode.observations, tail), ("action", episode.actions, [])):
        for index, (_, leaf) in enumerate(leaves(nested)):
            if isinstance(leaf, list):
                # UTF-8 and where each string ends: NumPy's own strings lose trailing NULs.
                encoded = [text.encode() for text in [*leaf, *ends[index : index + 1]]]
                arrays[f"{side}.{index}"] = np.frombuffer(b"".join(encoded), np.uint8)
                arrays[f"{side}.{index}.ends"] = np.cumsum([len(e) for e in encoded], dtype=np.int64)
            else:
                arrays[f"{side}.{index}"] = np.concatenate([leaf, np.asarray(ends[index], leaf.dtype)[None]]) if ends else leaf
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    return file.getvalue()


def save_episode(path: Path, packed: bytes) -> None:
    """Write a packed episode, whole or not at all; raises OpenGatoError where the disk is full."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    with full_disk_is_an_error(path.parent):
        try:
            partial.write_bytes(packed)
            os.replace(partial, path)
        except OSError:
            partial.unlink(missing_ok=True)
            raise


def load_episode(path: Path, task: Task) -> tuple[Episode, Nested]:
    """What `pack_episode` packed: the episode of T steps, and all T + 1 observations, nested like the task's space."""
    with np.load(path, allow_pickle=False) as data:
        arrays = {key: data[key] for key in data.files}

    def rebuild(space: spaces.Space, side: str, position: Iterator[int]) -> Nested:
        if isinstance(space, spaces.Dict):
            parts = {key: rebuild(space[key], side, position) for key in sorted(space.spaces)}
            return {key: parts[key] for key in space.spaces}
        if isinstance(space, spaces.Tuple):
            return tuple(rebuild(sub, side, position) for sub in space.spaces)
        name = f"{side}.{next(position)}"
        if f"{name}.ends" not in arrays:
            return arrays[name]
        raw, ends = arrays[name].tobytes(), arrays[f"{name}.ends"].tolist()
        return [raw[a:b].decode() for a, b in zip([0, *ends[:-1]], ends)]

    observations = rebuild(task.observation_space, "observation", iter(range(len(arrays))))
    actions = rebuild(task.action_space, "action", iter(range(len(arrays))))
    meta = json.loads(arrays["meta"].tobytes())
    first = map_leaves(lambda leaf: leaf[:-1], observations)
    episode = Episode(first, actions, arrays["rewards"], meta["task"], meta["source"], meta["success"], meta["seed"], meta["info"])
    return episode, observations


@contextmanager
def full_disk_is_an_error(folder: Path) -> Iterator[None]:
    """Turns the operating system's "no space left" into one sentence."""
    try:
        yield
    except OSError as error:
        # shutil.copytree wraps its errors into one without a number, h5py into the text.
        if error.errno in (errno.ENOSPC, errno.EDQUOT) or "No space left" in str(error):
            raise OpenGatoError(
                f"the disk of {folder} is full: free some space and run the same command again, finished episodes are kept"
            ) from None
        raise
