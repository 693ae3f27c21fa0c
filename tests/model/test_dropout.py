"""Dropout against PyTorch's own: as much is dropped, what is kept is as large, and no two values are dropped together."""

import pytest
import torch

from opengato.model.dropout import Dropout


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_each_value_is_dropped_at_the_rate_and_the_rest_keep_the_expectation(rate):
    torch.manual_seed(0)
    x = torch.full((401, 251), 3.0, requires_grad=True)  # not a multiple of what one random number decides
    y = Dropout(rate)(x)
    dropped = y == 0
    assert dropped.float().mean().item() == pytest.approx(rate, abs=0.006)  # 4.5 standard deviations of what is nearest to one
    torch.testing.assert_close(y[~dropped], torch.full_like(y[~dropped], 3 / (1 - rate)), rtol=1e-4, atol=0)
    y.sum().backward()
    torch.testing.assert_close(x.grad, y.detach() / 3)
    flat = dropped.float().flatten() - rate
    together = [(flat[:-apart] * flat[apart:]).mean().item() / (rate * (1 - rate)) for apart in (1, 2, 3, 4, 251)]
    assert max(map(abs, together)) < 0.016  # uncorrelated, five standard deviations


def test_it_is_drawn_anew_each_time_from_the_seed():
    x, drop = torch.ones(1000), Dropout(0.3)
    torch.manual_seed(1)
    one, other = drop(x), drop(x)
    torch.manual_seed(1)
    assert torch.equal(drop(x), one) and not torch.equal(one, other)


def test_nothing_is_dropped_without_a_rate_or_outside_training():
    x = torch.randn(7, 3)
    assert Dropout(0.0)(x) is x and Dropout(0.4).eval()(x) is x and not Dropout(1.0)(x).any()
