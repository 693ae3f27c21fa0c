"""The fused loss against PyTorch's own."""

import pytest
import torch
import torch.nn.functional as F

from opengato.model.losses import linear_cross_entropy


def both(hidden, targets, tables, share, autocast=False):
    """Losses and gradients of ours and of the plain way."""
    results = []
    for loss in (
        lambda h, parts: linear_cross_entropy(h, targets, *parts),
        lambda h, parts: F.cross_entropy(F.linear(h, torch.cat(parts)).to(share.dtype), targets, reduction="none"),
    ):
        h, parts = hidden.clone().requires_grad_(), [t.clone().requires_grad_() for t in tables]
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            losses = loss(h, parts)
        (losses * share).sum().backward()
        results.append([losses.detach(), h.grad, *(p.grad for p in parts)])
    return results


@pytest.mark.parametrize("count", [1, 127, 128, 300])
def test_losses_and_gradients_are_those_of_cross_entropy(count):
    torch.manual_seed(count)
    hidden = torch.randn(count, 12, dtype=torch.float64)
    tables = [torch.randn(rows, 12, dtype=torch.float64) for rows in (5, 40)]
    targets, share = torch.randint(0, 45, (count,)), torch.rand(count, dtype=torch.float64)
    for got, wanted in zip(*both(hidden, targets, tables, share), strict=True):
        torch.testing.assert_close(got, wanted)


def test_in_bfloat16_it_is_as_near_to_float64_as_the_plain_way():
    torch.manual_seed(0)
    hidden, table = torch.randn(200, 32), torch.randn(500, 32)
    targets, share = torch.randint(0, 500, (200,)), torch.rand(200)
    exact = both(hidden.double(), targets, [table.double()], share.double())[1]
    for ours, plain, true in zip(*both(hidden, targets, [table], share, autocast=True), exact, strict=True):
        assert ours.dtype == plain.dtype == torch.float32
        assert (ours - true).norm() <= 1.1 * (plain - true).norm()


def test_no_targets_are_no_loss():
    hidden, table = torch.zeros(0, 4, requires_grad=True), torch.randn(9, 4, requires_grad=True)
    linear_cross_entropy(hidden, torch.zeros(0, dtype=torch.int64), table).sum().backward()
    assert not table.grad.any()
