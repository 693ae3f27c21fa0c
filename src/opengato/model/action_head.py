"""The folded family's way from a hidden state to the numbers of a control action."""

from __future__ import annotations

from functools import cache

import torch
from torch import nn

from opengato.model.norm import RMSNorm
from opengato.tokens.vocabulary import ACTION_NUMBERS, BINS

# Neighbouring bins are nearly the same action: scores are computed for every 11th (1,023 = 93 · 11) and drawn through them in between.
SPACING = 11
KNOTS = (BINS - 1) // SPACING + 1


@cache
@torch.inference_mode(False)  # kept for training, whoever asks first
def between_knots(device: torch.device) -> torch.Tensor:
    """Weights (KNOTS, BINS), float32, that turn scores of every 11th bin into scores of all.

    Catmull and Rom's cubic, which at a knot is its score and follows a parabola exactly, as the logarithm of a normal is one: the most
    likely bin may lie between two knots. At both ends the parabola through the last three knots is gone on with.
    """
    at = torch.arange(BINS, dtype=torch.float64) / SPACING
    first = at.floor().clamp(max=KNOTS - 2).long()
    t = at - first
    cubic = torch.stack([-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, t**3 - t**2]) / 2
    # A knot before the first and one after the last, as combinations of the others.
    padded = torch.zeros(KNOTS + 2, KNOTS, dtype=torch.float64)
    padded[1:-1] = torch.eye(KNOTS)
    padded[0, :3] = padded[-1, -3:].copy_(torch.tensor([1.0, -3.0, 3.0])).flip(0)
    weights = sum(cubic[n][:, None] * padded[first + n] for n in range(4))
    assert isinstance(weights, torch.Tensor)
    return weights.T.float().contiguous().to(device)


class ActionHead(nn.Module):
    """All numbers of a control action from one hidden state, which is multiplied entry by entry with what the number's index is.

    As places are bound to what is seen, by a product. (Added, and through a GELU, each answer took longer to learn and to compute:
    docs/ablations.md.) The numbers are independent given the state, so an agent acts in one forward pass and training needs one position a
    timestep.
    """

    def __init__(self, width: int):
        super().__init__()
        self.index = nn.Embedding(ACTION_NUMBERS, width)
        self.norm = RMSNorm(width)
        nn.init.normal_(self.index.weight)

    def forward(self, hidden: torch.Tensor, positions: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
        """Hidden states (M, width), int64 positions (N,) among them and action indices (N,), to (N, width)."""
        return self.norm((hidden.index_select(0, positions) * self.index(index)).to(self.norm.weight.dtype))
