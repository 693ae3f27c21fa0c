"""The folded family's own parts: soft targets, all numbers of an action from one state."""

import numpy as np
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from opengato.model.action_head import ActionHead, between_knots
from opengato.model.losses import soft_cross_entropy


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 93), min_size=1, max_size=5), st.floats(0.5, 8), st.integers(0, 2**31))
def test_soft_cross_entropy_is_the_divergence_from_a_cut_normal(targets, deviation, seed):
    logits = torch.randn(len(targets), 94, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 3
    got = soft_cross_entropy(logits, torch.tensor(targets, dtype=torch.float64), torch.eye(94, dtype=torch.float64), deviation)
    rows = np.arange(94)
    for row, target in enumerate(targets):
        normal = np.exp(-0.5 * ((rows - target) / deviation) ** 2) * (abs(rows - round(target)) <= np.ceil(3 * deviation))
        normal /= normal.sum()
        want = F.kl_div(torch.log_softmax(logits[row], 0), torch.from_numpy(normal), reduction="sum")
        torch.testing.assert_close(got[row], want, rtol=1e-6, atol=1e-6)


@given(st.floats(0, 1023), st.floats(5, 60), st.floats(-5, 5))
def test_between_knots_scores_follow_the_logarithm_of_a_normal(centre, deviation, height):
    bins = np.arange(1024)
    want = height - 0.5 * ((bins - centre) / deviation) ** 2
    got = torch.from_numpy(want[::11]) @ between_knots(torch.device("cpu")).double()
    np.testing.assert_allclose(got, want, atol=1e-6 * np.abs(want).max() + 1e-4)
    assert abs(int(got.argmax()) - centre) <= 0.51


def test_at_a_knot_a_score_is_its_own():
    scores = torch.randn(3, 94)
    torch.testing.assert_close((scores @ between_knots(torch.device("cpu")))[:, ::11], scores, rtol=1e-5, atol=1e-5)


def test_soft_cross_entropy_is_least_at_its_own_target():
    logits = torch.zeros(1, 94, requires_grad=True)
    target = torch.tensor([1020 / 11])
    optimiser = torch.optim.Adam([logits], 0.3)
    for _ in range(400):
        optimiser.zero_grad()
        loss = soft_cross_entropy(logits, target, torch.eye(94)).sum()
        loss.backward()
        optimiser.step()
    assert abs((logits @ between_knots(torch.device("cpu"))).argmax().item() - 1020) <= 2 and 0 <= loss.item() < 0.01


def test_every_index_has_its_own_answer_and_depends_on_the_state_alone():
    torch.manual_seed(0)
    head = ActionHead(16)
    hidden = torch.randn(3, 16)
    positions, index = torch.tensor([0, 0, 2, 2, 0]), torch.tensor([0, 1, 0, 1, 0])
    out = head(hidden, positions, index)
    torch.testing.assert_close(out[0], out[4])
    assert not torch.allclose(out[0], out[1]) and not torch.allclose(out[0], out[2])
    torch.testing.assert_close(out[2:4], head(hidden[2:], torch.tensor([0, 0]), torch.tensor([0, 1])))
