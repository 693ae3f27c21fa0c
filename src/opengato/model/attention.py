"""Attention of both families, each in two forms: over packed sequences (training), and over new positions with a cache (acting)."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention

from opengato.model.memory import Memory, Step
from opengato.model.norm import EPSILON, RMSNorm
from opengato.model.positions import relative_shift, rotate, sin_cos, sinusoids
from opengato.model.pytorch_private import softmax_gradient

# Queries that the CPU multiplies at a time: keys after the chunk's last query are never touched, which saves almost half of the work.
CPU_CHUNK = 128

# Measured on a CPU: two products and a softmax whose scores stay in its cache take less time than PyTorch's fused kernel, for one query
# and a memory of 1,024 two thirds of it in float32 and a third in bfloat16.
CACHED_SCORES = 2**21


def segment_mask(segments: torch.Tensor, branches: torch.Tensor | None = None, window: int | None = None) -> torch.Tensor:
    """Who attends to whom: causal, inside one segment, one's own branch of it or what all share, and less than `window` positions back.

    Args:
        segments: int (B, L); -1 is padding, which attends only to itself, so that no row is empty.
        branches: int (B, L), 0 for what the whole segment shares; None where there are no others.
        window: how many positions a query sees, itself included; None for all.

    Returns:
        bool (B, 1, L, L), True where row i may see column j. Build it once a batch, for all blocks.
    """
    length = segments.shape[1]
    diagonal = torch.ones(length, length, dtype=torch.bool, device=segments.device)
    near = diagonal.tril() if window is None else diagonal.tril().triu(1 - window)
    alone = diagonal.tril().triu() | (segments >= 0)[:, :, None]
    mask = (segments[:, :, None] == segments[:, None, :]) & near & alone
    if branches is not None:
        mask &= (branches == 0)[:, None, :] | (branches[:, :, None] == branches[:, None, :])
    return mask[:, None]


def segment_blocks(segments: torch.Tensor, branches: torch.Tensor | None = None) -> BlockMask:
    """The rule of `segment_mask` for FlexAttention, which skips the blocks of 128 × 128 in which no one sees anyone."""

    def sees(row: torch.Tensor, _head: torch.Tensor, i: torch.Tensor, j: torch.Tensor) -> torch.Tensor:
        segment = segments[row, i]
        inside = (segment == segments[row, j]) & (i >= j) & ((segment >= 0) | (i == j))
        return inside if branches is None else inside & ((branches[row, j] == 0) | (branches[row, i] == branches[row, j]))

    rows, length = segments.shape
    return create_block_mask(sees, rows, None, length, length, device=str(segments.device))


def _attend(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    mask: torch.Tensor | BlockMask,
    q_distance: torch.Tensor | None = None,
    far_first: torch.Tensor | None = None,
) -> torch.Tensor:
    """softmax((q·k + shift(q_distance·far_first)) / √key_size) v over rows of L positions.

    Args:
        q, k, v: (B, heads, L, key_size). mask: bool (B, 1, L, L), causal, no row empty, or the same as `segment_blocks`.
        q_distance: queries (B, heads, L, key_size) for far_first, the keys (heads, L, key_size) of the distances L - 1 … 0;
            None where there is no relative term.
    """
    if isinstance(mask, BlockMask):
        return _attend_flex(q, k, v, mask, q_distance, far_first)
    # Measured on two cores in bfloat16: the fused kernel takes 1.7 times as long with a mask, and 4 times with a bias that learns.
    attend = _attend_chunked if q.device.type == "cpu" else _attend_fused
    return attend(q, k, v, mask, q_distance, far_first)


def _attend_fused(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    mask: torch.Tensor,
    q_distance: torch.Tensor | None,
    far_first: torch.Tensor | None,
) -> torch.Tensor:
    """As _attend, by PyTorch's kernels."""
    bias = mask
    if q_distance is not None and far_first is not None:
        bias = relative_shift((q_distance * q.shape[-1] ** -0.5) @ far_first.transpose(-1, -2)).masked_fill(~mask, -torch.inf).to(q.dtype)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=bias)


def _attend_flex(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    blocks: BlockMask,
    q_distance: torch.Tensor | None,
    far_first: torch.Tensor | None,
) -> torch.Tensor:
    """As _attend, by FlexAttention (He et al. 2024), compiled on a GPU."""
    scale, last = q.shape[-1] ** -0.5, q.shape[2] - 1
    shift = None
    if q_distance is not None and far_first is not None:
        by_distance = (q_distance * scale) @ far_first.transpose(-1, -2)  # of the distances L - 1 … 0

        def shift(score: torch.Tensor, row: torch.Tensor, head: torch.Tensor, i: torch.Tensor, j: torch.Tensor) -> torch.Tensor:
            return score + by_distance[row, head, i, torch.clamp(last - i + j, max=last)]

    flex = _compiled_flex() if q.device.type == "cuda" else flex_attention
    mixed = flex(q, k, v, score_mod=shift, block_mask=blocks, scale=scale)
    assert isinstance(mixed, torch.Tensor)
    return mixed


@cache
def _compiled_flex() -> Any:
    return torch.compile(flex_attention)


def _attend_chunked(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    mask: torch.Tensor,
    q_distance: torch.Tensor | None,
    far_first: torch.Tensor | None,
) -> torch.Tensor:
    """As _attend, written out, a chunk of queries against the keys up to its end."""
    scale = q.shape[-1] ** -0.5
    hidden = torch.zeros(mask.shape, dtype=q.dtype, device=q.device).masked_fill_(~mask, -torch.inf)
    if q_distance is not None:
        q_distance = q_distance * scale
    return _ChunkedAttention.apply(q * scale, k, v, hidden, q_distance, far_first)


def _chunks(hidden: torch.Tensor) -> list[tuple[int, int, int]]:
    """Queries [start, stop) and the first key that any of them may see, of every chunk of a mask (B, 1, L, L), 0 or -inf.

    Segments lie one after the other, and what all of one see lies at its beginning: nobody in a chunk sees further back than its first
    query.
    """
    length = hidden.shape[-1]
    starts = range(0, length, CPU_CHUNK)
    seen = (hidden[:, 0, ::CPU_CHUNK] == 0).any(0)
    return [(first, start, min(start + CPU_CHUNK, length)) for first, start in zip(seen.int().argmax(-1).tolist(), starts)]


class _ChunkedAttention(torch.autograd.Function):
    """softmax(q·k + shift(q_distance·far_first) + hidden) v, chunk by chunk.

    Its gradient is written out too: autograd's of a slice is the whole tensor filled with zeros, once a chunk.
    """

    @staticmethod
    def forward(
        ctx: Any,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        hidden: torch.Tensor,
        q_distance: torch.Tensor | None,
        far_first: torch.Tensor | None,
    ) -> torch.Tensor:
        length = q.shape[2]
        ctx.chunks = _chunks(hidden)
        weights, mixed = [], []
        for first, start, stop in ctx.chunks:
            scores = q[:, :, start:stop] @ k[:, :, first:stop].transpose(-1, -2)
            if q_distance is not None and far_first is not None:
                scores += relative_shift(q_distance[:, :, start:stop] @ far_first[:, length - (stop - first) :].transpose(-1, -2))
            scores += hidden[:, :, start:stop, first:stop]
            weights.append(scores.softmax(-1))
            mixed.append(weights[-1] @ v[:, :, first:stop])
        ctx.save_for_backward(q, k, v, q_distance, far_first, *weights)
        return torch.cat(mixed, 2)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        q, k, v, q_distance, far_first, *weights = ctx.saved_tensors
        length = q.shape[2]
        to_q, to_k, to_v = torch.empty_like(q), torch.zeros_like(k), torch.zeros_like(v)
        to_q_distance = None if q_distance is None else torch.empty_like(q_distance)
        to_far_first = None if far_first is None else torch.zeros_like(far_first)
        for (first, start, stop), weight in zip(ctx.chunks, weights):
            part = gradient[:, :, start:stop]
            to_v[:, :, first:stop] += weight.transpose(-1, -2) @ part
            scores = softmax_gradient(part @ v[:, :, first:stop].transpose(-1, -2), weight)
            to_q[:, :, start:stop] = scores @ k[:, :, first:stop]
            to_k[:, :, first:stop] += scores.transpose(-1, -2) @ q[:, :, start:stop]
            if to_q_distance is not None and to_far_first is not None:
                by_distance = _relative_unshift(scores)
                to_q_distance[:, :, start:stop] = by_distance @ far_first[:, length - (stop - first) :]
                to_far_first[:, length - (stop - first) :] += (by_distance.transpose(-1, -2) @ q_distance[:, :, start:stop]).sum(0)
        return to_q, to_k, to_v, None, to_q_distance, to_far_first


def _attend_new(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    hidden: torch.Tensor,
    add: Callable[[torch.Tensor, slice], None] | None = None,
    watch: Callable[[torch.Tensor, slice], None] | None = None,
) -> torch.Tensor:
    """softmax(q·k / √key_size + hidden + what `add` adds) v of a few new queries (slots, heads, T, key_size) over a memory.

    `hidden` is (slots, 1, T, S); `add` adds in place to the scores of some slots, (slots, heads, T, S); `watch` is shown their softmax,
    the very one that weighs the values.
    """
    if q.device.type != "cpu" and watch is None:  # a fused kernel keeps no weights to show
        bias = hidden
        if add is not None:
            bias = hidden.repeat(1, q.shape[1], 1, 1)
            add(bias, slice(0, len(q)))
        return F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
    q = q * q.shape[-1] ** -0.5
    together = max(1, CACHED_SCORES // (q.shape[1:3].numel() * k.shape[2]))
    mixed = []
    for first in range(0, len(q), together):
        slots = slice(first, first + together)
        scores = q[slots] @ k[slots].transpose(-1, -2)
        scores += hidden[slots]
        if add is not None:
            add(scores, slots)
        weights = scores.softmax(-1)
        if watch is not None:
            watch(weights, slots)
        mixed.append(weights @ v[slots])
    return torch.cat(mixed) if len(mixed) > 1 else mixed[0]


def _relative_unshift(scores: torch.Tensor) -> torch.Tensor:
    """The gradient of `relative_shift`: (…, T, S) by key to (…, T, S) by distance."""
    rows, columns = scores.shape[-2:]
    return F.pad(scores.flatten(-2).unflatten(-1, (columns, rows)), (0, 0, 1, 0)).flatten(-2).unflatten(-1, (rows, columns + 1))[..., 1:]


def _heads(x: torch.Tensor, heads: int) -> torch.Tensor:
    """(B, L, heads·key) to (B, heads, L, key)."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


class RelativeAttention(nn.Module):
    """Transformer-XL attention (Dai et al. 2019): score = (q + u)·k + (q + v)·R(distance), scaled by 1/√key_size."""

    def __init__(self, width: int, heads: int, key_size: int):
        super().__init__()
        self.heads, self.key_size = heads, key_size
        self.qkv = nn.Linear(width, 3 * heads * key_size, bias=False)
        self.relative = nn.Linear(width, heads * key_size, bias=False)
        self.out = nn.Linear(heads * key_size, width, bias=False)
        self.u = nn.Parameter(torch.zeros(heads, 1, key_size))
        self.v = nn.Parameter(torch.zeros(heads, 1, key_size))
        self.width = width

    def _distance_keys(self, count: int, device: torch.device) -> torch.Tensor:
        """R of the distances 0 … count - 1: (heads, count, key_size)."""
        return (
            self.relative(sinusoids(torch.arange(count, device=device), self.width).to(self.relative.weight.dtype))
            .unflatten(-1, (self.heads, -1))
            .transpose(0, 1)
        )

    def far_first(self, memory: Memory) -> torch.Tensor:
        """R of all distances below the context, the farthest first, for a memory to keep: made in each step they would cost the most."""
        return self._distance_keys(memory.context, self.u.device).flip(1).to(memory.keys[0].dtype)

    def forward(self, x: torch.Tensor, mask: torch.Tensor | BlockMask, position: torch.Tensor | None = None) -> torch.Tensor:
        """(B, L, width), mask of `segment_mask` or `segment_blocks`, to (B, L, width). Distances are counted along the row."""
        length = x.shape[1]
        q, k, v = (_heads(part, self.heads) for part in self.qkv(x).chunk(3, -1))
        far_first = self._distance_keys(length, x.device).flip(1).to(q.dtype)
        mixed = _attend(q + self.u.to(q.dtype), k, v, mask, q + self.v.to(q.dtype), far_first)
        return self.out(mixed.transpose(1, 2).flatten(2))

    def forward_cached(self, x: torch.Tensor, step: Step, block: int) -> torch.Tensor:
        """The new positions of a step, (slots, T, width), in a block."""
        q, k, v = (_heads(part, self.heads) for part in self.qkv(x).chunk(3, -1))
        keys, values = step.extend(block, k, v)
        from_v = ((q + self.v) * self.key_size**-0.5).to(q.dtype)
        far_first = step.far_first(block, self.far_first).to(q.dtype).transpose(-1, -2)

        def add_relative(scores: torch.Tensor, slots: slice) -> None:
            # All slots in one product a head: the keys of the distances are the same for them.
            queries = from_v[slots].transpose(0, 1)
            by_distance = (queries.flatten(1, 2) @ far_first).view(*queries.shape[:3], -1).transpose(0, 1)
            step.add_by_distance(scores, by_distance, slots)

        keys, values, hidden = keys.to(q.dtype), values.to(q.dtype), step.hidden.to(q.dtype)
        mixed = _attend_new((q + self.u).to(q.dtype), keys, values, hidden, add_relative, step.watching(block))
        return self.out(mixed.transpose(1, 2).flatten(2))


class RotaryAttention(nn.Module):
    """Rotary attention with RMS-normalised queries and keys (QK-norm)."""

    def __init__(self, width: int, heads: int, key_size: int):
        super().__init__()
        self.heads, self.key_size = heads, key_size
        self.qkv = nn.Linear(width, 3 * heads * key_size, bias=False)
        self.out = nn.Linear(heads * key_size, width, bias=False)
        self.query_norm, self.key_norm = RMSNorm(key_size), RMSNorm(key_size)

    def comparing_parameters(self) -> list[nn.Parameter]:
        """Those that have no gradient where every position sees itself alone."""
        return [self.query_norm.weight, self.key_norm.weight]

    def _project(self, x: torch.Tensor, sin: torch.Tensor, cos: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Queries and keys, normalised and rotated by angles (B, 1, L, key_size / 2), and values; all (B, heads, L, key_size)."""
        qkv = self.qkv(x).unflatten(-1, (3, self.heads, self.key_size)).permute(2, 0, 3, 1, 4)
        # Both at once: for one new position the number of kernels is what takes the time.
        weight = torch.stack([self.query_norm.weight, self.key_norm.weight])[:, None, None, None]
        qk = rotate(F.rms_norm(qkv[:2].to(sin.dtype), (self.key_size,), eps=EPSILON) * weight, sin, cos)
        q, k = qk.to(qkv.dtype).unbind(0)
        return q, k, qkv[2]

    def forward(
        self, x: torch.Tensor, mask: torch.Tensor | BlockMask, position: torch.Tensor, apart: torch.Tensor | None = None
    ) -> torch.Tensor:
        """(B, L, width), mask of `segment_mask` or `segment_blocks`, position (B, L) inside the segment, to (B, L, width).

        `apart`: int64 (R,), ascending, the rows whose attention is computed, to which mask and position belong; in all others every
        position sees itself alone, and what it sees is its value. None: all rows.
        """
        if apart is not None:
            size = self.heads * self.key_size  # of the values; weights that are packed for acting have no rows to take
            mixed = F.linear(x, self.qkv.weight[-size:]) if isinstance(self.qkv, nn.Linear) else self.qkv(x)[..., -size:]
            if len(apart):
                mixed = torch.index_copy(mixed, 0, apart, self._mixed(x[apart], mask, position).to(mixed.dtype))
            return self.out(mixed)
        return self.out(self._mixed(x, mask, position))

    def _mixed(self, x: torch.Tensor, mask: torch.Tensor | BlockMask, position: torch.Tensor) -> torch.Tensor:
        """(B, L, width) to what every position gathers, (B, L, heads · key_size)."""
        sin, cos = (part.to(self.query_norm.weight.dtype)[:, None] for part in sin_cos(position, self.key_size // 2))
        q, k, v = self._project(x, sin, cos)
        return _attend(q, k, v, mask).transpose(1, 2).flatten(2)

    def forward_cached(self, x: torch.Tensor, step: Step, block: int) -> torch.Tensor:
        """The new positions of a step, (slots, T, width), in a block; keys are stored rotated."""
        q, k, v = self._project(x, *step.angles)
        keys, values = step.extend(block, k, v)
        mixed = _attend_new(q, keys.to(q.dtype), values.to(q.dtype), step.hidden.to(q.dtype), watch=step.watching(block))
        return self.out(mixed.transpose(1, 2).flatten(2))
