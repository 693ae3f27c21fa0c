"""Attention of both families, each in two forms: over packed sequences (training), and over new positions with a cache (acting)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn


def segment_mask(segments: torch.Tensor) -> torch.Tensor:
    """Who attends to whom: causal, inside one segment. (B, L) ints to bool (B, 1, L, L); padding sees padding, so no row is empty."""
    length = segments.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool, device=segments.device).tril()
    return ((segments[:, :, None] == segments[:, None, :]) & causal)[:, None]


class KVCache:
    """The keys and values of the last `context` positions of every slot: a ring, which is the Transformer-XL memory.

    Attributes:
        keys, values: (slots, heads, context, key_size); position p is stored at p % context.
        positions: int64 (slots, context), the absolute position of each entry, -1 where there is none.
    """

    def __init__(
        self, slots: int, heads: int, context: int, key_size: int, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
    ):
        self.context = context
        self.keys = torch.zeros(slots, heads, context, key_size, device=device, dtype=dtype)
        self.values = torch.zeros_like(self.keys)
        self.positions = torch.full((slots, context), -1, device=device)

    def reset(self, slot: int) -> None:
        """Forget everything in one slot."""
        self.positions[slot] = -1

    def extend(self, keys: torch.Tensor, values: torch.Tensor, positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Store T new entries a slot, (slots, heads, T, key_size), positions (slots, T) with -1 for padding.

        Returns keys, values and positions to attend over: with T = 1 the ring itself, else the old entries and then the new ones,
        since the first of the new queries still see what the last of the new entries overwrite.
        """
        new = keys.shape[2]
        together = (self.keys, self.values, self.positions)
        if new > 1:
            together = (
                torch.cat([self.keys, keys.to(self.keys.dtype)], 2),
                torch.cat([self.values, values.to(self.values.dtype)], 2),
                torch.cat([self.positions, positions], 1),
            )
        # Of a chunk longer than the ring only the last entries stay.
        valid = positions >= 0
        if new > self.context:
            valid &= positions > positions.max(1, keepdim=True).values - self.context
        slot, step = torch.nonzero(valid, as_tuple=True)
        at = positions[slot, step] % self.context
        self.keys[slot, :, at] = keys[slot, :, step].to(self.keys.dtype)
        self.values[slot, :, at] = values[slot, :, step].to(self.values.dtype)
        self.positions[slot, at] = positions[slot, step]
        return together

    def visible(self, queries: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
        """bool (slots, 1, T, S): entries not after the query and less than `context` before it; padding queries see all, for no NaN."""
        distance = queries[:, :, None] - keys[:, None, :]
        seen = (distance >= 0) & (distance < self.context) & (keys >= 0)[:, None, :]
        return (seen | (queries < 0)[:, :, None])[:, None]


def _heads(x: torch.Tensor, heads: int) -> torch.Tensor:
    """(B, L, heads·key) to (B, heads, L, key)."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def sinusoids(distances: torch.Tensor, width: int) -> torch.Tensor:
    """Sinusoidal encodings of distances, (…,) to (…, width), as in Transformer-XL."""
    frequency = torch.exp(torch.arange(0, width, 2, device=distances.device) * (-math.log(10_000.0) / width))
    angle = distances[..., None].float() * frequency
    return torch.cat([angle.sin(), angle.cos()], -1)


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

    def forward(self, x: torch.Tensor, mask: torch.Tensor, position: torch.Tensor | None = None) -> torch.Tensor:
        """(B, L, width), mask bool (B, 1, L, L), to (B, L, width). Distances are counted along the row."""
        length = x.shape[1]
        q, k, v = (_heads(part, self.heads) for part in self.qkv(x).chunk(3, -1))
        far_first = self._distance_keys(length, x.device).flip(1).to(q.dtype)
        # (q + v)·R for distances L - 1 … 0; shifting row i by L - 1 - i puts distance i - j in column j (relative shift).
        scores = (q + self.v.to(q.dtype)) @ far_first.transpose(-1, -2)
        scores = F.pad(scores, (1, 0)).flatten(2).unflatten(2, (length + 1, length))[:, :, 1:]
        bias = (scores * self.key_size**-0.5).masked_fill(~mask, -torch.inf).to(q.dtype)
        mixed = F.scaled_dot_product_attention(q + self.u.to(q.dtype), k, v, attn_mask=bias)
        return self.out(mixed.transpose(1, 2).flatten(2))

    def forward_cached(self, x: torch.Tensor, cache: KVCache, positions: torch.Tensor) -> torch.Tensor:
        """T new positions a slot, (slots, T, width), positions (slots, T) with -1 for padding."""
        q, k, v = (_heads(part, self.heads) for part in self.qkv(x).chunk(3, -1))
        keys, values, where = cache.extend(k, v, positions)
        by_distance = (q + self.v) @ self._distance_keys(cache.context, x.device).transpose(-1, -2)
        distance = (positions[:, :, None] - where[:, None, :]).clamp(0, cache.context - 1)
        bias = by_distance.gather(-1, distance[:, None].expand(-1, self.heads, -1, -1)) * self.key_size**-0.5
        bias = bias.masked_fill(~cache.visible(positions, where), -torch.inf)
        mixed = F.scaled_dot_product_attention(q + self.u, keys.to(q.dtype), values.to(q.dtype), attn_mask=bias.to(q.dtype))
        return self.out(mixed.transpose(1, 2).flatten(2))


class RotaryAttention(nn.Module):
    """Rotary attention with RMS-normalised queries and keys (QK-norm)."""

    def __init__(self, width: int, heads: int, key_size: int):
        super().__init__()
        self.heads, self.key_size = heads, key_size
        self.qkv = nn.Linear(width, 3 * heads * key_size, bias=False)
        self.out = nn.Linear(heads * key_size, width, bias=False)
        self.query_norm = nn.RMSNorm(key_size)
        self.key_norm = nn.RMSNorm(key_size)

    def _rotate(self, x: torch.Tensor, position: torch.Tensor) -> torch.Tensor:
        """Rotate pairs of (B, heads, L, key) by angles of the positions (B, L)."""
        half = self.key_size // 2
        frequency = torch.exp(torch.arange(half, device=x.device) * (-math.log(10_000.0) / half))
        angle = position[:, None, :, None].float() * frequency
        sin, cos = angle.sin().to(x.dtype), angle.cos().to(x.dtype)
        a, b = x.chunk(2, -1)
        return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)

    def _project(self, x: torch.Tensor, position: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        q, k, v = (_heads(part, self.heads) for part in self.qkv(x).chunk(3, -1))
        q, k = (
            self._rotate(self.query_norm(q.to(self.query_norm.weight.dtype)), position),
            self._rotate(self.key_norm(k.to(self.key_norm.weight.dtype)), position),
        )
        return q.to(v.dtype), k.to(v.dtype), v

    def forward(self, x: torch.Tensor, mask: torch.Tensor, position: torch.Tensor) -> torch.Tensor:
        """(B, L, width), mask bool (B, 1, L, L), position (B, L) inside the segment, to (B, L, width)."""
        q, k, v = self._project(x, position)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.out(mixed.transpose(1, 2).flatten(2))

    def forward_cached(self, x: torch.Tensor, cache: KVCache, positions: torch.Tensor) -> torch.Tensor:
        """T new positions a slot, (slots, T, width), positions (slots, T) with -1 for padding; keys are stored rotated."""
        q, k, v = self._project(x, positions)
        keys, values, where = cache.extend(k, v, positions)
        mixed = F.scaled_dot_product_attention(q, keys.to(q.dtype), values.to(q.dtype), attn_mask=cache.visible(positions, where))
        return self.out(mixed.transpose(1, 2).flatten(2))
