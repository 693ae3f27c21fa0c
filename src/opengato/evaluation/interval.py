"""95% intervals that hold what they promise with ten episodes, too: benchmarks/coverage.py shows how often each holds the truth.

A mean of episodes gets Student's t interval. Where ten episodes went alike, that would be as narrow as if no other could be: an agent that
fails once in twenty succeeds ten times in a row in 60% of all evaluations. So an interval reaches at least as far as if the largest share
of all episodes that may well have stayed unseen (Jeffreys' interval of an event that never happened: 22% after ten episodes, 5% after
fifty) went like the random agent's, and at its other end like the expert's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from statistics import NormalDist

import numpy as np

_DRAWS = 400_000  # of quantiles, which have two or three digits then; no need for a library of distributions
_Z = NormalDist().inv_cdf(0.975)
Interval = tuple[float, float]


@cache
def t_quantile(freedom: float) -> float:
    """What 2.5% of Student's t lie above."""
    return float(np.quantile(np.abs(np.random.default_rng(0).standard_t(freedom, _DRAWS)), 0.95))


@cache
def unseen_share(n: int) -> float:
    """The largest share that an outcome may well have which none of n episodes had."""
    return float(np.quantile(np.random.default_rng(0).beta(0.5, n + 0.5, _DRAWS), 0.975))


def wilson(hits: int, n: int) -> Interval:
    """Wilson's interval of a probability, of which n trials gave so many hits."""
    centre = (hits + _Z**2 / 2) / (n + _Z**2)
    half = _Z / (n + _Z**2) * math.sqrt(hits * (n - hits) / n + _Z**2 / 4)
    return max(0.0, centre - half), min(1.0, centre + half)


def half_width(n: int, deviation: float) -> float:
    """Half of Student's t interval of the mean of n values of this standard deviation; of a single one 0."""
    return t_quantile(n - 1) * deviation / math.sqrt(n) if n > 1 else 0.0


def mean_interval(values: Sequence[float], worst: float, best: float) -> Interval:
    """Of the mean of episodes, where one that was not seen would be worth `worst` or `best`."""
    n, mean = len(values), float(np.mean(values))
    half = half_width(n, float(np.std(values, ddof=1)) if n > 1 else 0.0)
    return _reaching(mean, half, n, worst, best)


def mean_of_means_interval(groups: Sequence[Sequence[float]], worst: float, best: float) -> Interval:
    """Of the mean of several groups' means, over the episodes of these groups: they stay, and their episodes could have been others."""
    means = [float(np.mean(g)) for g in groups]
    variances = [float(np.var(g, ddof=1)) / len(g) if len(g) > 1 else 0.0 for g in groups]
    total, half = sum(variances), 0.0
    if total > 0:
        # Welch and Satterthwaite's degrees of freedom.
        freedom = total**2 / sum(v**2 / (len(g) - 1) for v, g in zip(variances, groups) if v > 0)
        half = t_quantile(round(freedom, 1)) * math.sqrt(total) / len(groups)
    return _reaching(float(np.mean(means)), half, sum(map(len, groups)), worst, best)


def _reaching(mean: float, half: float, n: int, worst: float, best: float) -> Interval:
    share = unseen_share(n)
    return mean - max(half, share * (mean - worst)), mean + max(half, share * (best - mean))
