"""Prompts: how much of a demonstration an agent reads before it acts."""

from __future__ import annotations

import numpy as np

from opengato.model.config import ModelConfig
from opengato.tokens.encode import Encoded
from opengato.tokens.vocabulary import IMAGE


def crop_prompt(encoded: Encoded | None, config: ModelConfig) -> Encoded | None:
    """The first timesteps of a demonstration that fill half of the context, as in training; None where not even one fits."""
    if encoded is None or len(encoded) == 0:
        return None
    _, starts = config.fold.positions(encoded.kinds, encoded.offsets)
    count = int(np.searchsorted(starts, config.context // 2, side="right")) - 1
    return first_timesteps(encoded, count) if count else None


def first_timesteps(encoded: Encoded, count: int) -> Encoded:
    """The first `count` timesteps."""
    end = int(encoded.offsets[min(count, len(encoded))])
    patches = int((encoded.kinds[:end] == IMAGE).sum())
    return Encoded(
        encoded.tokens[:end],
        encoded.kinds[:end],
        encoded.local[:end],
        encoded.offsets[: count + 1],
        encoded.patches[:patches],
        encoded.boxes[:patches],
    )


def last_timesteps(encoded: Encoded, count: int) -> Encoded:
    """The last `count` timesteps."""
    first = max(len(encoded) - count, 0)
    start = int(encoded.offsets[first])
    patches = int((encoded.kinds[:start] == IMAGE).sum())
    return Encoded(
        encoded.tokens[start:],
        encoded.kinds[start:],
        encoded.local[start:],
        encoded.offsets[first:] - start,
        encoded.patches[patches:],
        encoded.boxes[patches:],
    )
