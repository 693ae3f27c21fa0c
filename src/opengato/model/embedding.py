"""Tokens to vectors: the paper's lookup, and the set network that folds a whole observation into one position."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn

from opengato.model.batch import Batch
from opengato.model.config import ModelConfig
from opengato.model.patches import PatchMLP, PatchResNet
from opengato.tokens.vocabulary import BIN_START, BINS, LOCAL_POSITIONS, PATCH_POSITIONS, VOCABULARY_SIZE

TABLE_STD = 0.02


def token_table(width: int, smooth_bins: bool) -> nn.Embedding:
    """The (33025, width) table shared with the head, normal with standard deviation 0.02 (TABLE_STD).

    With `smooth_bins` the rows of the 1,024 continuous bins start as random Fourier features of the bin's centre, of the same
    scale: neighbouring bins start near each other, so that a bin never seen in training is not noise.
    """
    table = nn.Embedding(VOCABULARY_SIZE, width)
    nn.init.normal_(table.weight, std=TABLE_STD)
    if smooth_bins:
        with torch.no_grad():
            centre = (torch.arange(BINS) + 0.5) * (2 / BINS) - 1
            frequency = torch.exp(torch.linspace(math.log(0.5), math.log(80.0), width))
            phase = torch.rand(width) * 2 * math.pi
            features = torch.cos(centre[:, None] * frequency * math.pi / 2 + phase)
            table.weight[BIN_START : BIN_START + BINS] = features * (TABLE_STD * math.sqrt(2))
    return table


class PaperEmbedding(nn.Module):
    """One token a position (section 2.2): lookup or patch ResNet, plus patch position and local position."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.tokens = token_table(config.width, smooth_bins=False)
        self.local = nn.Embedding(LOCAL_POSITIONS + 1, config.width)
        self.patches = PatchResNet(config.width)
        self.rows = nn.Embedding(PATCH_POSITIONS, config.width)
        self.columns = nn.Embedding(PATCH_POSITIONS, config.width)
        for table in (self.local, self.rows, self.columns):
            nn.init.normal_(table.weight, std=0.02)

    def forward(self, batch: Batch) -> torch.Tensor:
        """(B, L, width); zeros at padding."""
        pair = self.tokens(batch.pair_tokens) + self.local(batch.pair_local)
        positions = torch.searchsorted(batch.starts, torch.arange(len(batch.members), device=pair.device), right=True) - 1
        x = pair.new_zeros(batch.segments.numel(), pair.shape[-1]).index_copy(0, positions, pair[batch.members])
        if len(batch.patches):
            patches = self.patches(batch.patches).to(x.dtype)
            patches = patches + self.rows(batch.patch_rows) + self.columns(batch.patch_columns) + self.local(batch.patch_local)
            x = x.index_copy(0, batch.patch_positions, patches)
        return x.view(*batch.segments.shape, -1)


class SetEmbedding(nn.Module):
    """Any number of tokens a position: MLP(norm(Σ GELU(W(token + index)))), the patches of an image among them.

    The sum has no parameter of a task's own, so any embodiment fits. Distinct (token, index) pairs are embedded once a batch.
    """

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.tokens = token_table(config.width, smooth_bins=True)
        self.local = nn.Embedding(LOCAL_POSITIONS + 1, config.set_width)
        self.member = nn.Linear(config.width, config.set_width, bias=False)
        self.patches = PatchMLP(config.set_width, config.set_width)
        self.rows = nn.Embedding(PATCH_POSITIONS, config.set_width)
        self.columns = nn.Embedding(PATCH_POSITIONS, config.set_width)
        self.norm = nn.RMSNorm(config.set_width)
        self.hidden = nn.Linear(config.set_width, config.set_width)
        self.out = nn.Linear(config.set_width, config.width, bias=False)
        for table in (self.local, self.rows, self.columns):
            nn.init.normal_(table.weight, std=0.5)
        nn.init.normal_(self.member.weight, std=config.width**-0.5)

    def forward(self, batch: Batch) -> torch.Tensor:
        """(B, L, width)."""
        # The table's rows have standard deviation 0.02: divided by it, members start with unit variance.
        pair = F.gelu(
            self.member(self.tokens(batch.pair_tokens) / TABLE_STD).to(self.local.weight.dtype) + self.local(batch.pair_local),
            approximate="tanh",
        )
        x = F.embedding_bag(batch.members, pair, batch.starts, mode="sum")
        if len(batch.patches):
            patches = self.patches(batch.patches) + self.rows(batch.patch_rows) + self.columns(batch.patch_columns)
            x = x.index_add(0, batch.patch_positions, F.gelu(patches.to(x.dtype), approximate="tanh"))
        x = self.out(F.gelu(self.hidden(self.norm(x)), approximate="tanh"))
        return x.view(*batch.segments.shape, -1)
