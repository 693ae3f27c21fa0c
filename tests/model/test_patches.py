"""The pixels' scale, the residual block against plain operations, sizes, and the paper's totals added up by hand."""

import pytest
import torch
import torch.nn.functional as F

from opengato.model.patches import PatchMLP, PatchResNet, scale_pixels


def patches(count, seed=0):
    return torch.randint(0, 256, (count, 16, 16, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def test_pixels_lie_between_minus_and_plus_a_quarter():
    assert scale_pixels(torch.tensor([0, 255], dtype=torch.uint8)).tolist() == [-0.25, 0.25]
    assert scale_pixels(torch.tensor([51], dtype=torch.uint8)).item() == pytest.approx((51 / 255 * 2 - 1) / 4)


@pytest.mark.parametrize("module", [PatchResNet(48), PatchMLP(48, 64)])
def test_a_vector_for_each_patch_independent_of_the_others(module):
    some = patches(5)
    got = module(some)
    assert got.shape == (5, 48) and got.dtype == torch.float32
    torch.testing.assert_close(module(some.flip(0)).flip(0), got, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(module(some[3:4]), got[3:4], rtol=1e-4, atol=1e-5)
    assert module(some[:0]).shape == (0, 48)


@pytest.mark.parametrize("module", [PatchResNet(48), PatchMLP(48, 64)])
def test_every_pixel_counts_and_every_weight_learns(module):
    some = patches(1)
    base = module(some)
    for row, column in [(0, 0), (0, 15), (15, 0), (15, 15), (7, 8)]:
        for channel in range(3):
            changed = some.clone()
            changed[0, row, column, channel] = 255 - changed[0, row, column, channel]
            assert not torch.equal(module(changed), base)
    module.zero_grad()
    module(patches(8)).pow(2).sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in module.parameters())


def group_norm(x, norm):
    """GroupNorm by its definition: each of 32 groups of channels of one patch has mean 0 and variance 1."""
    out = torch.empty_like(x)
    size = x.shape[1] // 32
    for patch in range(len(x)):
        for start in range(0, x.shape[1], size):
            group = x[patch, start : start + size]
            out[patch, start : start + size] = (group - group.mean()) / torch.sqrt(group.var(correction=0) + norm.eps)
    return out * norm.weight[:, None, None] + norm.bias[:, None, None]


def test_the_residual_block_is_pre_activation():
    torch.manual_seed(0)
    module = PatchResNet(8).double()
    for norm in (module.norm1, module.norm2, module.norm3):
        torch.nn.init.normal_(norm.weight)
        torch.nn.init.normal_(norm.bias)
    some = patches(2)
    pixels = (some.double() / 255 * 2 - 1) / 4
    x = F.conv2d(pixels.movedim(-1, 1), module.stem.weight, module.stem.bias, stride=2, padding=1)
    # He et al. 2016b: norm, activation, convolution, twice, onto an untouched shortcut; then the norm that closes the stage.
    y = F.conv2d(F.gelu(group_norm(x, module.norm1)), module.conv1.weight, module.conv1.bias, padding=1)
    y = F.conv2d(F.gelu(group_norm(y, module.norm2)), module.conv2.weight, module.conv2.bias, padding=1)
    grid = F.gelu(group_norm(x + y, module.norm3)).unflatten(2, (4, 2)).unflatten(4, (4, 2)).mean((3, 5))
    want = grid.flatten(1) @ module.out.weight.T + module.out.bias
    torch.testing.assert_close(module(some), want, rtol=1e-5, atol=1e-6)  # pixels are scaled in float32


PAPER = [(79e6, 0.025, 8, 24, 768, 32), (364e6, 0.01, 12, 12, 1536, 128), (1.18e9, 0.01, 24, 16, 2048, 128)]


@pytest.mark.parametrize(("total", "tolerance", "blocks", "heads", "width", "key_size"), PAPER)
def test_the_papers_totals(total, tolerance, blocks, heads, width, key_size):
    with torch.device("meta"):
        patch = sum(p.numel() for p in PatchResNet(width).parameters())
    channels, grid = 64, 16
    stem, convolution, norm = 27 * channels + channels, 9 * channels**2 + channels, 2 * channels
    assert patch == stem + 2 * convolution + 3 * norm + channels * grid * width + width
    vocabulary, patch_positions, local_positions = 33_025 * width, 2 * 128 * width, 513 * width
    block = 11 * width**2 + 2 * 2 * width + 2 * heads * key_size  # test_blocks counts it
    count = blocks * block + 2 * width + vocabulary + patch_positions + local_positions + patch
    assert count == pytest.approx(total, rel=tolerance)


def test_the_cheap_alternative_is_two_linear_layers():
    module = PatchMLP(8, 12).double()
    flat = patches(2).double().flatten(1) / 255 * 2 - 1
    want = F.gelu(flat @ module.into.weight.T + module.into.bias, approximate="tanh") @ module.out.weight.T + module.out.bias
    torch.testing.assert_close(module(patches(2)), want, rtol=1e-5, atol=1e-6)
