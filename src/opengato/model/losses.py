"""Losses of the ids that positions predict."""

from __future__ import annotations

import math
from typing import Any

import torch

# Scores that are in float32 at a time: on a CPU, more of them fall out of the cache.
CPU_SCORES, SCORES = 2**20, 2**27


class _LinearCrossEntropy(torch.autograd.Function):
    """The scores are kept once, in the dtype they were computed in, and become their own gradient.

    Written with `F.cross_entropy`, float32 copies of them are kept and passed over besides.
    """

    @staticmethod
    def forward(
        ctx: Any, hidden: torch.Tensor, near: torch.Tensor, weight: torch.Tensor, bonus: torch.Tensor | None, *tables: torch.Tensor
    ) -> torch.Tensor:
        dtype = torch.get_autocast_dtype(hidden.device.type) if torch.is_autocast_enabled(hidden.device.type) else hidden.dtype
        table = torch.cat([part.to(dtype) for part in tables])
        with torch.autocast(hidden.device.type, enabled=False):
            scores = hidden.to(dtype) @ table.T if bonus is None else torch.addmm(bonus.to(dtype), hidden.to(dtype), table.T)
        wide = torch.promote_types(dtype, torch.float32)
        ctx.rows = max(1, (CPU_SCORES if hidden.device.type == "cpu" else SCORES) // len(table))
        total = (
            torch.cat([torch.logsumexp(rows.to(wide), -1) for rows in scores.split(ctx.rows)]) if len(scores) else scores.sum(1).to(wide)
        )
        ctx.save_for_backward(hidden, near, weight, table, total)
        ctx.scores, ctx.parts = scores, [(len(part), part.dtype) for part in tables]
        return total - (weight * scores.gather(1, near)).sum(-1).to(wide)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        hidden, near, weight, table, total = ctx.saved_tensors
        scores, ctx.scores = ctx.scores, None  # what follows overwrites them
        for rows, at, w, share, lse in zip(*(part.split(ctx.rows) for part in (scores, near, weight, gradient, total))):
            chance = rows.to(lse.dtype).sub_(lse[:, None]).exp_()
            chance.scatter_add_(1, at, -w.to(chance))
            rows.copy_(chance.mul_(share[:, None]))
        to_hidden = (scores @ table).to(hidden.dtype)
        to_table = scores.T @ hidden.to(scores.dtype)
        parts = to_table.split([rows for rows, _ in ctx.parts])
        return to_hidden, None, None, None, *(part.to(kind) for part, (_, kind) in zip(parts, ctx.parts))


def linear_cross_entropy(hidden: torch.Tensor, targets: torch.Tensor, *tables: torch.Tensor) -> torch.Tensor:
    """Cross-entropy (N,), at least float32, of ids (N,) scored by hidden states (N, width) · rows of the tables (V, width), end to end."""
    near = targets[:, None]
    return _LinearCrossEntropy.apply(hidden, near, torch.ones_like(near, dtype=torch.float32), None, *tables)


def sampled_cross_entropy(
    hidden: torch.Tensor, targets: torch.Tensor, always: torch.Tensor, rest: torch.Tensor, stride: int
) -> torch.Tensor:
    """`linear_cross_entropy` of ids that are rows of `always`, then of `rest`, without a score for each row of `rest`.

    Scored are all rows of `always`, those that anyone's target is, and of the others one in `stride`, for which its exponential counts
    that many times: the sum over all ids is right on average (Bengio and Senécal 2008). Which ones, the targets say, as good as at random,
    so that a step can be repeated. Of a small model's words it saves nine tenths of the arithmetic.
    """
    asked = torch.unique(targets[targets >= len(always)] - len(always))
    others = torch.arange(int(targets.sum()) % stride, len(rest), stride, device=targets.device)
    others = others[~torch.isin(others, asked)]
    bonus = hidden.new_zeros(len(always) + len(asked) + len(others), dtype=torch.float32)
    bonus[len(always) + len(asked) :] = math.log(stride)
    near = torch.where(targets < len(always), targets, len(always) + torch.searchsorted(asked, targets - len(always)))[:, None]
    table = rest.index_select(0, torch.cat([asked, others]))
    return _LinearCrossEntropy.apply(hidden, near, torch.ones_like(near, dtype=torch.float32), bonus, always, table)


def soft_cross_entropy(hidden: torch.Tensor, targets: torch.Tensor, table: torch.Tensor, deviation: float = 1.0) -> torch.Tensor:
    """Kullback-Leibler divergence (N,) of scores, as in `linear_cross_entropy`, from a normal of `deviation` rows around each target.

    `targets`, (N,), may lie between two rows. The normal is cut at three deviations and at the table's ends. Rows are actions in order:
    one beside the target is nearly right, and few demonstrations do not show every one (Imani and White 2018).
    """
    reach = math.ceil(3 * deviation)
    near = targets.round().long()[:, None] + torch.arange(-reach, reach + 1, device=targets.device)
    weight = torch.exp(-0.5 * torch.square((near - targets[:, None]) / deviation)) * ((near >= 0) & (near < len(table)))
    weight = weight / weight.sum(-1, keepdim=True)
    entropy = -torch.special.xlogy(weight, weight).sum(-1)
    return _LinearCrossEntropy.apply(hidden, near.clamp(0, len(table) - 1), weight, None, table) - entropy
