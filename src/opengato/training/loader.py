"""Batches made ahead of time, beside the training: by a thread, or by processes of their own."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from opengato.errors import OpenGatoError
from opengato.jobs.process import die_with_parent
from opengato.model.batch import Batch

_AHEAD = 2  # steps that each maker of batches is ahead
_LARGE = 2**20  # bytes
_SHARED = "/dev/shm"

Build = Callable[[int], list[Batch]]


def load(build: Build, first: int, last: int, workers: int) -> Generator[list[Batch], None, None]:
    """Batches first … last - 1 of `build`, in order; the same ones however they are made.

    `workers`: processes that make them, forked from this one, so that they share its memory; 0: one thread makes them. What processes
    make a thread receives.
    """
    # Started by this thread, for as long as which they live.
    made = map(_received, iter(_processes(build, first, last, workers))) if workers else map(build, range(first, last))
    with ThreadPoolExecutor(1) as pool:
        waiting = [pool.submit(next, made, None) for _ in range(_AHEAD)]
        while (batches := waiting.pop(0).result()) is not None:
            waiting.append(pool.submit(next, made, None))
            yield batches


class _Steps(Dataset):
    """A step's batches by its number. What is small travels as arrays, as a tensor takes an open file on its way; pictures as tensors."""

    def __init__(self, build: Build):
        self._build = build

    def __getitem__(self, k: int) -> list[dict[str, Any]] | str:
        try:
            return [{field.name: _array(getattr(batch, field.name)) for field in fields(Batch)} for batch in self._build(k)]
        except OpenGatoError as error:
            return str(error)  # raised, it would come out as a traceback


def _processes(build: Build, first: int, last: int, workers: int) -> DataLoader[Any]:
    return DataLoader(
        _Steps(build),
        batch_size=None,
        sampler=_Range(first, last),
        num_workers=workers,
        prefetch_factor=_AHEAD,
        collate_fn=_as_it_is,
        multiprocessing_context="fork",
        worker_init_fn=die_with_parent,  # of a training that was killed they would wait for ever to be rid of what they made
    )


def _received(made: Any) -> list[Batch]:
    if isinstance(made, str):
        raise OpenGatoError(made)
    return [Batch(**{name: _tensor(value) for name, value in batch.items()}) for batch in made]


class _Range(torch.utils.data.Sampler[int]):
    """Numbers in order, as many as there are: a training by the clock has no last one."""

    def __init__(self, first: int, last: int):
        self._numbers = range(first, last)

    def __iter__(self) -> Iterator[int]:
        return iter(self._numbers)


def _as_it_is(made: Any) -> Any:
    return made


def _array(value: Any) -> Any:
    return value.numpy() if isinstance(value, torch.Tensor) and not _is_shared(value) else value


def _is_shared(tensor: torch.Tensor) -> bool:
    """Whether a tensor goes through shared memory, of which containers may have little: then all goes through pipes, at half the speed."""
    return tensor.nbytes >= _LARGE and os.path.isdir(_SHARED) and shutil.disk_usage(_SHARED).free > 100 * tensor.nbytes


def _tensor(value: Any) -> Any:
    return torch.from_numpy(value) if isinstance(value, np.ndarray) else value
