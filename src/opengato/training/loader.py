"""Batches made ahead of time, beside the training: by a thread, or by processes of their own."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from opengato.errors import OpenGatoError
from opengato.model.batch import Batch

_AHEAD = 2  # steps that each maker of batches is ahead

Build = Callable[[int], list[Batch]]


def load(build: Build, first: int, last: int, workers: int) -> Generator[list[Batch], None, None]:
    """Batches first … last - 1 of `build`, in order; the same ones however they are made.

    `workers`: processes that make them, forked from this one, so that they share its memory; 0: one thread makes them. What processes
    make a thread receives.
    """
    made = _by_processes(build, first, last, workers) if workers else map(build, range(first, last))
    with ThreadPoolExecutor(1) as pool:
        waiting = [pool.submit(next, made, None) for _ in range(_AHEAD)]
        while (batches := waiting.pop(0).result()) is not None:
            waiting.append(pool.submit(next, made, None))
            yield batches


class _Steps(Dataset):
    """A step's batches by its number, as arrays: tensors would take a file each on their way, and shared memory, which containers lack."""

    def __init__(self, build: Build):
        self._build = build

    def __getitem__(self, k: int) -> list[dict[str, Any]] | str:
        try:
            return [{field.name: _array(getattr(batch, field.name)) for field in fields(Batch)} for batch in self._build(k)]
        except OpenGatoError as error:
            return str(error)  # raised, it would come out as a traceback


def _by_processes(build: Build, first: int, last: int, workers: int) -> Iterator[list[Batch]]:
    loader: DataLoader[Any] = DataLoader(
        _Steps(build),
        batch_size=None,
        sampler=_Range(first, last),
        num_workers=workers,
        prefetch_factor=_AHEAD,
        collate_fn=_as_it_is,
        multiprocessing_context="fork",
    )
    for made in loader:
        if isinstance(made, str):
            raise OpenGatoError(made)
        yield [Batch(**{name: _tensor(value) for name, value in batch.items()}) for batch in made]


class _Range(torch.utils.data.Sampler[int]):
    """Numbers in order, as many as there are: a training by the clock has no last one."""

    def __init__(self, first: int, last: int):
        self._numbers = range(first, last)

    def __iter__(self) -> Iterator[int]:
        return iter(self._numbers)


def _as_it_is(made: Any) -> Any:
    return made


def _array(value: Any) -> Any:
    return value.numpy() if isinstance(value, torch.Tensor) else value


def _tensor(value: Any) -> Any:
    return torch.from_numpy(value) if isinstance(value, np.ndarray) else value
