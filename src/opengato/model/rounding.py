"""Matrices in bytes: what is given away, and what acts with fewer bits."""

from __future__ import annotations

import torch


def in_bytes(matrix: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """A matrix (R, C) as int8 (R, C) and a float32 scale (R,) of each row, whose largest entry becomes ±127."""
    scale = matrix.float().abs().amax(1).clamp(min=1e-12) / 127
    return (matrix / scale[:, None]).round().to(torch.int8), scale
