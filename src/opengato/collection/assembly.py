"""Staged episodes become part of a Minari dataset."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from opengato.collection.staging import full_disk_is_an_error, load_episode
from opengato.domains.task import Task
from opengato.jobs import Begun, Done


def assemble(task: Task, dataset: Path, staging: Path, command: str, seeds: tuple[int, ...]) -> Iterator[Begun | Done]:
    """The work of a process: write the staged episodes in the order of their seeds, then delete them."""
    from opengato.datasets.minari import recorded_seeds, write_minari

    yield Begun(seeds[0])
    recorded = set(recorded_seeds(dataset))
    fresh = sorted((p for p in staging.glob("*.npz") if int(p.stem) not in recorded), key=lambda p: int(p.stem))
    if fresh:
        form = "arrow" if any(_has_nul(path) for path in fresh) else "hdf5"
        with full_disk_is_an_error(dataset):
            write_minari(task, dataset, (load_episode(path, task) for path in fresh), command=command, data_format=form)
    shutil.rmtree(staging, ignore_errors=True)
    yield Done(seeds[0], None)


def _has_nul(path: Path) -> bool:
    """Whether a staged episode's text has a NUL character, which HDF5 cannot hold."""
    with np.load(path, allow_pickle=False) as data:
        return any(f"{key}.ends" in data.files and bool((data[key] == 0).any()) for key in data.files)
