"""Batches made ahead are those that would be made on the spot, and what goes wrong while they are made is said as it is."""

import subprocess
import sys
import time
from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import threadpoolctl
import torch

from opengato.errors import OpenGatoError
from opengato.model.batch import Batch
from opengato.training import loader
from opengato.training.loader import load


def build(k: int) -> list[Batch]:
    if k == 7:
        raise OpenGatoError("the seventh is broken: leave it out")
    rng = np.random.default_rng(k)
    tensors = [torch.from_numpy(rng.integers(0, 9, (3, k + 1))) for _ in range(21)]
    return [
        Batch(*tensors, timesteps=k, chance=None),
        Batch(*tensors[::-1], timesteps=k, chance=torch.from_numpy(rng.random(4, np.float32))),
    ]


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_batches_come_in_order_and_are_the_same(workers):
    found = list(load(build, 2, 7, workers))
    assert len(found) == 5
    for k, batches in enumerate(found, 2):
        for one, other in zip(batches, build(k), strict=True):
            for field in fields(Batch):
                a, b = getattr(one, field.name), getattr(other, field.name)
                assert (a.dtype == b.dtype and torch.equal(a, b)) if isinstance(b, torch.Tensor) else a == b


@pytest.mark.parametrize("free", [0, 10**12])
def test_a_large_batch_is_the_same_whether_there_is_room_to_share_it(monkeypatch, free):
    monkeypatch.setattr(loader, "_LARGE", 1)
    monkeypatch.setattr(loader.shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    packed = [loader._pack(batch) for batch in build(3)]
    assert all(isinstance(p.data, torch.Tensor) and p.data.is_shared() if free else isinstance(p.data, np.ndarray) for p in packed)
    (batches,) = load(build, 3, 4, 1)
    for one, other in zip(batches, build(3), strict=True):
        assert torch.equal(one.segments, other.segments) and one.timesteps == other.timesteps


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_is_one_sentence(workers):
    coming = load(build, 5, 10**9, workers)
    assert [next(coming)[0].timesteps for _ in range(2)] == [5, 6]
    with pytest.raises(OpenGatoError, match=r"^the seventh is broken: leave it out$"):
        next(coming)


def test_it_can_be_left_in_the_middle():
    coming = load(build, 0, 10**9, 2)
    assert next(coming)[0].timesteps == 0
    coming.close()


def threads(k: int) -> list[Batch]:
    """A batch whose timesteps are the threads that NumPy's products and PyTorch's have where it is made."""
    pools = [pool["num_threads"] for pool in threadpoolctl.threadpool_info()]
    return [replace(build(0)[0], timesteps=max(torch.get_num_threads(), *pools))]


def test_every_process_has_one_thread():
    with threadpoolctl.threadpool_limits(3):
        assert threads(0)[0].timesteps == 3
        assert next(load(threads, 0, 1, 2))[0].timesteps == 1


SCRIPT = """
import multiprocessing, os, signal
import numpy as np, torch
from opengato.model.batch import Batch
from opengato.training import loader
from opengato.training.loader import load

def build(k):  # more than a pipe holds
    return [Batch(*[torch.zeros(100_000, dtype=torch.int64) for _ in range(21)])]

coming = load(build, 0, 10**9, 2)
next(coming)
print(*(child.pid for child in multiprocessing.active_children()), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_of_a_training_that_is_killed_nothing_stays():
    done = subprocess.run([sys.executable, "-c", SCRIPT], stdout=subprocess.PIPE, text=True, timeout=60)
    makers = done.stdout.split()
    assert done.returncode == -9 and len(makers) == 2
    deadline = time.monotonic() + 20
    while any(map(runs, makers)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(runs, makers))


def runs(pid):
    """Whether a process is there, and not only waiting to be counted as gone."""
    try:
        return (Path("/proc") / pid / "stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False
