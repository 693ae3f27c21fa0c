"""From scores to ids."""

from __future__ import annotations

import torch


def sample(logits: torch.Tensor, temperature: float, top_p: float, uniform: torch.Tensor | None) -> torch.Tensor:
    """One index a row of (B, V) scores.

    Args:
        temperature: 0 takes the largest score, 1 samples from the model's own distribution.
        top_p: keep the smallest set of ids whose probability reaches this.
        uniform: (B,) in [0, 1), each row's own chance, so that a row's draw does not depend on the rows beside it; None for
            temperature 0.
    """
    if temperature <= 0:
        return logits.argmax(-1)
    assert uniform is not None
    probabilities = torch.softmax(logits.double() / temperature, -1)
    ordered, order = torch.sort(probabilities, dim=-1, descending=True, stable=True)
    if top_p < 1:
        ordered = ordered.masked_fill(ordered.cumsum(-1) - ordered > top_p, 0.0)
    reached = ordered.cumsum(-1)
    drawn = torch.searchsorted(reached, uniform.to(reached)[:, None] * reached[:, -1:], right=True)
    return order.gather(-1, drawn.clamp(max=logits.shape[-1] - 1)).squeeze(-1)
