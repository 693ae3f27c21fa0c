"""Attention of both families, each in two forms: over packed sequences (training), and over new positions with a cache (acting)."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention

# Named, since PyTorch's default depends on the dtype of the input.
NORM_EPSILON = 1e-6

# Queries that the CPU multiplies at a time: keys after the chunk's last query are never touched, which saves almost half of the work.
CPU_CHUNK = 128


def segment_mask(segments: torch.Tensor, window: int | None = None) -> torch.Tensor:
    """Who attends to whom: causal, inside one segment, and less than `window` positions back.

    Args:
        segments: int (B, L); -1 is padding, which attends only to itself, so that no row is empty.
        window: how many positions a query sees, itself included; None for all.

    Returns:
        bool (B, 1, L, L), True where row i may see column j. Build it once a batch, for all blocks.
    """
    length = segments.shape[1]
    diagonal = torch.ones(length, length, dtype=torch.bool, device=segments.device)
    near = diagonal.tril() if window is None else diagonal.tril().triu(1 - window)
    alone = diagonal.tril().triu() | (segments >= 0)[:, :, None]
    return ((segments[:, :, None] == segments[:, None, :]) & near & alone)[:, None]


def segment_blocks(segments: torch.Tensor) -> BlockMask:
    """The rule of `segment_mask` for FlexAttention, which skips the blocks of 128 × 128 in which no one sees anyone."""

    def sees(row: torch.Tensor, _head: torch.Tensor, i: torch.Tensor, j: torch.Tensor) -> torch.Tensor:
        segment = segments[row, i]
        return (segment == segments[row, j]) & (i >= j) & ((segment >= 0) | (i == j))

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
        bias = _relative_shift((q_distance * q.shape[-1] ** -0.5) @ far_first.transpose(-1, -2)).masked_fill(~mask, -torch.inf).to(q.dtype)
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
        weights, mixed = [], []
        for start in range(0, length, CPU_CHUNK):
            stop = min(start + CPU_CHUNK, length)
            scores = q[:, :, start:stop] @ k[:, :, :stop].transpose(-1, -2)
            if q_distance is not None and far_first is not None:
                scores += _relative_shift(q_distance[:, :, start:stop] @ far_first[:, length - stop :].transpose(-1, -2))
            scores += hidden[:, :, start:stop, :stop]
            weights.append(scores.softmax(-1))
            mixed.append(weights[-1] @ v[:, :, :stop])
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
        for number, weight in enumerate(weights):
            start, stop = number * CPU_CHUNK, min((number + 1) * CPU_CHUNK, length)
            part = gradient[:, :, start:stop]
            to_v[:, :, :stop] += weight.transpose(-1, -2) @ part
            scores = torch._softmax_backward_data(part @ v[:, :, :stop].transpose(-1, -2), weight, -1, weight.dtype)
            to_q[:, :, start:stop] = scores @ k[:, :, :stop]
            to_k[:, :, :stop] += scores.transpose(-1, -2) @ q[:, :, start:stop]
            if to_q_distance is not None and to_far_first is not None:
                by_distance = _relative_unshift(scores)
                to_q_distance[:, :, start:stop] = by_distance @ far_first[:, length - stop :]
                to_far_first[:, length - stop :] += (by_distance.transpose(-1, -2) @ q_distance[:, :, start:stop]).sum(0)
        return to_q, to_k, to_v, None, to_q_distance, to_far_first


def _relative_shift(scores: torch.Tensor) -> torch.Tensor:
    """(…, T, S) by distance S - 1 … 0 to (…, T, S) by key, for the last T of S positions: row i moves left by T - 1 - i.

    Transformer-XL's trick (Dai et al. 2019, appendix B): one padding column and a view of other shape, no gather. What lies
    above the diagonal is rubbish, to be masked.
    """
    rows, columns = scores.shape[-2:]
    return F.pad(scores, (1, 0)).flatten(-2).unflatten(-1, (columns + 1, rows))[..., 1:, :].flatten(-2).unflatten(-1, (rows, columns))


def _relative_unshift(scores: torch.Tensor) -> torch.Tensor:
    """The gradient of `_relative_shift`: (…, T, S) by key to (…, T, S) by distance."""
    rows, columns = scores.shape[-2:]
    return F.pad(scores.flatten(-2).unflatten(-1, (columns, rows)), (0, 0, 1, 0)).flatten(-2).unflatten(-1, (rows, columns + 1))[..., 1:]


class KVCache:
    """The keys and values of the last `context` positions of every slot: a ring, which is the Transformer-XL memory.

    Attributes:
        keys, values: (slots, heads, context, key_size); position p is stored at p % context.
        positions: int64 (slots, context), the absolute position of each entry, -1 where there is none.
        distance_keys: what RelativeAttention projected for the distances 0 … context - 1, (heads, context, key_size), kept from the
            first step on; like the entries, it belongs to the weights that made it, and a reset forgets it.
    """

    def __init__(
        self, slots: int, heads: int, context: int, key_size: int, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
    ):
        self.context = context
        self.keys = torch.zeros(slots, heads, context, key_size, device=device, dtype=dtype)
        self.values = torch.zeros_like(self.keys)
        self.positions = torch.full((slots, context), -1, device=device)
        self.distance_keys: torch.Tensor | None = None

    def reset(self, slot: int) -> None:
        """Forget everything in one slot."""
        self.positions[slot] = -1
        self.distance_keys = None

    def extend(
        self, keys: torch.Tensor, values: torch.Tensor, positions: torch.Tensor, slots: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Store T new entries a row, (rows, heads, T, key_size), positions (rows, T) with -1 for padding.

        `slots`, int64 (rows,): whose they are; None: a row a slot.

        Returns keys, values and positions of these rows to attend over: with T = 1 the ring itself, else the old entries and then the new
        ones, since the first of the new queries still see what the last of the new entries overwrite.
        """
        new = keys.shape[2]
        if new > 1:
            old_keys, old_values, old_positions = self._rows(slots)
            together = (
                torch.cat([old_keys, keys.to(self.keys.dtype)], 2),
                torch.cat([old_values, values.to(self.values.dtype)], 2),
                torch.cat([old_positions, positions], 1),
            )
        # Of a chunk longer than the ring only the last entries stay.
        valid = positions >= 0
        if new > self.context:
            valid &= positions > positions.max(1, keepdim=True).values - self.context
        row, step = torch.nonzero(valid, as_tuple=True)
        slot, at = row if slots is None else slots[row], positions[row, step] % self.context
        self.keys[slot, :, at] = keys[row, :, step].to(self.keys.dtype)
        self.values[slot, :, at] = values[row, :, step].to(self.values.dtype)
        self.positions[slot, at] = positions[row, step]
        return together if new > 1 else self._rows(slots)

    def _rows(self, slots: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        together = (self.keys, self.values, self.positions)
        return together if slots is None else (self.keys[slots], self.values[slots], self.positions[slots])

    def visible(self, queries: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
        """bool (slots, 1, T, S): entries not after the query and less than `context` before it; padding queries see all, for no NaN."""
        distance = queries[:, :, None] - keys[:, None, :]
        seen = (distance >= 0) & (distance < self.context) & (keys >= 0)[:, None, :]
        return (seen | (queries < 0)[:, :, None])[:, None]


def _heads(x: torch.Tensor, heads: int) -> torch.Tensor:
    """(B, L, heads·key) to (B, heads, L, key)."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def _sin_cos(positions: torch.Tensor, pairs: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Sine and cosine of positions times 10000^(-n / pairs), (…,) to two of (…, pairs).

    In float64 where the device has it: in float32 an angle of position 100,000, which a long episode reaches, is off by 0.004.
    """
    dtype = torch.float32 if positions.device.type == "mps" else torch.float64
    frequency = torch.exp(torch.arange(pairs, device=positions.device, dtype=dtype) * (-math.log(10_000.0) / pairs))
    angle = positions[..., None].to(dtype) * frequency
    return angle.sin(), angle.cos()


def sinusoids(distances: torch.Tensor, width: int) -> torch.Tensor:
    """Sinusoidal encodings of distances, (…,) to (…, width): the sines, then the cosines, as in Transformer-XL."""
    return torch.cat(_sin_cos(distances, width // 2), -1)


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

    def _cached_distance_keys(self, cache: KVCache, q: torch.Tensor) -> torch.Tensor:
        """R for every distance inside the memory; projected anew at each step they would cost more than all else."""
        if torch.is_grad_enabled():
            return self._distance_keys(cache.context, q.device).to(q.dtype)
        if cache.distance_keys is None or cache.distance_keys.dtype != q.dtype:
            cache.distance_keys = self._distance_keys(cache.context, q.device).to(q.dtype)
        return cache.distance_keys

    def forward(self, x: torch.Tensor, mask: torch.Tensor | BlockMask, position: torch.Tensor | None = None) -> torch.Tensor:
        """(B, L, width), mask of `segment_mask` or `segment_blocks`, to (B, L, width). Distances are counted along the row."""
        length = x.shape[1]
        q, k, v = (_heads(part, self.heads) for part in self.qkv(x).chunk(3, -1))
        far_first = self._distance_keys(length, x.device).flip(1).to(q.dtype)
        mixed = _attend(q + self.u.to(q.dtype), k, v, mask, q + self.v.to(q.dtype), far_first)
        return self.out(mixed.transpose(1, 2).flatten(2))

    def forward_cached(self, x: torch.Tensor, cache: KVCache, positions: torch.Tensor, slots: torch.Tensor | None = None) -> torch.Tensor:
        """T new positions a row, (rows, T, width), positions and slots as in `KVCache.extend`."""
        q, k, v = (_heads(part, self.heads) for part in self.qkv(x).chunk(3, -1))
        keys, values, where = cache.extend(k, v, positions, slots)
        by_distance = (q + self.v.to(q.dtype)) @ self._cached_distance_keys(cache, q).transpose(-1, -2)
        distance = (positions[:, :, None] - where[:, None, :]).clamp(0, cache.context - 1)
        bias = by_distance.gather(-1, distance[:, None].expand(-1, self.heads, -1, -1)) * self.key_size**-0.5
        bias = bias.masked_fill(~cache.visible(positions, where), -torch.inf)
        mixed = F.scaled_dot_product_attention(q + self.u.to(q.dtype), keys.to(q.dtype), values.to(q.dtype), attn_mask=bias.to(q.dtype))
        return self.out(mixed.transpose(1, 2).flatten(2))


def _rotate(x: torch.Tensor, sin: torch.Tensor, cos: torch.Tensor) -> torch.Tensor:
    """Turn entry n of the first half with entry n of the second by the n-th angle: (B, heads, L, key) and two of (B, 1, L, key / 2)."""
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)


class RotaryAttention(nn.Module):
    """Rotary attention with RMS-normalised queries and keys (QK-norm)."""

    def __init__(self, width: int, heads: int, key_size: int):
        super().__init__()
        self.heads, self.key_size = heads, key_size
        self.qkv = nn.Linear(width, 3 * heads * key_size, bias=False)
        self.out = nn.Linear(heads * key_size, width, bias=False)
        self.query_norm = nn.RMSNorm(key_size, eps=NORM_EPSILON)
        self.key_norm = nn.RMSNorm(key_size, eps=NORM_EPSILON)

    def _project(self, x: torch.Tensor, position: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Queries and keys, normalised and rotated by the angles of their positions (B, L), and values; all (B, heads, L, key_size)."""
        q, k, v = (_heads(part, self.heads) for part in self.qkv(x).chunk(3, -1))
        dtype = self.query_norm.weight.dtype
        sin, cos = (part.to(dtype)[:, None] for part in _sin_cos(position, self.key_size // 2))
        q, k = _rotate(self.query_norm(q.to(dtype)), sin, cos), _rotate(self.key_norm(k.to(dtype)), sin, cos)
        return q.to(v.dtype), k.to(v.dtype), v

    def forward(self, x: torch.Tensor, mask: torch.Tensor | BlockMask, position: torch.Tensor) -> torch.Tensor:
        """(B, L, width), mask of `segment_mask` or `segment_blocks`, position (B, L) inside the segment, to (B, L, width)."""
        q, k, v = self._project(x, position)
        mixed = _attend(q, k, v, mask)
        return self.out(mixed.transpose(1, 2).flatten(2))

    def forward_cached(self, x: torch.Tensor, cache: KVCache, positions: torch.Tensor, slots: torch.Tensor | None = None) -> torch.Tensor:
        """T new positions a row, (rows, T, width), positions and slots as in `KVCache.extend`; keys are stored rotated."""
        q, k, v = self._project(x, positions)
        keys, values, where = cache.extend(k, v, positions, slots)
        mixed = F.scaled_dot_product_attention(q, keys.to(q.dtype), values.to(q.dtype), attn_mask=cache.visible(positions, where))
        return self.out(mixed.transpose(1, 2).flatten(2))
