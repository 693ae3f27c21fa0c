"""Losses, added up over batches and ranks, as a whole and by domain."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from opengato.model.batch import Batch
from opengato.training.parallel import Ranks


class Tally:
    """What was predicted how badly, and of how much.

    The loss as a whole is the mean over predicting positions (`Batch.shares`), which is trained; those of domains are means over targets.

    Args:
        domains: their names, in the order of `Batch.target_domains`.
    """

    def __init__(self, domains: Sequence[str]):
        self.domains = list(domains)
        # Losses times shares and shares; timesteps and positions; then of every domain its losses and targets.
        self._numbers = torch.zeros(4 + 2 * len(self.domains), dtype=torch.float64)

    def add(self, losses: torch.Tensor, batch: Batch) -> None:
        """A batch, and the losses, float (N,), of its targets."""
        losses, shares, count = losses.detach().double().cpu(), batch.shares().double(), len(self.domains)
        whole = [(losses * shares).sum(), shares.sum(), torch.tensor(batch.timesteps), (batch.segments >= 0).sum()]
        self._numbers[:4] += torch.stack([number.double().cpu() for number in whole])
        self._numbers[4 : 4 + count] += torch.bincount(batch.target_domains.cpu(), losses, minlength=count)
        self._numbers[4 + count :] += torch.bincount(batch.target_domains.cpu(), minlength=count)

    def include(self, other: Tally) -> None:
        """What another one of the same domains has."""
        self._numbers += other._numbers

    def over(self, ranks: Ranks) -> Tally:
        """Of all ranks together, in one exchange."""
        found = Tally(self.domains)
        found._numbers = ranks.sum(self._numbers)
        return found

    @property
    def loss(self) -> float:
        return float(self._numbers[0] / self._numbers[1])

    @property
    def timesteps(self) -> int:
        return int(self._numbers[2])

    @property
    def positions(self) -> int:
        """Those that are not padding."""
        return int(self._numbers[3])

    def by_domain(self) -> dict[str, float]:
        """Domain -> mean loss, of those that had a target."""
        sums, counts = self._numbers[4:].split(len(self.domains))
        return {name: float(total / count) for name, total, count in zip(self.domains, sums, counts) if count}
