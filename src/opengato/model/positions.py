"""Positions and distances, for relative and for rotary attention."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F


def sin_cos(positions: torch.Tensor, pairs: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Sine and cosine of positions times 10000^(-n / pairs), (…,) to two of (…, pairs).

    In float64 where the device has it: in float32 an angle of position 100,000, which a long episode reaches, is off by 0.004.
    """
    dtype = torch.float32 if positions.device.type == "mps" else torch.float64
    frequency = torch.exp(torch.arange(pairs, device=positions.device, dtype=dtype) * (-math.log(10_000.0) / pairs))
    angle = positions[..., None].to(dtype) * frequency
    return angle.sin(), angle.cos()


def sinusoids(distances: torch.Tensor, width: int) -> torch.Tensor:
    """Sinusoidal encodings of distances, (…,) to (…, width): the sines, then the cosines, as in Transformer-XL."""
    return torch.cat(sin_cos(distances, width // 2), -1)


def rotate(x: torch.Tensor, sin: torch.Tensor, cos: torch.Tensor) -> torch.Tensor:
    """Turn entry n of the first half with entry n of the second by the n-th angle: (B, heads, L, key) and two of (B, 1, L, key / 2)."""
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)


def relative_shift(scores: torch.Tensor) -> torch.Tensor:
    """(…, T, S) by distance S - 1 … 0 to (…, T, S) by key, for the last T of S positions: row i moves left by T - 1 - i.

    What lies above the diagonal is rubbish, to be masked.
    """
    return shift_padded(F.pad(scores, (1, 0)), 1)


def shift_padded(scores: torch.Tensor, padding: int) -> torch.Tensor:
    """`relative_shift` of scores (…, T, padding + S), a view; the columns of padding, at least one, stand first.

    Transformer-XL's trick (Dai et al. 2019, appendix B): rows that are read one entry shorter than they are move left by one each.
    """
    rows, columns = scores.shape[-2:]
    return scores.flatten(-2)[..., rows + padding - 1 :].unfold(-1, columns - padding, columns - 1)
