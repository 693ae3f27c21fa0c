"""What was done where it looked most alike: no training at all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from opengato.baselines.features import Features, Inputs
from opengato.baselines.pool import Pool
from opengato.baselines.settings import Settings
from opengato.baselines.targets import Targets
from opengato.console import notice

_BATCH = 8_192  # timesteps made into vectors at a time
_NEVER = -1e4  # the logit of a choice that no neighbour made


class Lookup(nn.Module):
    """The mean numbers and the most frequent choices of the nearest demonstrated observations, by squared distance of `Features.dense`.

    Two different values of a discrete entry, or words, are so far apart as two numbers by 1.4 standard deviations.

    Attributes:
        vectors: float32 (R, features.width), and their squared norms (R,). goals, choices: as in `Pool`.
        firsts: int64 (tasks + 1,), where each task's rows begin.
    """

    memory = 0
    vectors: torch.Tensor
    norms: torch.Tensor
    goals: torch.Tensor
    choices: torch.Tensor
    firsts: torch.Tensor

    def __init__(self, features: Features, targets: Targets, settings: Settings):
        super().__init__()
        self.features, self.settings, self.sizes = features, settings, targets.sizes
        for name in ("vectors", "norms", "goals", "choices", "firsts"):
            self.register_buffer(name, torch.zeros(0))

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """As of any module, but there are as many rows as there were."""
        for name, _ in list(self.named_buffers()):
            self.register_buffer(name, state_dict[name])
        return super().load_state_dict(state_dict, strict, assign)

    def learn(self, pool: Pool) -> None:
        """Keep the demonstrations."""
        most = max(self.settings.rows_mib * 2**20 // (4 * max(self.features.width, 1)), 1)
        rows = np.arange(len(pool))
        if len(rows) > most:
            rows = np.linspace(0, len(pool) - 1, most).astype(np.int64)
            notice(f"a lookup keeps {most:,} of {len(pool):,} timesteps, equally far apart: more do not fit into rows_mib")
        parts = [self.features.dense(pool.inputs(rows[at : at + _BATCH])) for at in range(0, len(rows), _BATCH)]
        self.vectors = torch.cat(parts)
        self.norms = self.vectors.square().sum(1)
        self.goals, self.choices = torch.from_numpy(pool.goals[rows]), torch.from_numpy(pool.choices[rows])
        order = pool.tasks[rows]
        self.firsts = torch.from_numpy(np.searchsorted(order, np.arange(pool.tasks.max() + 2)))

    def forward(self, inputs: Inputs, memory: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """B observations and states (B, 0) to outputs (B, targets.width), whose logits are those of the votes, and the states."""
        seen = self.features.dense(inputs)
        out = []
        for task in inputs.tasks.unique() if self.settings.own_task else [None]:
            ours = torch.arange(len(seen)) if task is None else (inputs.tasks == task).nonzero()[:, 0]
            rows = slice(None) if task is None else slice(int(self.firsts[task]), int(self.firsts[task + 1]))
            out.append((ours, self._vote(seen[ours], rows)))
        together = torch.empty(len(seen), out[0][1].shape[1])
        for ours, voted in out:
            together[ours] = voted
        return together, memory

    def _vote(self, seen: torch.Tensor, rows: slice) -> torch.Tensor:
        distances = self.norms[rows] - 2 * seen @ self.vectors[rows].T  # less the square of what is seen, the same for all
        nearest = distances.topk(min(self.settings.neighbours, distances.shape[1]), largest=False).indices
        parts = [self.goals[rows][nearest].mean(1)]
        choices = self.choices[rows][nearest]
        for entry, size in enumerate(self.sizes):
            votes = torch.nn.functional.one_hot(choices[:, :, entry], size).float().sum(1)
            parts.append(torch.where(votes > 0, votes.log(), _NEVER))
        return torch.cat(parts, 1)
