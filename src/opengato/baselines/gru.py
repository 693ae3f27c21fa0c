"""The mlp's first layers with a memory after them, for tasks in which something must be kept in mind."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from opengato.baselines.features import Features, Inputs
from opengato.baselines.mlp import trunk
from opengato.baselines.pool import Pool
from opengato.baselines.settings import Settings
from opengato.baselines.targets import Targets


class Gru(nn.Module):
    """Its memory begins empty with the episode and is never cut, though it is trained on `sequence` timesteps at a time."""

    def __init__(self, features: Features, targets: Targets, settings: Settings):
        super().__init__()
        self.features, self.settings, self.memory = features, settings, settings.memory
        self.trunk = trunk(features.width, settings)
        self.gru = nn.GRU(settings.width, settings.memory, batch_first=True)
        self.head = nn.Linear(settings.memory, targets.width)

    def forward(self, inputs: Inputs, memory: torch.Tensor, length: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
        """B sequences, end to end, of `length` observations each, and states (B, memory) to outputs (B · length, targets.width)
        and the states after them."""
        hidden, last = self.gru(self.trunk(self.features.dense(inputs)).unflatten(0, (-1, length)), memory[None].contiguous())
        return self.head(hidden.flatten(0, 1)), last[0]

    def loss(self, pool: Pool, rng: np.random.Generator) -> torch.Tensor:
        """Of windows of episodes, those that would begin before the episode beginning with it."""
        length = self.settings.sequence
        count = max(self.settings.batch // length, 1)
        drawn = rng.integers(len(pool), size=count)
        episode = np.searchsorted(pool.episodes, drawn, side="right") - 1
        first = np.maximum(pool.episodes[episode], drawn - rng.integers(length, size=count))
        window = first[:, None] + np.arange(length)
        inside = (window < pool.episodes[episode + 1][:, None]).ravel()
        timesteps = np.minimum(window, pool.episodes[episode + 1][:, None] - 1).ravel()
        out, _ = self(pool.inputs(timesteps), torch.zeros(count, self.memory), length)
        return pool.losses(out, timesteps)[torch.from_numpy(inside)].mean()
