"""Tokens to vectors: the paper's lookup, and the set network that folds a whole observation into one position."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from opengato.model.batch import Batch
from opengato.model.config import ModelConfig
from opengato.model.glances import Glances
from opengato.model.norm import RMSNorm
from opengato.model.patches import PatchResNet, PatchSet
from opengato.tokens.vocabulary import DISCRETE_SIZE, LOCAL_POSITIONS, PATCH_POSITIONS, TEXT_SIZE, VOCABULARY_SIZE

TABLE_STD = 0.02


class TokenTable(nn.Module):
    """The (33025, width) table of the vocabulary, shared with the head, normal with standard deviation 0.02 (TABLE_STD).

    Words have a part of their own, so that a step without any neither fills a gradient of theirs nor updates them: of a small model they
    are most of the weights, and with one table all of it took two fifths of a step.

    Attributes:
        common: rows of the discrete values, which words share, of the bins and of the separator. words: all other rows of text.
    """

    def __init__(self, width: int):
        super().__init__()
        self.common = nn.Embedding(DISCRETE_SIZE + VOCABULARY_SIZE - TEXT_SIZE, width)
        self.words = nn.Embedding(TEXT_SIZE - DISCRETE_SIZE, width)
        for part in (self.common, self.words):
            nn.init.normal_(part.weight, std=TABLE_STD)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """int64 (N,) ids to (N, width)."""
        word = (tokens >= DISCRETE_SIZE) & (tokens < TEXT_SIZE)
        common = self.common(torch.where(tokens < DISCRETE_SIZE, tokens, tokens - self.words.num_embeddings).clamp(min=0))
        if self.training and not word.any():
            return common
        return torch.where(word[:, None], self.words((tokens - DISCRETE_SIZE).clamp(0, self.words.num_embeddings - 1)), common)

    def rows(self, start: int = 0, stop: int = VOCABULARY_SIZE) -> list[torch.Tensor]:
        """The rows of the ids [start, stop), in as few tensors as hold them, end to end."""
        shared, special = self.common.weight[:DISCRETE_SIZE], self.common.weight[DISCRETE_SIZE:]
        parts = ((0, shared), (DISCRETE_SIZE, self.words.weight), (TEXT_SIZE, special))
        found = [rows[max(start - first, 0) : max(stop - first, 0)] for first, rows in parts]
        return [rows for rows in found if len(rows)]


class PaperEmbedding(nn.Module):
    """One token a position (section 2.2): lookup or patch ResNet, plus patch position and local position."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.tokens = TokenTable(config.width)
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
        read = pair.index_select(0, batch.members)
        x = pair.new_zeros(len(batch.starts), pair.shape[-1]).index_copy(0, positions, read)[: batch.segments.numel()]
        if len(batch.patches):
            patches = self.patches(batch.patches).to(x.dtype).index_select(0, batch.patch_members)
            patches = patches + self.rows(batch.patch_rows) + self.columns(batch.patch_columns) + self.local(batch.patch_local)
            x = x.index_copy(0, batch.patch_positions, patches)
        return x.view(*batch.segments.shape, -1)


class _Sums(torch.autograd.Function):
    """Of every position the sum of its members, as `embedding_bag` has it; and of every pair the sum of its readers' gradients, likewise.

    PyTorch's gradient of a sum of members sorts them first, and adds them one by one: five times as long on a CPU.
    """

    @staticmethod
    def forward(
        ctx: Any, pair: torch.Tensor, members: torch.Tensor, starts: torch.Tensor, readers: torch.Tensor, reader_starts: torch.Tensor
    ) -> torch.Tensor:
        ctx.save_for_backward(readers, reader_starts)
        return F.embedding_bag(members, pair, starts, mode="sum")

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        readers, reader_starts = ctx.saved_tensors
        return F.embedding_bag(readers, gradient.contiguous(), reader_starts, mode="sum"), None, None, None, None


class SetEmbedding(nn.Module):
    """Any number of tokens a position: MLP(norm(numbers + Σ members)), with glances at grids before the MLP (see `Glances`).

    Numbers are seen as values: each index of a timestep's numbers has a vector of its own, which the value is multiplied with, as in the
    first layer of a plain network. A member is what a token is, multiplied entry by entry with what its index is, so that a sum keeps
    apart who is where: of two tokens with their places exchanged the sums differ as much as those of two other tokens. (Added, and through
    a GELU, as this once was, a place only shows in the curvature, and few demonstrations teach little: docs/ablations.md.) Neither has a
    parameter of a task's own, so any embodiment fits.
    """

    def __init__(self, config: ModelConfig):
        super().__init__()
        size = config.set_width
        self.tokens = TokenTable(config.width)
        self.numbers = nn.Embedding(LOCAL_POSITIONS, size)
        self.count = nn.Embedding(LOCAL_POSITIONS + 1, size)
        self.index = nn.Embedding(LOCAL_POSITIONS + 1, size)
        self.member = nn.Linear(config.width, size, bias=False)
        self.pictures = PatchSet(size)
        self.glances = Glances(config.width, size, config.glances) if config.glances else None
        self.norm = RMSNorm(size)
        self.hidden = nn.Linear(size, size)
        self.out = nn.Linear(size, config.width, bias=False)
        for table, std in ((self.numbers, 0.1), (self.count, 0.1), (self.index, 1.0)):
            nn.init.normal_(table.weight, std=std)
        nn.init.normal_(self.member.weight, std=config.width**-0.5)
        self.known: torch.Tensor | None = None

    def members(self, tokens: torch.Tensor) -> torch.Tensor:
        """What each token brings, whatever its index: int64 (N,) to (N, set_width)."""
        if self.known is not None:
            return F.embedding(tokens, self.known)
        # The table's rows have standard deviation 0.02: divided by it, members start with unit variance.
        return self.member(self.tokens(tokens) / TABLE_STD).to(self.index.weight.dtype)

    @torch.no_grad()
    def remember_members(self) -> None:
        """Look up `members` from now on, for weights that change no more: they depend on nothing but the token."""
        tokens = torch.arange(VOCABULARY_SIZE, device=self.index.weight.device)
        self.known = torch.cat([self.members(part) for part in tokens.split(4096)])

    def see(self, numbers: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
        """Standardised numbers (R, C) and how many of them there are, int64 (R,), to (R, set_width); in float32 whatever the weights."""
        with torch.autocast(numbers.device.type, enabled=False):
            return numbers @ self.numbers.weight[: numbers.shape[1]].float() + self.count(counts).float()

    def symbols(self, batch: Batch) -> torch.Tensor:
        """The vectors of the symbols of the batch's distinct cells, (K, MOST_SYMBOLS, width), zeros where a cell has fewer."""
        assert batch.cell_symbols is not None
        found = self.tokens(batch.cell_symbols.clamp(min=0).flatten()).view(*batch.cell_symbols.shape, -1) / TABLE_STD
        return found.masked_fill((batch.cell_symbols < 0)[..., None], 0)

    def forward(self, batch: Batch) -> torch.Tensor:
        """(B, L, width)."""
        pair = self.members(batch.pair_tokens) * self.index(batch.pair_local)
        if batch.readers is None:
            x = F.embedding_bag(batch.members, pair, batch.starts, mode="sum")[: batch.segments.numel()]
        else:
            x = _Sums.apply(pair, batch.members, batch.starts, batch.readers, batch.reader_starts)
        if len(batch.numbers):
            x = x.index_add(0, batch.number_positions, self.see(batch.numbers, batch.number_counts).to(x.dtype))
        if len(batch.patches):
            x = self.pictures(x, batch)
        x = self.norm(x.to(self.norm.weight.dtype))
        if self.glances is not None and batch.cells is not None:
            x = self.glances(x, self.symbols(batch), batch)
        x = self.out(F.gelu(self.hidden(x), approximate="tanh"))
        return x.view(*batch.segments.shape, -1)
