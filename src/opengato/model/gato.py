"""The generalist agent's network: embedding, blocks, and a head that runs only where there is a target."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from opengato.model.attention import KVCache, RelativeAttention, RotaryAttention, segment_mask
from opengato.model.batch import Batch
from opengato.model.blocks import GEGLU, Block
from opengato.model.config import ModelConfig
from opengato.model.embedding import PaperEmbedding, SetEmbedding
from opengato.tokens.vocabulary import ACTION_CONTINUOUS, ACTION_DISCRETE, ACTION_TEXT, BINS, DISCRETE_SIZE, TARGET_RANGES, TEXT_SIZE


class Gato(nn.Module):
    """One transformer for every task.

    `forward` gives hidden states for packed training sequences, `losses` the cross-entropy of every target, `step` hidden states
    of new positions with a cache, `logits` the scores of a range of ids.
    """

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        self.embedding = PaperEmbedding(config) if config.family == "gato" else SetEmbedding(config)
        attention = RelativeAttention if config.family == "gato" else RotaryAttention
        norm = nn.LayerNorm if config.family == "gato" else nn.RMSNorm
        self.blocks = nn.ModuleList(
            Block(
                attention(config.width, config.heads, config.key_size),
                GEGLU(config.width, config.feed_forward),
                norm,
                config.width,
                stochastic_depth=config.stochastic_depth,
                dropout=config.dropout,
            )
            for _ in range(config.blocks)
        )
        self.norm = norm(config.width)

    def parameter_count(self, embeddings: bool = True) -> int:
        """Trainable parameters; without `embeddings`, those outside the lookup tables."""
        tables = {id(p) for m in self.modules() if isinstance(m, nn.Embedding) for p in m.parameters()}
        return sum(p.numel() for p in self.parameters() if embeddings or id(p) not in tables)

    def forward(self, batch: Batch) -> torch.Tensor:
        """Hidden states (B, L, width) after the last norm."""
        x = self.embedding(batch).to(self.norm.weight.dtype)  # the residual stream stays in float32 under autocast
        mask = segment_mask(batch.segments)
        for block in self.blocks:
            x = block(x, mask=mask, position=batch.index)
        return self.norm(x)

    def losses(self, batch: Batch) -> torch.Tensor:
        """Cross-entropy (N,) of every target, float32.

        gato: over the whole vocabulary, as the paper. swift: over the ids a target of its kind may have, since the layout always
        tells the kind; text pays for 32,000 ids, actions for 1,024.
        """
        hidden = self(batch).flatten(0, 1)[batch.target_positions]
        table = self.embedding.tokens.weight
        if self.config.family == "gato":
            return F.cross_entropy(F.linear(hidden, table).float(), batch.targets, reduction="none")
        out = hidden.new_zeros(len(hidden), dtype=torch.float32)
        # One split of the table: its gradient is put together once, not filled with zeros for every range.
        shared, rest, bins, _ = table.split([DISCRETE_SIZE, TEXT_SIZE - DISCRETE_SIZE, BINS, 1])
        for kind, (start, _stop) in TARGET_RANGES.items():
            where = torch.nonzero(batch.target_kinds == kind).squeeze(1)
            if len(where):
                rows = {ACTION_TEXT: lambda: torch.cat([shared, rest]), ACTION_DISCRETE: lambda: shared, ACTION_CONTINUOUS: lambda: bins}[
                    kind
                ]()
                logits = F.linear(hidden[where], rows).float()
                out = out.index_copy(0, where, F.cross_entropy(logits, batch.targets[where] - start, reduction="none"))
        return out

    def logits(self, hidden: torch.Tensor, start: int, stop: int) -> torch.Tensor:
        """Scores (…, stop - start), float32, of the ids [start, stop)."""
        return F.linear(hidden, self.embedding.tokens.weight[start:stop].to(hidden.dtype)).float()

    def make_caches(self, slots: int, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> list[KVCache]:
        """An empty memory of `context` positions a slot for every block."""
        config = self.config
        return [KVCache(slots, config.heads, config.context, config.key_size, device=device, dtype=dtype) for _ in self.blocks]

    def step(self, batch: Batch, caches: list[KVCache]) -> torch.Tensor:
        """Hidden states (B, T, width) of T new positions a slot; `batch.index` is the absolute position, segments -1 is padding."""
        x = self.embedding(batch).to(self.norm.weight.dtype)
        positions = torch.where(batch.segments >= 0, batch.index, -1)
        for block, cache in zip(self.blocks, caches):
            assert isinstance(block, Block)
            x = block.forward_cached(x, cache, positions)
        return self.norm(x)
