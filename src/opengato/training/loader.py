"""Batches made ahead of time, beside the training: by a thread, or by processes of their own."""

from __future__ import annotations

import math
import os
import shutil
import signal
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import fields
from typing import Any, NamedTuple

import torch
from threadpoolctl import threadpool_limits
from torch.utils.data import DataLoader, Dataset

from opengato.errors import OpenGatoError
from opengato.jobs.process import die_with_parent
from opengato.model.batch import Batch
from opengato.model.pytorch_private import shared_bytes

_AHEAD = 2  # steps that each maker of batches is ahead
_LARGE, _ALIGNED = 2**20, 64  # bytes
_SHARED = "/dev/shm"

Build = Callable[[int], list[Batch]]


def load(build: Build, first: int, last: int, workers: int, pin: bool = False) -> Generator[list[Batch], None, None]:
    """Batches first … last - 1 of `build`, in order; the same ones however they are made. Close it, however its use ends.

    Args:
        workers: processes that make them, forked from this one, so that they share its memory; 0: one thread makes them. What processes
            make a thread receives.
        pin: whether they are to be copied to a GPU: that thread puts them where a copy waits for nobody.
    """
    made: Iterator[list[Batch]]
    with ExitStack() as stack:
        if workers:
            steps = _Range(first, last)
            processes = iter(_processes(build, steps, workers))  # started by this thread, for as long as which they live
            # Left to the program's end they would be told by a signal, which they do not heed, and be waited for.
            stack.callback(_finish, steps, processes)
            made = (_received(packed, pin) for packed in processes)
        else:
            made = ([batch.pin_memory() if pin else batch for batch in build(k)] for k in range(first, last))
        pool = stack.enter_context(ThreadPoolExecutor(1))
        waiting = [pool.submit(next, made, None) for _ in range(_AHEAD)]
        while (batches := waiting.pop(0).result()) is not None:
            waiting.append(pool.submit(next, made, None))
            yield batches


class _Steps(Dataset):
    """A step's batches by its number, each a single array on its way: every tensor would cost an open file, and time of who receives it."""

    def __init__(self, build: Build):
        self._build = build

    def __getitem__(self, k: int) -> list[_Packed] | str:
        try:
            return [_pack(batch) for batch in self._build(k)]
        except OpenGatoError as error:
            return str(error)  # raised, it would come out as a traceback


class _Packed(NamedTuple):
    """A batch as one array of bytes, uint8 (N,), as a tensor if it is large; what of it each field is; and what is no tensor."""

    data: Any
    places: list[tuple[str, torch.dtype, tuple[int, ...], int]]
    others: dict[str, Any]


def _processes(build: Build, steps: _Range, workers: int) -> DataLoader[Any]:
    return DataLoader(
        _Steps(build),
        batch_size=None,
        sampler=steps,
        num_workers=workers,
        prefetch_factor=_AHEAD,
        collate_fn=_as_it_is,
        multiprocessing_context="fork",
        worker_init_fn=_settle,
    )


def _settle(worker: int) -> None:
    """Make this process a maker of batches, of one thread."""
    die_with_parent()  # of a training that was killed they would wait for ever to be rid of what they made
    # Schedulers tell all processes to stop; these are wanted until the training has ended its step.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    # NumPy's products would have a thread a core in each of them: fifteen on sixteen cores let training wait for a third of its time.
    threadpool_limits(1)


def _received(made: list[_Packed] | str, pin: bool) -> list[Batch]:
    if isinstance(made, str):
        raise OpenGatoError(made)
    return [_unpack(packed, pin) for packed in made]


def _pack(batch: Batch) -> _Packed:
    places: list[tuple[str, torch.dtype, tuple[int, ...], int]] = []
    others: dict[str, Any] = {}
    at = 0
    for field in fields(Batch):
        value = getattr(batch, field.name)
        if isinstance(value, torch.Tensor):
            at += -at % _ALIGNED
            places.append((field.name, value.dtype, tuple(value.shape), at))
            at += value.nbytes
        else:
            others[field.name] = value
    shared = _goes_shared(at)
    data = shared_bytes(at) if shared else torch.empty(at, dtype=torch.uint8)
    for name, dtype, shape, begin in places:
        _part(data, dtype, shape, begin).copy_(getattr(batch, name))
    return _Packed(data if shared else data.numpy(), places, others)


def _unpack(packed: _Packed, pin: bool) -> Batch:
    data = torch.as_tensor(packed.data)
    if pin:
        data = data.pin_memory()
    tensors: dict[str, Any] = {name: _part(data, dtype, shape, begin) for name, dtype, shape, begin in packed.places}
    return Batch(**tensors, **packed.others)


def _part(data: torch.Tensor, dtype: torch.dtype, shape: tuple[int, ...], begin: int) -> torch.Tensor:
    return data[begin : begin + math.prod(shape) * dtype.itemsize].view(dtype).view(shape)


class _Range(torch.utils.data.Sampler[int]):
    """Numbers in order, as many as there are: a training by the clock has no last one.

    Attributes:
        ended: whether there are no more, for the training has ended.
    """

    def __init__(self, first: int, last: int):
        self._numbers, self.ended = range(first, last), False

    def __iter__(self) -> Iterator[int]:
        for number in self._numbers:
            if self.ended:
                return
            yield number


def _finish(steps: _Range, processes: Iterator[Any]) -> None:
    """Take what is still being made, after which its makers end."""
    steps.ended = True
    with suppress(RuntimeError):  # one of them died: that was told already, and the others are ended as `processes` is forgotten
        for _ in processes:
            pass


def _as_it_is(made: Any) -> Any:
    return made


def _goes_shared(size: int) -> bool:
    """Whether so many bytes go through shared memory; containers may have little of it, then they go through pipes, at half the speed."""
    return size >= _LARGE and os.path.isdir(_SHARED) and shutil.disk_usage(_SHARED).free > 100 * size
