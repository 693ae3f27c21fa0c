"""Muon against the singular value decomposition, and where products of bfloat16 are used at all."""

import pytest
import torch

from opengato.model import bfloat16
from opengato.training.muon import Muon, orthogonal


@pytest.mark.parametrize("shape", [(3, 6, 6), (2, 5, 20), (2, 20, 5)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_singular_vectors_stay_and_values_become_about_one(shape, dtype):
    torch.manual_seed(0)
    got = orthogonal((torch.randn(shape) * 1e-4).to(dtype)).double()
    torch.manual_seed(0)
    u, _, v = torch.linalg.svd(torch.randn(shape).double() * 1e-4, full_matrices=False)
    inside = u.mT @ got @ v.mT
    values = inside.diagonal(dim1=1, dim2=2)
    assert values.min() > 0.45 and values.max() < 1.55
    assert (inside - torch.diag_embed(values)).abs().max() < 1e-2


def test_no_gradient_is_no_step_and_zeros_stay_zeros():
    still, nothing = torch.nn.Parameter(torch.ones(2, 3)), torch.nn.Parameter(torch.ones(2, 3))
    nothing.grad = torch.zeros(2, 3)
    Muon([still, nothing], lr=0.1).step()
    assert (still == 1).all() and (nothing == 1).all()


def test_a_step_follows_nesterovs_momentum():
    torch.manual_seed(0)
    start, gradients = torch.randn(4, 9), [torch.randn(4, 9) for _ in range(3)]
    parameter = torch.nn.Parameter(start.clone())
    optimiser = Muon([parameter], lr=0.1, weight_decay=0.5)
    mean, want = torch.zeros(4, 9), start.clone()
    for gradient in gradients:
        parameter.grad = gradient.clone()
        optimiser.step()
        mean = 0.95 * mean + 0.05 * gradient
        u, _, v = torch.linalg.svd(0.05 * gradient + 0.95 * mean, full_matrices=False)
        want = (1 - 0.1 * 0.5) * want - 0.1 * u @ v
    assert (parameter - want).norm() < 0.3 * (want - start).norm()


@pytest.mark.parametrize("has", [True, False])
def test_bfloat16_is_used_where_the_processor_multiplies_it(monkeypatch, has):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, "avx512_bf16": has})
    bfloat16.multiplies_bfloat16.cache_clear()
    try:
        assert bfloat16.multiplies_bfloat16(torch.device("cpu")) is has
    finally:
        bfloat16.multiplies_bfloat16.cache_clear()
