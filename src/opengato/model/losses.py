"""Losses of the ids that positions predict."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F

# Rows of scores over a whole vocabulary that are in float32 at a time: on a CPU, more of them fall out of the cache.
CPU_ROWS, ROWS = 32, 4096


class _LinearCrossEntropy(torch.autograd.Function):
    """The scores are kept once, in the dtype they were computed in, and become their own gradient.

    Written with `F.cross_entropy`, float32 copies of them are kept and passed over besides.
    """

    @staticmethod
    def forward(ctx: Any, hidden: torch.Tensor, targets: torch.Tensor, *tables: torch.Tensor) -> torch.Tensor:
        dtype = torch.get_autocast_dtype(hidden.device.type) if torch.is_autocast_enabled(hidden.device.type) else hidden.dtype
        table = torch.cat([part.to(dtype) for part in tables])
        with torch.autocast(hidden.device.type, enabled=False):
            scores = hidden.to(dtype) @ table.T
        wide = torch.promote_types(dtype, torch.float32)
        ctx.rows = CPU_ROWS if hidden.device.type == "cpu" else ROWS
        total = (
            torch.cat([torch.logsumexp(rows.to(wide), -1) for rows in scores.split(ctx.rows)]) if len(scores) else scores.sum(1).to(wide)
        )
        ctx.save_for_backward(hidden, targets, table, total)
        ctx.scores, ctx.parts = scores, [(len(part), part.dtype) for part in tables]
        return total - scores.gather(1, targets[:, None]).squeeze(1).to(wide)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        hidden, targets, table, total = ctx.saved_tensors
        scores, ctx.scores = ctx.scores, None  # what follows overwrites them
        for rows, target, share, lse in zip(*(part.split(ctx.rows) for part in (scores, targets, gradient, total))):
            chance = torch.exp(rows.to(lse.dtype) - lse[:, None])
            chance.scatter_add_(1, target[:, None], torch.full_like(target, -1, dtype=chance.dtype)[:, None])
            rows.copy_(chance.mul_(share[:, None]))
        to_hidden = (scores @ table).to(hidden.dtype)
        to_table = scores.T @ hidden.to(scores.dtype)
        parts = to_table.split([rows for rows, _ in ctx.parts])
        return to_hidden, None, *(part.to(kind) for part, (_, kind) in zip(parts, ctx.parts))


def linear_cross_entropy(hidden: torch.Tensor, targets: torch.Tensor, *tables: torch.Tensor) -> torch.Tensor:
    """Cross-entropy (N,), at least float32, of ids (N,) scored by hidden states (N, width) · rows of the tables (V, width), end to end."""
    return _LinearCrossEntropy.apply(hidden, targets, *tables)


def cross_entropy(scores: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """(N, V) scores and (N,) ids to (N,)."""
    return F.cross_entropy(scores, targets, reduction="none")


def soft_cross_entropy(scores: torch.Tensor, targets: torch.Tensor, deviation: float = 4.0) -> torch.Tensor:
    """Kullback-Leibler divergence (N,) of the scores (N, 1024) from a normal of `deviation` bins around each target, cut at the ends.

    Bins are ordered: one beside the target is nearly right, and few demonstrations do not show every bin (Imani and White 2018).
    """
    reach = math.ceil(3 * deviation)
    near = targets[:, None] + torch.arange(-reach, reach + 1, device=targets.device)
    weight = torch.exp(-0.5 * torch.square((near - targets[:, None]) / deviation)) * ((near >= 0) & (near < scores.shape[-1]))
    weight = weight / weight.sum(-1, keepdim=True)
    entropy = -torch.special.xlogy(weight, weight).sum(-1)
    expected = (weight * scores.gather(-1, near.clamp(0, scores.shape[-1] - 1))).sum(-1)
    return torch.logsumexp(scores, -1) - expected - entropy
