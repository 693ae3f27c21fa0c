"""Weights laid out for acting: packed for few rows, and of fewer bits, since one action reads every weight once."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import nn

from opengato.console import notice
from opengato.errors import unknown
from opengato.model.bfloat16 import multiplies_bfloat16
from opengato.model.embedding import SetEmbedding, TokenTable
from opengato.model.gato import Gato
from opengato.model.pytorch_private import can_pack, int8_linear, int8_linear_of_many, pack, packed_linear
from opengato.model.rounding import in_bytes

Precision = Literal["float32", "bfloat16", "int8"]

# Up to so many rows PyTorch's kernel for int8 weights is the faster one; measured on AVX-512 at widths 192 to 2,048.
_FEW_ROWS = 8
_KERNEL_MULTIPLE = 32  # of both sides of a matrix; for others PyTorch's kernel reads beyond its end


class PackedLinear(nn.Module):
    """A linear layer whose weight, float32 or bfloat16, lies as oneDNN reads it; gives that dtype.

    Measured on two cores of AMD's Zen 4 against the default product of float32, which is MKL's: 768 to 3,072 features take 0.27 of the time
    for one row, 0.20 for 4, 0.35 for 16, 0.48 for 41. And a row's result is the same whatever rows stand beside it (from two rows on).
    """

    weight: torch.Tensor
    bias: torch.Tensor | None

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None = None):
        super().__init__()
        self.register_buffer("weight", pack(weight.detach().contiguous()), persistent=False)
        self.register_buffer("bias", None if bias is None else bias.detach().to(weight.dtype), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return packed_linear(x.to(self.weight.dtype), self.weight, self.bias)


class PackedRows:
    """`Gato.score_rows` with packed products: every range of rows that is asked for is packed once."""

    def __init__(self, table: TokenTable):
        self.table = table
        self.packed: dict[tuple[int, int, int], PackedLinear] = {}

    def __call__(self, state: torch.Tensor, start: int, stop: int, spacing: int = 1) -> torch.Tensor:
        key = start, stop, spacing
        if key not in self.packed:
            self.packed[key] = PackedLinear(torch.cat(self.table.rows(start, stop))[::spacing])
        return self.packed[key](state)


class Int8Linear(nn.Module):
    """A linear layer whose weight is int8 with a scale a row: weight[o] = scale[o] · round(weight[o] / scale[o]).

    Takes bfloat16 or float32, (…, in), multiplies in bfloat16 and gives bfloat16 (…, out).
    """

    weight: torch.Tensor
    scale: torch.Tensor

    def __init__(self, linear: nn.Linear):
        super().__init__()
        weight, scale = in_bytes(linear.weight.detach().float())
        self.register_buffer("weight", weight)
        self.register_buffer("scale", scale.to(torch.bfloat16))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        flat = x.to(torch.bfloat16).reshape(-1, x.shape[-1])
        product = int8_linear if len(flat) <= _FEW_ROWS else int8_linear_of_many
        return product(flat, self.weight, self.scale).unflatten(0, x.shape[:-1])


def convert(model: Gato, precision: Precision, compiled: bool = False) -> Gato:
    """The model, changed in place, with weights of this precision laid out for acting: it can no longer be trained or saved.

    bfloat16: all matrices and tables; norms and the residual stream stay in float32. int8: on a CPU those of the blocks
    in a byte each, the rest in bfloat16. On a CPU whatever is float32 or bfloat16 is packed for oneDNN; for a model that is to be compiled
    it is not, since code with packed weights in it cannot be kept on the disk, and is hardly faster.
    """
    if precision not in get_args(Precision):
        raise unknown("precision", precision, get_args(Precision))
    table = model.table
    if precision != "float32" and not multiplies_bfloat16(table.device):
        notice(f"precision {precision}: this processor has no products of bfloat16, so that float32 is faster on it")
    if precision == "int8" and table.device.type == "cpu":
        for layer in (part for block in model.blocks for part in block.children()):
            for name, linear in list(layer.named_children()):
                # What `relative` projects is kept between steps: nothing to gain.
                if isinstance(linear, nn.Linear) and name != "relative" and not any(n % _KERNEL_MULTIPLE for n in linear.weight.shape):
                    setattr(layer, name, Int8Linear(linear))
    if precision != "float32":
        norms = [module for module in model.modules() if isinstance(module, nn.LayerNorm | nn.RMSNorm | nn.GroupNorm)]
        kept = {id(parameter) for module in norms for parameter in module.parameters()}
        for parameter in model.parameters():
            if id(parameter) not in kept:
                parameter.data = parameter.data.to(torch.bfloat16)
    if isinstance(model.embedding, SetEmbedding):
        model.embedding.remember_members()
    if compiled:
        model.compile_acting()
    elif can_pack(table):
        for module in list(model.modules()):
            for name, linear in list(module.named_children()):
                if isinstance(linear, nn.Linear) and name != "relative":
                    setattr(module, name, PackedLinear(linear.weight, linear.bias))
        model.score_rows = PackedRows(model.embedding.tokens)  # type: ignore[method-assign]
    return model
