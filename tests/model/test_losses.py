"""The fused loss against PyTorch's own."""

import pytest
import torch
import torch.nn.functional as F

from opengato.model.losses import linear_cross_entropy, sampled_cross_entropy


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


def test_a_sample_of_ids_gives_the_sum_over_all_on_average_and_everything_where_it_is_all():
    torch.manual_seed(0)
    always, rest = torch.randn(10, 8, dtype=torch.float64), torch.randn(400, 8, dtype=torch.float64)
    hidden, targets = 0.3 * torch.randn(30, 8, dtype=torch.float64), torch.randint(0, 410, (30,))
    every = linear_cross_entropy(hidden, targets, always, rest)
    torch.testing.assert_close(sampled_cross_entropy(hidden, targets, always, rest, 1), every)
    score = hidden @ torch.cat([always, rest]).T
    own = score.gather(1, targets[:, None])[:, 0]
    sums, chosen = [], set()
    for shift in range(8):  # one target more, whose own loss is not looked at, so that each of the eight samples comes once
        more = torch.cat([targets, torch.tensor([shift % 10])])
        losses = sampled_cross_entropy(torch.cat([hidden, hidden[:1]]), more, always, rest, 8)[:-1]
        sums.append(torch.exp(losses + own))
        chosen.add(int(more.sum()) % 8)
    assert len(chosen) == 8
    torch.testing.assert_close(torch.stack(sums).mean(0), torch.exp(every + own))


def test_the_gradient_of_a_sample_is_that_of_the_sum_it_stands_for():
    torch.manual_seed(1)
    always, rest = (torch.randn(rows, 6, dtype=torch.float64, requires_grad=True) for rows in (5, 60))
    hidden, targets = torch.randn(7, 6, dtype=torch.float64, requires_grad=True), torch.tensor([1, 9, 9, 30, 64, 4, 12])
    got = torch.autograd.grad(sampled_cross_entropy(hidden, targets, always, rest, 4).sum(), (hidden, always, rest))
    score = hidden @ torch.cat([always, rest]).T
    weight = torch.zeros(65, dtype=torch.float64)
    weight[5 + int(targets.sum()) % 4 :: 4] = 4
    weight[:5] = weight[targets] = 1
    plain = (torch.logsumexp(score + weight.log(), 1) - score.gather(1, targets[:, None])[:, 0]).sum()
    for ours, theirs in zip(got, torch.autograd.grad(plain, (hidden, always, rest)), strict=True):
        torch.testing.assert_close(ours, theirs)
