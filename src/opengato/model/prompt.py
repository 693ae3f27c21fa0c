"""Prompts: how much of a demonstration an agent reads before it acts."""

from __future__ import annotations

import numpy as np

from opengato.model.config import ModelConfig
from opengato.tokens.encode import Encoded


def crop_prompt(encoded: Encoded | None, config: ModelConfig) -> Encoded | None:
    """What of a demonstration is read, in at most half of the context, as in training; None where not even one timestep fits.

    Its first timesteps, as the paper has it, or for a model that reads moments so many of them, equally far apart, its last among them.
    """
    if encoded is None or len(encoded) == 0:
        return None
    _, starts = config.fold.positions(encoded.kinds, encoded.offsets)
    if not config.moments:
        count = int(np.searchsorted(starts, config.context // 2, side="right")) - 1
        return encoded.take(np.arange(count)) if count else None
    for count in range(min(config.moments, len(encoded)), 0, -1):
        moments = np.unique(np.linspace(0 if count > 1 else len(encoded) - 1, len(encoded) - 1, count).round().astype(np.int64))
        if np.diff(starts)[moments].sum() <= config.context // 2:
            return encoded.take(moments)
    return None
