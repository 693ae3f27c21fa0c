"""Muon: steps along the momentum made orthogonal, for the matrices between hidden states (Jordan et al. 2024).

PyTorch's own multiplies in bfloat16 whatever it runs on, and one matrix at a time. Here matrices of the same shape go together, and in
float32: rounded to bfloat16 the steps lose what is small in them, and a maze that is learned in 250 steps with the one is not in 400 with
the other (docs/log.md). float32 also bears that the iteration runs on the small Gram matrix alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch.distributed.tensor import DTensor, distribute_tensor

# x ↦ a·x + b·x³ + c·x⁵, each the nearest to 1 that there is where the one before it left the singular values from 0.005 to 1 (as Polar
# Express has them, Amsel et al. 2025): they end between 0.5 and 1.5.
_ODD_POLYNOMIALS = ((8.298705, -24.430512, 18.090317), (3.915222, -2.921131, 0.559224), (3.174604, -2.380433, 0.497826))


def orthogonal(matrices: torch.Tensor) -> torch.Tensor:
    """The nearest orthogonal matrices, about, of matrices (N, rows, columns), float32 or wider: of UΣVᵀ, UVᵀ with singular values near 1.

    Iterates on X·Xᵀ (rows ≤ columns) and multiplies with X once at the end, half of the products where X is long; it squares the rounding
    error.
    """
    if matrices.shape[1] > matrices.shape[2]:
        return orthogonal(matrices.mT).mT
    x = matrices / torch.linalg.matrix_norm(matrices, keepdim=True).clamp(min=1e-30)
    gram = x @ x.mT
    square = gram @ gram
    # The fourth root of the norm of (X·Xᵀ)² is at least the largest singular value, and much nearer to it than the norm of X.
    fourth = torch.linalg.matrix_norm(square, keepdim=True).clamp(min=1e-30)
    gram, square, x = gram / fourth.sqrt(), square / fourth, x / fourth.sqrt().sqrt()
    product: torch.Tensor | None = None
    factor = gram
    for number, (a, b, c) in enumerate(_ODD_POLYNOMIALS):
        if number:
            gram = factor @ gram @ factor
            square = gram @ gram
        factor = b * gram + c * square
        factor.diagonal(dim1=1, dim2=2).add_(a)
        product = factor if product is None else factor @ product
    return product @ x


class Muon(torch.optim.Optimizer):
    """p ← (1 - rate · weight_decay) · p - rate · √max(1, rows / columns) · orthogonal(momentum), Nesterov's.

    Args:
        parameters: matrices (rows, columns), all of one device.
        lr: the largest singular value of a step of a square matrix.
    """

    def __init__(self, parameters: Iterable[Any], lr: float, weight_decay: float = 0.0, momentum: float = 0.95):
        super().__init__(parameters, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One step of every parameter that has a gradient."""
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[torch.nn.Parameter]] = {}
            for parameter in group["params"]:
                if parameter.grad is not None:
                    by_shape.setdefault(parameter.shape, []).append(parameter)
            for (rows, columns), same in by_shape.items():
                wanted = [self._momentum(parameter, group["momentum"]) for parameter in same]
                steps = orthogonal(torch.stack(wanted).to(torch.promote_types(wanted[0].dtype, torch.float32)))
                size = group["lr"] * math.sqrt(max(1.0, rows / columns))
                for parameter, step in zip(same, steps.unbind()):
                    parameter.mul_(1 - group["lr"] * group["weight_decay"])
                    parameter.sub_(_shared_out(step.to(parameter.dtype) * size, parameter))

    def _momentum(self, parameter: torch.nn.Parameter, momentum: float) -> torch.Tensor:
        """Nesterov's momentum with this gradient, whole where the parameter is shared out among ranks."""
        state, gradient = self.state[parameter], parameter.grad
        assert gradient is not None
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(gradient, memory_format=torch.preserve_format)
        mean = state["momentum_buffer"].lerp_(gradient, 1 - momentum)
        ahead = gradient.lerp(mean, momentum)
        return ahead.full_tensor() if isinstance(ahead, DTensor) else ahead


def _shared_out(step: torch.Tensor, parameter: torch.Tensor) -> torch.Tensor:
    """A step that every rank has, laid out as its parameter is."""
    if isinstance(parameter, DTensor):
        return distribute_tensor(step, parameter.device_mesh, parameter.placements)
    return step
