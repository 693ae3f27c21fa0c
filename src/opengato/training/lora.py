"""Low-rank adaptation (Hu et al. 2021): the blocks' matrices stay as they are, and learn a product of two thin ones beside them."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.utils import parametrize


class LowRank(nn.Module):
    """weight + up @ down · (alpha / rank), both of `rank`; `up` starts at zero, so that nothing changes at first."""

    def __init__(self, weight: torch.Tensor, rank: int, alpha: float):
        super().__init__()
        self.down = nn.Parameter(torch.randn(rank, weight.shape[1], device=weight.device) * weight.shape[1] ** -0.5)
        self.up = nn.Parameter(torch.zeros(weight.shape[0], rank, device=weight.device))
        self.rank, self.alpha, self.scale = rank, alpha, alpha / rank

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return weight + self.scale * (self.up @ self.down)


def add_adapters(model: nn.Module, rank: int, alpha: float | None = None) -> int:
    """Freeze the model and give every matrix of its blocks an adapter; returns how many parameters are left to train."""
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    for module in model.get_submodule("blocks").modules():
        if isinstance(module, nn.Linear) and not parametrize.is_parametrized(module):
            parametrize.register_parametrization(module, "weight", LowRank(module.weight, rank, alpha or 2.0 * rank))
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def adapter_of(model: nn.Module) -> tuple[int, float] | None:
    """Rank and alpha of a model's adapters; None where it has none."""
    return next(((m.rank, m.alpha) for m in model.modules() if isinstance(m, LowRank)), None)


def merge_adapters(model: nn.Module) -> None:
    """Make the adapters part of the matrices: the model is plain again."""
    for module in list(model.modules()):
        if parametrize.is_parametrized(module):
            parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)
