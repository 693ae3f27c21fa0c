"""Root-mean-square norm whose gradient is written out: PyTorch's, on a CPU, goes through a dozen passes over memory."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

EPSILON = 1e-6  # named, since PyTorch's default depends on the dtype of the input


class _RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        scale = torch.linalg.vector_norm(x, dim=-1, keepdim=True).square_().mul_(1 / x.shape[-1]).add_(EPSILON).rsqrt_()
        normed = x * scale
        ctx.save_for_backward(normed, scale, weight)
        return normed * weight

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        normed, scale, weight = ctx.saved_tensors
        product = gradient * normed
        to_weight = product.flatten(0, -2).sum(0)
        mean = (product @ weight).mul_(1 / weight.shape[0])
        to_x = torch.addcmul(gradient * weight, normed, mean[..., None], value=-1).mul_(scale)
        return to_x, to_weight


class RMSNorm(nn.RMSNorm):
    """x / √(mean(x²) + 1e-6) · weight over the last dimension, of `width` entries."""

    def __init__(self, width: int):
        super().__init__(width, eps=EPSILON)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(…, width) to (…, width), of the dtype of x."""
        by_hand = x.device.type == "cpu" and torch.is_grad_enabled() and x.dtype == self.weight.dtype
        if by_hand and not torch.compiler.is_compiling():  # a compiler fuses the passes itself, and does not trace this one
            return _RMSNorm.apply(x, self.weight)
        return F.rms_norm(x, self.normalized_shape, self.weight, self.eps)
