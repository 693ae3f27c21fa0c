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


def token_table(width: int) -> nn.Embedding:
    """The (33025, width) table shared with the head, normal with standard deviation 0.02 (TABLE_STD)."""
    table = nn.Embedding(VOCABULARY_SIZE, width)
    nn.init.normal_(table.weight, std=TABLE_STD)
    return table


def bin_features(tokens: torch.Tensor, width: int, highest: float = 10.0) -> torch.Tensor:
    """Cosines and sines of the centres of continuous bins: int64 (N,) ids in [32000, 33024) to float32 (N, width), of mean square 1.

    Frequencies are spaced evenly in the logarithm from 1/8 to `highest` periods a unit: near values look alike, so that what was
    learned about one bin holds for its neighbours.
    """
    centre = (tokens - BIN_START + 0.5) * (2 / BINS) - 1
    frequency = torch.exp(torch.linspace(math.log(0.125), math.log(highest), width // 2, device=tokens.device))
    angle = centre[:, None] * frequency * math.pi
    return torch.cat([angle.cos(), angle.sin()], -1) * math.sqrt(2)


def unused(patches: nn.Module, rows: nn.Embedding, columns: nn.Embedding) -> torch.Tensor:
    """Zero, through the patch network: ranks that share gradients must all have one for every parameter, with images or without."""
    return 0 * (patches(rows.weight.new_zeros(1, 16, 16, 3, dtype=torch.uint8)).float().sum() + rows.weight[0, 0] + columns.weight[0, 0])


class PaperEmbedding(nn.Module):
    """One token a position (section 2.2): lookup or patch ResNet, plus patch position and local position."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.tokens = token_table(config.width)
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
        x = pair.new_zeros(len(batch.starts), pair.shape[-1]).index_copy(0, positions, pair[batch.members])[: batch.segments.numel()]
        if len(batch.patches):
            patches = self.patches(batch.patches).to(x.dtype)
            patches = patches + self.rows(batch.patch_rows) + self.columns(batch.patch_columns) + self.local(batch.patch_local)
            x = x.index_copy(0, batch.patch_positions, patches)
        elif self.training:
            x = x + unused(self.patches, self.rows, self.columns)
        return x.view(*batch.segments.shape, -1)


class SetEmbedding(nn.Module):
    """Any number of tokens a position: MLP(norm(Σ GELU(W(token + index)))), the patches of an image among them.

    The sum has no parameter of a task's own, so any embodiment fits. Distinct (token, index) pairs are embedded once a batch. Continuous
    values are seen through fixed features of their bins (`bin_features`): rows of a table, learned one bin at a time, learn
    demonstrations by heart.
    """

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.tokens = token_table(config.width)
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
        self.known: torch.Tensor | None = None

    def members(self, tokens: torch.Tensor) -> torch.Tensor:
        """What each token brings, whatever its index: int64 (N,) to (N, set_width)."""
        if self.known is not None:
            return F.embedding(tokens, self.known)
        # The table's rows have standard deviation 0.02: divided by it, members start with unit variance.
        token = self.tokens(tokens) / TABLE_STD
        is_bin = (tokens >= BIN_START) & (tokens < BIN_START + BINS)
        seen = bin_features(tokens, token.shape[-1]).to(token.dtype)
        return self.member(torch.where(is_bin[:, None], seen, token)).to(self.local.weight.dtype)

    @torch.no_grad()
    def remember_members(self) -> None:
        """Look up `members` from now on, for weights that change no more: they depend on nothing but the token."""
        self.known = torch.cat([self.members(part) for part in torch.arange(VOCABULARY_SIZE, device=self.tokens.weight.device).split(4096)])

    def forward(self, batch: Batch) -> torch.Tensor:
        """(B, L, width)."""
        pair = F.gelu(self.members(batch.pair_tokens) + self.local(batch.pair_local), approximate="tanh")
        x = F.embedding_bag(batch.members, pair, batch.starts, mode="sum")[: batch.segments.numel()]
        if len(batch.patches):
            # The product comes last: torch.compile takes packed weights that something is added to for a pattern of its own, and fails.
            patches = self.rows(batch.patch_rows) + self.columns(batch.patch_columns) + self.patches(batch.patches)
            x = x.index_add(0, batch.patch_positions, F.gelu(patches.to(x.dtype), approximate="tanh"))
        elif self.training:
            x = x + unused(self.patches, self.rows, self.columns)
        x = self.out(F.gelu(self.hidden(self.norm(x.to(self.norm.weight.dtype))), approximate="tanh"))
        return x.view(*batch.segments.shape, -1)
