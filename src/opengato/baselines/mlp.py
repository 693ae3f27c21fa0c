"""A plain network from what is observed now to what is done now."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from torch import nn

from opengato.baselines.features import Features, Inputs
from opengato.baselines.pool import Pool
from opengato.baselines.settings import Settings
from opengato.baselines.targets import Targets


def trunk(inputs: int, settings: Settings) -> nn.Sequential:
    """Hidden layers: (B, inputs) to (B, width)."""
    widths = [inputs, *[settings.width] * settings.layers]
    return nn.Sequential(*(part for a, b in pairwise(widths) for part in (nn.Linear(a, b), nn.GELU())))


class Mlp(nn.Module):
    """It remembers nothing: `memory`, the width of its state, is 0."""

    memory = 0

    def __init__(self, features: Features, targets: Targets, settings: Settings):
        super().__init__()
        self.features, self.settings = features, settings
        self.trunk, self.head = trunk(features.width, settings), nn.Linear(settings.width, targets.width)

    def forward(self, inputs: Inputs, memory: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """B observations and states (B, 0) to outputs (B, targets.width) and the states after them."""
        return self.head(self.trunk(self.features.dense(inputs))), memory

    def loss(self, pool: Pool, rng: np.random.Generator) -> torch.Tensor:
        """Of random timesteps."""
        timesteps = rng.integers(len(pool), size=self.settings.batch)
        out, _ = self(pool.inputs(timesteps), torch.zeros(len(timesteps), 0))
        return pool.losses(out, timesteps).mean()
