"""GEGLU against its formula, the residual form of the block, stochastic depth, and the paper's 11·width² parameters a block."""

import math

import pytest
import torch
from torch import nn

from opengato.errors import OpenGatoError
from opengato.model.attention import RelativeAttention, RotaryAttention, segment_mask
from opengato.model.blocks import GEGLU, Block
from opengato.model.memory import Memory


class Constant(nn.Module):
    """A branch whose output is known."""

    def __init__(self, value: float):
        super().__init__()
        self.value = value

    def forward(self, x: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
        return torch.full_like(x, self.value)


def numbers(batch, length):
    return torch.zeros(batch, length, dtype=torch.long), torch.arange(length).expand(batch, -1)


def test_geglu_is_the_first_half_times_the_gelu_of_the_second():
    mlp = GEGLU(3, 8).double()
    x = torch.randn(5, 3, dtype=torch.float64)
    for row, got in zip(x, mlp(x)):
        into = [sum(w * value for w, value in zip(weights, row.tolist())) for weights in mlp.into.weight.tolist()]
        # the tanh form of GELU, by its definition
        gelu = [g / 2 * (1 + math.tanh(math.sqrt(2 / math.pi) * (g + 0.044715 * g**3))) for g in into[4:]]
        gated = torch.tensor([value * g for value, g in zip(into[:4], gelu)], dtype=torch.float64)
        torch.testing.assert_close(got, mlp.out.weight @ gated)


def test_block_is_two_pre_norm_residual_branches():
    torch.manual_seed(0)
    block = Block(RotaryAttention(8, 2, 4), GEGLU(8, 16), nn.RMSNorm, 8)
    segments, position = numbers(2, 5)
    x, mask = torch.randn(2, 5, 8), segment_mask(segments)
    middle = x + block.attention(block.attention_norm(x), mask, position)
    torch.testing.assert_close(block(x, mask=mask, position=position), middle + block.mlp(block.mlp_norm(middle)))


@pytest.mark.parametrize(("attention", "norm"), [(RelativeAttention, nn.LayerNorm), (RotaryAttention, nn.RMSNorm)])
def test_a_stack_of_cached_blocks_equals_the_packed_one_under_a_window(attention, norm):
    """Two layers: what left the lower ring still reaches the upper one through newer entries, as in the packed form."""
    torch.manual_seed(0)
    context, length = 4, 11
    blocks = [Block(attention(8, 2, 4), GEGLU(8, 16), norm, 8).double().eval() for _ in range(2)]
    segments, position = numbers(1, length)
    x = torch.randn(1, length, 8, dtype=torch.float64)
    want, got = x, []
    for block in blocks:
        want = block(want, segment_mask(segments, window=context), position)
    memory = Memory(2, 1, 2, context, 4, dtype=torch.float64)
    for chunk in (slice(0, 6), slice(6, 7), slice(7, 11)):
        new, step = x[:, chunk], memory.advance(position[:, chunk])
        for number, block in enumerate(blocks):
            new = block.forward_cached(new, step, number)
        got.append(new)
    torch.testing.assert_close(torch.cat(got, 1), want, rtol=1e-10, atol=1e-10)


def test_stochastic_depth_drops_whole_sequences_and_keeps_the_expectation():
    torch.manual_seed(0)
    rate, rows = 0.3, 20_000
    block = Block(Constant(1.0), Constant(100.0), nn.Identity, 4, stochastic_depth=rate)
    x, nothing = torch.zeros(rows, 3, 4), torch.zeros(0)
    got = block(x, nothing, nothing)
    assert (got == got[:, :1, :1]).all()  # one decision for a sequence
    kept = 1 / (1 - rate)
    possible = torch.tensor([0.0, kept, 100 * kept, 101 * kept])
    assert torch.isclose(got[:, 0, 0, None], possible, rtol=1e-5, atol=1e-5).any(1).all()
    # both branches on their own: four standard errors of a mean of 20,000
    error = 4 * math.sqrt(rate / (1 - rate) / rows)
    assert got.mean().item() == pytest.approx(101, abs=101 * error)
    dropped = torch.stack([(got[:, 0, 0] < 50), ((got[:, 0, 0] < 1) | ((got[:, 0, 0] - 100 * kept).abs() < 1))]).float()
    assert dropped.mean(1).tolist() == pytest.approx([rate, rate], abs=0.02)
    assert (dropped[0] * dropped[1]).mean().item() == pytest.approx(rate**2, abs=0.02)  # sub-layers are dropped independently
    torch.testing.assert_close(block.eval()(x, nothing, nothing), torch.full((rows, 3, 4), 101.0))


def test_dropout_is_for_training_alone():
    block = Block(Constant(1.0), Constant(1.0), nn.Identity, 64, dropout=0.5)
    x, nothing = torch.zeros(4, 8, 64), torch.zeros(0)
    assert set(block(x, nothing, nothing).unique().tolist()) == {0.0, 2.0, 4.0}
    assert (block.eval()(x, nothing, nothing) == 2).all()


@pytest.mark.parametrize("rate", [-0.1, 1.0, 1.5])
def test_an_impossible_rate_is_refused(rate):
    with pytest.raises(OpenGatoError, match="stochastic_depth"):
        Block(Constant(1.0), Constant(1.0), nn.Identity, 4, stochastic_depth=rate)


@pytest.mark.parametrize(
    ("heads", "width", "feed_forward", "key_size"), [(24, 768, 3072, 32), (12, 1536, 6144, 128), (16, 2048, 8192, 128)]
)
def test_a_paper_block_has_eleven_square_matrices(heads, width, feed_forward, key_size):
    with torch.device("meta"):
        block = Block(RelativeAttention(width, heads, key_size), GEGLU(width, feed_forward), nn.LayerNorm, width)
    count = sum(p.numel() for p in block.parameters())
    # Besides: two norms of a scale and a shift, and the two biases u and v of every head.
    assert count == 11 * width**2 + 2 * 2 * width + 2 * heads * key_size
