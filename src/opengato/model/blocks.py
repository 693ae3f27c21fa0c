"""The transformer block: pre-norm attention and GEGLU, each a residual branch with stochastic depth."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.attention.flex_attention import BlockMask

from opengato.errors import OpenGatoError
from opengato.model.dropout import Dropout
from opengato.model.memory import Step


class GEGLU(nn.Module):
    """One input projection of the stated feed-forward size; its first half is gated by the GELU of its second.

    No biases: 1.5·hidden·width parameters, which with hidden = 4·width and the five square matrices of RelativeAttention make the
    11·width² a block that the paper's totals call for.
    """

    def __init__(self, width: int, hidden: int):
        super().__init__()
        self.into = nn.Linear(width, hidden, bias=False)
        self.out = nn.Linear(hidden // 2, width, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        value, gate = self.into(x).chunk(2, -1)
        return self.out(value * F.gelu(gate, approximate="tanh"))


class Block(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)).

    Args:
        stochastic_depth: rate at which a branch is dropped for a whole sequence in training (paper, appendix C; Huang et al. 2016).
        dropout: on both branches' outputs.

    Raises:
        OpenGatoError: stochastic_depth is not in [0, 1).
    """

    attention: Any  # RelativeAttention or RotaryAttention: forward and forward_cached are called

    def __init__(
        self,
        attention: nn.Module,
        mlp: nn.Module,
        norm: Callable[[int], nn.Module],
        width: int,
        stochastic_depth: float = 0.0,
        dropout: float = 0.0,
    ):
        super().__init__()
        if not 0 <= stochastic_depth < 1:
            raise OpenGatoError(f"stochastic_depth {stochastic_depth} is no rate of dropped branches: use a value in [0, 1)")
        self.attention, self.mlp = attention, mlp
        self.attention_norm, self.mlp_norm = norm(width), norm(width)
        self.stochastic_depth, self.dropout = stochastic_depth, Dropout(dropout)

    def _branch(self, y: torch.Tensor, chance: torch.Tensor | None) -> torch.Tensor:
        y = self.dropout(y)
        if self.training and self.stochastic_depth > 0:
            if chance is None:
                chance = torch.rand(y.shape[0], device=y.device)
            kept = chance[:, None, None] >= self.stochastic_depth
            y = y * (kept / (1 - self.stochastic_depth))  # so that the expectation is the branch, and evaluation needs no factor
        return y

    def forward(
        self,
        x: torch.Tensor,
        mask: torch.Tensor | BlockMask,
        position: torch.Tensor,
        chance: torch.Tensor | None = None,
        apart: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """(B, L, width) to (B, L, width); `chance` (B, 2), uniform in [0, 1), decides which branches are dropped.

        `apart`: see `RotaryAttention.forward`.
        """
        attention, mlp = (None, None) if chance is None else chance.unbind(-1)
        seen = self.attention_norm(x)
        x = x + self._branch(
            self.attention(seen, mask, position) if apart is None else self.attention(seen, mask, position, apart), attention
        )
        return x + self._branch(self.mlp(self.mlp_norm(x)), mlp)

    def forward_cached(self, x: torch.Tensor, step: Step, block: int) -> torch.Tensor:
        """The same for the new positions of a step, as the block of that number."""
        x = x + self.attention.forward_cached(self.attention_norm(x), step, block)
        return x + self.mlp(self.mlp_norm(x))
