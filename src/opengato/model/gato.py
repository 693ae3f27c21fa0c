"""The generalist agent's network: embedding, blocks, and a head that runs only where there is a target."""

from __future__ import annotations

from collections.abc import Hashable

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from opengato.model.action_head import SPACING, ActionHead, between_knots
from opengato.model.attention import RelativeAttention, RotaryAttention, segment_blocks, segment_mask
from opengato.model.batch import Batch
from opengato.model.blocks import GEGLU, Block
from opengato.model.compiled import Compiled
from opengato.model.config import BASE_WIDTH, ModelConfig
from opengato.model.embedding import PaperEmbedding, SetEmbedding
from opengato.model.losses import linear_cross_entropy, sampled_cross_entropy, soft_cross_entropy
from opengato.model.memory import Memory, Rows
from opengato.model.norm import RMSNorm
from opengato.model.pytorch_private import check_compiler
from opengato.tokens.vocabulary import ACTION_DISCRETE, ACTION_TEXT, BIN_START, BINS, DISCRETE_SIZE, TARGET_RANGES, TEXT_SIZE


class Gato(nn.Module):
    """One transformer for every task.

    Called, it gives the loss of every target of packed training sequences; `hidden` gives their hidden states, `step` those of new
    positions with a memory, `logits` the scores of a range of ids.

    Attributes:
        recompute: keep no activations inside the blocks for the backward pass, but compute them again: less memory, a third more time.
        flex: attend with FlexAttention in training, which needs a GPU to train.
        compiled: whether `compile_acting` was called.
        all_gradients: every parameter gets a gradient in every step, zeros where the batch has nothing for it, as ranks that share
            gradients must have it.
    """

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config, self.recompute, self.flex, self.compiled, self.all_gradients = config, False, False, False, False
        self.embedding = PaperEmbedding(config) if config.family == "gato" else SetEmbedding(config)
        attention = RelativeAttention if config.family == "gato" else RotaryAttention
        norm = nn.LayerNorm if config.family == "gato" else RMSNorm
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
        self.actions = ActionHead(config.width) if config.family == "swift" else None
        # One rate for every width (Yang et al. 2022): a step changes all rows of the table by as much, and scores sum over the width.
        self.score_scale = BASE_WIDTH / config.width if config.family == "swift" else 1.0
        self.between: torch.Tensor | None = None  # `between_knots`, where it must be a constant

    @property
    def table(self) -> torch.Tensor:
        """A part of the token table: where and of what dtype the weights are."""
        return self.embedding.tokens.common.weight

    def autocast(self) -> torch.autocast:
        """For acting: matrices of bfloat16 weights are multiplied in it, while norms and the residual stream stay in float32."""
        table = self.table
        return torch.autocast(table.device.type, torch.bfloat16, enabled=table.dtype == torch.bfloat16)

    def parameter_count(self, embeddings: bool = True) -> int:
        """Trainable parameters; without `embeddings`, those outside the lookup tables."""
        tables = {id(p) for m in self.modules() if isinstance(m, nn.Embedding) for p in m.parameters()}
        return sum(p.numel() for p in self.parameters() if embeddings or id(p) not in tables)

    def hidden(self, batch: Batch) -> torch.Tensor:
        """Hidden states (B, L, width) after the last norm."""
        x = self.embedding(batch).to(self.norm.weight.dtype)  # the residual stream stays in float32 under autocast
        segments, branches, position = batch.segments, batch.branches, batch.index
        apart = None
        if self.config.family == "swift" and len(together := _rows_of_windows(segments)) < len(segments):
            if not len(together) and (self.all_gradients or self.flex):
                together = together.new_zeros(1)  # so that what compares positions gets its zeros, and FlexAttention has a row
            apart, segments, branches, position = together, segments[together], branches[together], position[together]
        mask = (segment_blocks if self.flex else segment_mask)(segments, branches)
        for number, block in enumerate(self.blocks):
            chance = None if batch.chance is None else batch.chance[:, number]
            if self.recompute and self.training:
                x = checkpoint(block, x, mask, position, chance, apart, use_reentrant=False)
            else:
                x = block(x, mask, position, chance, apart)
        return self.norm(x)

    def forward(self, batch: Batch) -> torch.Tensor:
        """Cross-entropy (N,) of every target, float32.

        gato: over the whole vocabulary, as the paper. swift: over the ids a target of its kind may have, since the layout always
        tells the kind; text pays for 32,000 ids (in training for a sample of them, `sampled_cross_entropy`), actions for 1,024. Its
        continuous actions aim at a bin and its neighbours.
        """
        hidden = self.hidden(batch).flatten(0, 1)
        tokens = self.embedding.tokens
        nothing = self._nothing(batch) if self.training and self.all_gradients else 0.0
        if self.actions is None:
            return linear_cross_entropy(hidden.index_select(0, batch.target_positions), batch.targets, *tokens.rows()) + nothing
        wide = torch.promote_types(hidden.dtype, torch.float32)
        out = hidden.new_zeros(len(batch.targets), dtype=wide)
        # One split: its gradient is put together once, not filled with zeros for every range.
        shared, bins, _ = tokens.common.weight.split([DISCRETE_SIZE, BINS, 1])
        for kind, (start, _stop) in TARGET_RANGES.items():
            where = torch.nonzero(batch.target_kinds == kind).squeeze(1)
            if not len(where):
                continue
            predictors, targets = batch.target_positions[where], batch.targets[where] - start
            if kind == ACTION_TEXT:
                state, words = hidden.index_select(0, predictors) * self.score_scale, tokens.words.weight
                if self.training and self.config.word_stride > 1:
                    losses = sampled_cross_entropy(state, targets, shared, words, self.config.word_stride)
                else:
                    losses = linear_cross_entropy(state, targets, shared, words)
            else:
                state = self.actions(hidden, predictors, batch.target_index[where]) * self.score_scale
                if kind == ACTION_DISCRETE:
                    losses = linear_cross_entropy(state, targets, shared)
                else:
                    losses = soft_cross_entropy(state, targets / SPACING, bins[::SPACING])
            out = out.index_copy(0, where, losses)
        return out + nothing

    def optional(self, batch: Batch) -> list[tuple[list[nn.Parameter], bool]]:
        """The parameters that a batch may leave out, and whether this one has something for them."""
        parts = self._optional_outside_blocks(batch)
        if self.config.family == "swift":
            comparing = [p for block in self.blocks for p in block.attention.comparing_parameters()]  # type: ignore[operator, union-attr]
            parts.append((comparing, len(_rows_of_windows(batch.segments)) > 0))
        return parts

    def _optional_outside_blocks(self, batch: Batch) -> list[tuple[list[nn.Parameter], bool]]:
        eye = self.embedding
        looking = [eye.patches, eye.rows, eye.columns] if isinstance(eye, PaperEmbedding) else [eye.pictures]
        parts = [([p for part in looking for p in part.parameters()], len(batch.patches) > 0)]
        if isinstance(eye, SetEmbedding) and self.actions is not None:
            word = ((batch.pair_tokens >= DISCRETE_SIZE) & (batch.pair_tokens < TEXT_SIZE)).any() | (
                batch.target_kinds == ACTION_TEXT
            ).any()
            parts.append((list(eye.tokens.words.parameters()), bool(word)))
            parts.append(([*eye.numbers.parameters(), *eye.count.parameters()], len(batch.numbers) > 0))
            if eye.glances is not None:
                parts.append((list(eye.glances.parameters()), batch.cells is not None))
            parts.append((list(self.actions.parameters()), bool((batch.target_kinds > ACTION_TEXT).any())))
        return parts

    def _nothing(self, batch: Batch) -> torch.Tensor:
        """Zero, of all outside the blocks that a batch may leave out; inside them `hidden` sees to it."""
        parameters = [p for part, _ in self._optional_outside_blocks(batch) for p in part]
        return sum((0 * p.flatten()[0].float() for p in parameters), torch.zeros((), device=self.table.device))

    def logits(self, hidden: torch.Tensor, start: int, stop: int, index: torch.Tensor | None = None) -> torch.Tensor:
        """Scores (N, stop - start), float32, of the ids [start, stop) after hidden states (N, width).

        `index`, int64 (N,): swift: which number of a control action is asked for; None for text.
        """
        if self.actions is None or index is None:
            return self.score_rows(hidden * self.score_scale, start, stop).float()
        state = self.actions(hidden, torch.arange(len(hidden), device=hidden.device), index) * self.score_scale
        if start < BIN_START:
            return self.score_rows(state, start, stop).float()
        knots = self.score_rows(state, BIN_START, BIN_START + BINS, SPACING).float()
        between = between_knots(knots.device) if self.between is None else self.between
        return (knots @ between)[:, start - BIN_START : stop - BIN_START]

    def score_rows(self, state: torch.Tensor, start: int, stop: int, spacing: int = 1) -> torch.Tensor:
        """Products of states (N, width) with every so many-th of the rows [start, stop) of the table, those without words if not all."""
        # Contiguous: PyTorch 2.13 compiles a product with every so many-th row of a constant to one with other rows.
        scores = [F.linear(state.to(rows.dtype), rows[::spacing].contiguous()) for rows in self.embedding.tokens.rows(start, stop)]
        return torch.cat(scores, -1) if len(scores) > 1 else scores[0]

    def make_memory(self, slots: int) -> Memory:
        """An empty memory of `context` positions a slot, on the weights' device and of their dtype."""
        config, table = self.config, self.table
        return Memory(config.blocks, slots, config.heads, config.context, config.key_size, device=table.device, dtype=table.dtype)

    def step(self, batch: Batch, memory: Memory, rows: Rows = slice(None), end: int | None = None) -> torch.Tensor:
        """Hidden states (B, T, width) of T new positions a slot; `batch.index` is the absolute position, segments -1 is padding.

        `rows`, `end`: of the slots, see `Memory.advance`.
        """
        x = self.embedding(batch).to(self.norm.weight.dtype)
        positions = torch.where(batch.segments >= 0, batch.index, -1)
        if self.compiled:
            end = None  # one shape, however much of the memory is filled
        parts = []
        for new, where in zip(x.split(memory.chunk, 1), positions.split(memory.chunk, 1)):
            step = memory.advance(where, rows, end)
            for number, block in enumerate(self.blocks):
                assert isinstance(block, Block)
                new = block.forward_cached(new, step, number)
            parts.append(new)
        return self.norm(torch.cat(parts, 1) if len(parts) > 1 else parts[0])

    def compile_acting(self) -> None:
        """Let `step` and `logits` run compiled for the shapes of calls during `warming_up`; see `convert`, which calls it.

        Raises OpenGatoError where there is no C++ compiler for a CPU.
        """
        check_compiler(self.table.device)
        self.compiled = True
        if self.actions is not None:
            # What a function keeps is computed anew in compiled code, each time: it took three times as long as all of the network.
            del self.between
            self.register_buffer("between", between_knots(self.table.device).clone(), persistent=False)
        self.step = Compiled(self.step, self._shape_of_step)  # type: ignore[assignment, method-assign]
        self.logits = Compiled(self.logits, _shape_of_logits)  # type: ignore[assignment, method-assign]

    def _shape_of_step(self, batch: Batch, memory: Memory, rows: Rows = slice(None), end: int | None = None) -> Hashable | None:
        length = batch.segments.shape[1]
        if isinstance(rows, torch.Tensor) or length > memory.chunk:
            return None
        # A chunk of the paper's form is mostly large products, for which there is nothing to gain; and the first one fills `far_first`.
        if self.config.family == "gato" and (length > 1 or memory.far_first[0] is None):
            return None
        tokens = len(batch.pair_tokens), len(batch.members), batch.numbers.shape, len(batch.patches)
        cells = None if batch.cells is None or batch.cell_symbols is None else (batch.cells.shape, batch.cell_symbols.shape)
        return batch.segments.shape, tokens, cells, memory.positions.shape, rows.start, rows.stop


def _rows_of_windows(segments: torch.Tensor) -> torch.Tensor:
    """The rows, int64 (R,), of segments (B, L) in which any window has more than one position."""
    return torch.nonzero((segments[:, 1:] == segments[:, :-1]).logical_and(segments[:, 1:] >= 0).any(1)).squeeze(1)


def _shape_of_logits(hidden: torch.Tensor, start: int, stop: int, index: torch.Tensor | None = None) -> Hashable:
    return hidden.shape, start, stop, index is None
