"""The mlp with eyes: a small convolutional network for every image, and words where the action is a text."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from opengato.baselines.features import Features, Inputs
from opengato.baselines.mlp import trunk
from opengato.baselines.pool import Pool
from opengato.baselines.settings import Settings
from opengato.baselines.speaker import Speaker
from opengato.baselines.targets import Targets

_LARGE = 36  # pixels; what is smaller does not fit through DQN's strides


def eye(height: int, width: int, channels: int) -> nn.Sequential:
    """Images float (B, channels, H, W) to features (B, n): the three layers of DQN (Mnih et al. 2015), for small images gentler ones."""
    shapes = ((32, 8, 4), (64, 4, 2), (64, 3, 1)) if min(height, width) >= _LARGE else ((32, 3, 1), (64, 3, 2), (64, 3, 2))
    padding = 0 if min(height, width) >= _LARGE else 1
    layers: list[nn.Module] = []
    for out, kernel, stride in shapes:
        layers += [nn.Conv2d(channels, out, kernel, stride, padding), nn.ReLU()]
        channels = out
    return nn.Sequential(*layers, nn.Flatten())


class Cnn(nn.Module):
    """It remembers nothing: `memory`, the width of its state, is 0. Where the action is a text, `speaker` says it."""

    memory = 0

    def __init__(self, features: Features, targets: Targets, settings: Settings):
        super().__init__()
        self.features, self.settings = features, settings
        shapes = [field.space.shape or () for field in features.images]
        self.eyes = nn.ModuleList(eye(*shape) for shape in shapes)
        sizes = [part(torch.zeros(1, shape[2], *shape[:2])).shape[1] for part, shape in zip(self.eyes, shapes)]
        self.trunk = trunk(features.width + sum(sizes), settings)
        self.head = nn.Identity() if targets.speaks else nn.Linear(settings.width, targets.width)
        self.speaker = Speaker(settings.width, len(targets.pieces), settings.memory) if targets.speaks else None

    def forward(self, inputs: Inputs, memory: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """B observations and states (B, 0) to outputs (B, targets.width), or what the speaker speaks of, (B, width), and the states."""
        looked = [part(frames.permute(0, 3, 1, 2).float() / 255 - 0.5) for part, frames in zip(self.eyes, inputs.frames)]
        return self.head(self.trunk(torch.cat([self.features.dense(inputs), *looked], 1))), memory

    def loss(self, pool: Pool, rng: np.random.Generator) -> torch.Tensor:
        """Of random timesteps; of texts, nats a token."""
        timesteps = rng.integers(len(pool), size=self.settings.image_batch if self.features.images else self.settings.batch)
        out, _ = self(pool.inputs(timesteps), torch.zeros(len(timesteps), 0))
        if self.speaker is None:
            return pool.losses(out, timesteps).mean()
        words = torch.from_numpy(pool.words[timesteps])
        return self.speaker(out, words).sum() / (words >= 0).sum()
