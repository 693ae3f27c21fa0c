"""The folded family's own parts: soft targets, all numbers of an action from one state."""

import numpy as np
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from opengato.model.gato import ActionHead
from opengato.model.losses import soft_cross_entropy


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 1023), min_size=1, max_size=5), st.floats(0.5, 8), st.integers(0, 2**31))
def test_soft_cross_entropy_is_the_divergence_from_a_cut_normal(targets, deviation, seed):
    logits = torch.randn(len(targets), 1024, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 3
    got = soft_cross_entropy(logits, torch.tensor(targets), torch.eye(1024, dtype=torch.float64), deviation)
    bins = np.arange(1024)
    for row, target in enumerate(targets):
        normal = np.exp(-0.5 * ((bins - target) / deviation) ** 2) * (abs(bins - target) <= np.ceil(3 * deviation))
        normal /= normal.sum()
        want = F.kl_div(torch.log_softmax(logits[row], 0), torch.from_numpy(normal), reduction="sum")
        torch.testing.assert_close(got[row], want, rtol=1e-6, atol=1e-6)  # the shares of the bins are float32


def test_soft_cross_entropy_is_least_at_its_own_target():
    logits = torch.zeros(1, 1024, requires_grad=True)
    target = torch.tensor([1020])
    optimiser = torch.optim.Adam([logits], 0.3)
    for _ in range(400):
        optimiser.zero_grad()
        loss = soft_cross_entropy(logits, target, torch.eye(1024)).sum()
        loss.backward()
        optimiser.step()
    assert logits.argmax().item() == 1020 and 0 <= loss.item() < 0.01


def test_every_index_has_its_own_answer_and_depends_on_the_state_alone():
    torch.manual_seed(0)
    head = ActionHead(16)
    hidden = torch.randn(3, 16)
    positions, index = torch.tensor([0, 0, 2, 2, 0]), torch.tensor([0, 1, 0, 1, 0])
    out = head(hidden, positions, index)
    torch.testing.assert_close(out[0], out[4])
    assert not torch.allclose(out[0], out[1]) and not torch.allclose(out[0], out[2])
    torch.testing.assert_close(out[2:4], head(hidden[2:], torch.tensor([0, 0]), torch.tensor([0, 1])))
