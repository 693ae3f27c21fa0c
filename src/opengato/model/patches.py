"""Image patches to vectors, of the paper's form and of the folded one."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from opengato.model.batch import Batch
from opengato.tokens.vocabulary import PATCH_POSITIONS, PATCH_SIZE

PIXELS = PATCH_SIZE * PATCH_SIZE * 3


def scale_pixels(patches: torch.Tensor) -> torch.Tensor:
    """uint8 to [-1, 1], divided by √16 = 4 (paper, section 2.1)."""
    return (patches.float() * (2 / 255) - 1) / 4


class PatchResNet(nn.Module):
    """One pre-activation residual block (v2) with GroupNorm and GELU for every patch (paper, section 2.2 and appendix C).

    A 3×3 convolution of stride 2 to `channels`, the residual block of two 3×3 convolutions, means over a 4×4 grid, and a projection to
    the width. The paper gives no channel count; 64 keeps the 79M within 2.5% of its total and leaves two channels to a group.
    """

    def __init__(self, width: int, channels: int = 64, groups: int = 32):
        super().__init__()
        self.stem = nn.Conv2d(3, channels, 3, stride=2, padding=1)
        self.norm1, self.norm2, self.norm3 = (nn.GroupNorm(groups, channels) for _ in range(3))
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.out = nn.Linear(channels * 16, width)

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        """uint8 (P, 16, 16, 3) to (P, width)."""
        x = self.stem(scale_pixels(patches).to(self.out.weight.dtype).permute(0, 3, 1, 2))
        y = self.conv1(F.gelu(self.norm1(x)))
        x = x + self.conv2(F.gelu(self.norm2(y)))
        x = F.avg_pool2d(F.gelu(self.norm3(x)), 2)
        return self.out(x.flatten(1))


class PatchMLP(nn.Module):
    """Two linear layers on a patch's 768 pixels: what a small model on a CPU can afford for every frame."""

    def __init__(self, width: int, hidden: int):
        super().__init__()
        self.into = nn.Linear(PIXELS, hidden)
        self.out = nn.Linear(hidden, width)

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        """uint8 (P, 16, 16, 3) to (P, width)."""
        return self.out(F.gelu(self.into((scale_pixels(patches) * 4).to(self.out.weight.dtype).flatten(1)), approximate="tanh"))


class PatchSet(nn.Module):
    """What patches add to the sets of their positions: Σ GELU(MLP(patch) + row + column)."""

    def __init__(self, size: int):
        super().__init__()
        self.patches = PatchMLP(size, size)
        self.rows = nn.Embedding(PATCH_POSITIONS, size)
        self.columns = nn.Embedding(PATCH_POSITIONS, size)
        for table in (self.rows, self.columns):
            nn.init.normal_(table.weight, std=0.5)

    def forward(self, x: torch.Tensor, batch: Batch) -> torch.Tensor:
        """The sets (positions, size) with those of the batch's patches."""
        seen = self.patches(batch.patches).index_select(0, batch.patch_members)
        seen = seen + self.rows(batch.patch_rows) + self.columns(batch.patch_columns)
        return x.index_add(0, batch.patch_positions, F.gelu(seen.to(x.dtype), approximate="tanh"))
