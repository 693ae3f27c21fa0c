"""The starts that an agent was trained on, kept beside its weights, so that evaluation can tell how many of its own were among them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from opengato.atomic import replacing
from opengato.datasets.store import TokenDataset

STARTS_FILE = "starts.safetensors"

Starts = dict[str, np.ndarray]  # task -> uint64 (S,), increasing: hashes of full starting states, or of first observations


def starts_of(datasets: Iterable[TokenDataset], validation_share: float = 0.0) -> Starts:
    """The starts of all episodes but those of the validation."""
    found: Starts = {}
    for data in datasets:
        found = join_starts(found, {data.task: data.starts[~data.in_validation(validation_share)]})
    return found


def join_starts(one: Starts, other: Starts) -> Starts:
    """The starts of both."""
    empty = np.zeros(0, np.uint64)
    return {task: np.union1d(one.get(task, empty), other.get(task, empty)) for task in {**one, **other}}


def save_starts(folder: Path, starts: Starts) -> None:
    """Write them, replaced atomically."""
    with replacing(folder / STARTS_FILE) as partial:
        save_file(starts, partial)


def load_starts(folder: Path) -> Starts:
    """What was saved; empty where nothing was."""
    return load_file(folder / STARTS_FILE) if (folder / STARTS_FILE).is_file() else {}
