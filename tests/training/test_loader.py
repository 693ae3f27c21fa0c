"""Batches made ahead are those that would be made on the spot, and what goes wrong while they are made is said as it is."""

from dataclasses import fields

import numpy as np
import pytest
import torch

from opengato.errors import OpenGatoError
from opengato.model.batch import Batch
from opengato.training.loader import load


def build(k: int) -> list[Batch]:
    if k == 7:
        raise OpenGatoError("the seventh is broken: leave it out")
    rng = np.random.default_rng(k)
    tensors = [torch.from_numpy(rng.integers(0, 9, (3, k + 1))) for _ in range(20)]
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
