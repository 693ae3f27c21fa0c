"""Weights of fewer bits for acting: one action reads every weight once, so its time is that of the bytes."""

from __future__ import annotations

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import nn

from opengato.errors import unknown
from opengato.model.gato import Gato

Precision = Literal["float32", "bfloat16", "int8"]

# Up to so many rows PyTorch's kernel for int8 weights is the faster one; measured on AVX-512 at widths 192 to 768.
_FEW_ROWS = 8
_KERNEL_MULTIPLE = 32  # of both sides of a matrix; for others PyTorch's kernel reads beyond its end


class Int8Linear(nn.Module):
    """A linear layer whose weight is int8 with a scale a row: weight[o] = scale[o] · round(weight[o] / scale[o]).

    Takes bfloat16 or float32, (…, in), multiplies in bfloat16 and gives bfloat16 (…, out).
    """

    weight: torch.Tensor
    scale: torch.Tensor

    def __init__(self, linear: nn.Linear):
        super().__init__()
        weight = linear.weight.detach().float()
        scale = weight.abs().amax(1).clamp(min=1e-12) / 127
        self.register_buffer("weight", (weight / scale[:, None]).round().to(torch.int8))
        self.register_buffer("scale", scale.to(torch.bfloat16))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        flat = x.to(torch.bfloat16).reshape(-1, x.shape[-1])
        if len(flat) <= _FEW_ROWS:
            out = torch._weight_int8pack_mm(flat, self.weight, self.scale)
        else:
            out = F.linear(flat, self.weight.to(torch.bfloat16)) * self.scale
        return out.unflatten(0, x.shape[:-1])


def convert(model: Gato, precision: Precision) -> Gato:
    """The model, changed in place, with weights of this precision; it can act, but no longer be trained or saved.

    bfloat16: all matrices and tables; norms and the residual stream stay in float32. int8: on a CPU those of the blocks
    and the action head in a byte each.
    """
    if precision not in get_args(Precision):
        raise unknown("precision", precision, get_args(Precision))
    if precision == "float32":
        return model
    if precision == "int8" and model.embedding.tokens.weight.device.type == "cpu":
        for layer in (*(part for block in model.blocks for part in (block.attention, block.mlp)), model.actions):
            for name, linear in list(layer.named_children()) if isinstance(layer, nn.Module) else ():
                # What `relative` projects is kept between steps: nothing to gain.
                if isinstance(linear, nn.Linear) and name != "relative" and not any(n % _KERNEL_MULTIPLE for n in linear.weight.shape):
                    setattr(layer, name, Int8Linear(linear))
    norms = [module for module in model.modules() if isinstance(module, nn.LayerNorm | nn.RMSNorm | nn.GroupNorm)]
    kept = {id(parameter) for module in norms for parameter in module.parameters()}
    for parameter in model.parameters():
        if id(parameter) not in kept:
            parameter.data = parameter.data.to(torch.bfloat16)
    return model
