"""Losses are added up as a list of all of them would be, in whatever parts they come."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from opengato.model.batch import Batch
from opengato.training.parallel import Ranks
from opengato.training.tally import Tally

NAMES = ["arm", "grid", "text"]


def batch(rng, targets):
    """Only what is counted: targets of a few positions, of domains, and some padding."""
    segments = torch.from_numpy(rng.integers(-1, 3, (2, 9)))
    positions = torch.from_numpy(np.sort(rng.integers(0, 18, targets)))
    domains = torch.from_numpy(rng.choice([0, 2], targets))  # none of the second
    part = SimpleNamespace(segments=segments, target_positions=positions, target_domains=domains, timesteps=int(rng.integers(1, 9)))
    part.shares = lambda: Batch.shares(part)
    return part


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.lists(st.integers(1, 30), min_size=1, max_size=4))
def test_a_tally_is_a_mean_over_all(seed, sizes):
    rng, whole, parts = np.random.default_rng(seed), Tally(NAMES), []
    weighed, shares, by_domain = 0.0, 0.0, {}
    timesteps = positions = 0
    for size in sizes:
        made, losses = batch(rng, size), torch.from_numpy(rng.normal(size=size).astype(np.float32))
        parts.append(Tally(NAMES))
        for tally in (whole, parts[-1]):
            tally.add(losses, made)
        where = made.target_positions.tolist()
        for loss, position, domain in zip(losses.tolist(), where, made.target_domains.tolist()):
            weighed, shares = weighed + loss / where.count(position), shares + 1 / where.count(position)
            by_domain.setdefault(NAMES[domain], []).append(loss)
        timesteps += made.timesteps
        positions += sum(segment >= 0 for row in made.segments.tolist() for segment in row)
    together = Tally(NAMES)
    for part in parts:
        together.include(part)
    for tally in (whole, together, together.over(Ranks(0, 1, torch.device("cpu")))):
        assert tally.loss == pytest.approx(weighed / shares, rel=1e-6, abs=1e-6)
        assert tally.by_domain() == pytest.approx({name: float(np.mean(found)) for name, found in by_domain.items()}, rel=1e-6, abs=1e-6)
        assert (tally.timesteps, tally.positions) == (timesteps, positions)
