"""What observed numbers are measured in: their means, standard deviations and correlations.

The paper passes numbers on as mu-law bins, in which a centimetre at half a metre is one bin of 1,024. A family that never predicts
observations may undo that: bin centres, back through mu-law, in standard deviations from the mean, and then with their correlations taken
out. For a hand and its goal go together, a position and the one before it even more, and what a policy needs is the little in which they
differ: a network that sees it no larger than it is learns it last.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np

from opengato.tokens.continuous import bin_centres, inverse_mu_law
from opengato.tokens.vocabulary import BIN_START, BINS

FARTHEST = 10.0  # standard deviations; what lies beyond, as a task not seen in training may have it, is cut
_CONSTANT = 1e-6  # a standard deviation below it is taken for none
# Added to the variance of every principal direction of the standardised numbers: the smallest are rounding, and grow tenfold at most.
_FLOOR = 0.01


@dataclass(frozen=True)
class Statistics:
    """Moments of the C numbers of a timestep's observation, over `count` timesteps.

    Attributes:
        count: timesteps. mean: float64 (C,). products: float64 (C, C), sums of the products of deviations from the mean.
    """

    count: int
    mean: np.ndarray
    products: np.ndarray

    @classmethod
    def of(cls, tokens: np.ndarray, numbers: int) -> Statistics:
        """Of the bins (T · C,) of T timesteps with C numbers each, in order."""
        if not numbers or not len(tokens):
            return cls(0, np.zeros(numbers), np.zeros((numbers, numbers)))
        values = _values()[np.asarray(tokens, np.int64) - BIN_START].reshape(-1, numbers)
        mean = values.mean(0)
        return cls(len(values), mean, (values - mean).T @ (values - mean))

    @classmethod
    def pool(cls, parts: Iterable[Statistics]) -> Statistics:
        """Of all timesteps of the parts together (Chan et al. 1979)."""
        parts = list(parts)
        count = sum(p.count for p in parts)
        mean = sum((p.count * p.mean for p in parts), np.zeros_like(parts[0].mean)) / max(count, 1)
        products = sum((p.products + p.count * np.outer(p.mean - mean, p.mean - mean) for p in parts), np.zeros((len(mean), len(mean))))
        return cls(count, mean, products)

    @cached_property
    def deviation(self) -> np.ndarray:
        """float64 (C,), 1 for numbers that never vary."""
        deviation = np.sqrt(np.diag(self.products) / max(self.count, 1))
        return np.where(deviation > _CONSTANT, deviation, 1.0)

    @cached_property
    def decorrelation(self) -> np.ndarray:
        """(R + 0.01)^(-1/2), float64 (C, C), symmetric, R being the correlations; a number that never varies stays as it is."""
        correlations = self.products / max(self.count, 1) / np.outer(self.deviation, self.deviation)
        np.fill_diagonal(correlations, 1.0)
        variances, directions = np.linalg.eigh(correlations)
        return (directions / np.sqrt(np.maximum(variances, 0) + _FLOOR)) @ directions.T

    def expected(self, there: np.ndarray, values: np.ndarray) -> np.ndarray:
        """What the other numbers are most likely, float64 (T, C - N), where N of the C are known: the mean of a normal distribution.

        Args:
            there: bool (C,), which are known. values: (T, N), those.
        """
        correlations = self.products / max(self.count, 1) / np.outer(self.deviation, self.deviation)
        known = correlations[np.ix_(there, there)] + _FLOOR * np.eye(int(there.sum()))
        weights = np.linalg.solve(known, correlations[np.ix_(there, ~there)])
        apart: np.ndarray = (values - self.mean[there]) / self.deviation[there]
        return self.mean[~there] + (apart @ weights) * self.deviation[~there]

    def to_json(self) -> dict[str, Any]:
        """To nine digits; of the products, which are symmetric, the upper triangle, row after row."""
        return {
            "count": self.count,
            "mean": _nine_digits(self.mean),
            "products": _nine_digits(self.products[np.triu_indices(len(self.mean))]),
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Statistics:
        mean, products = np.asarray(data["mean"], np.float64), np.asarray(data["products"], np.float64)
        if products.ndim == 1:  # format 1 has all of them
            triangle, products = products, np.zeros((len(mean), len(mean)))
            products[np.triu_indices(len(mean))] = triangle
            products += np.triu(products, 1).T
        return cls(data["count"], mean, products)


def _nine_digits(values: np.ndarray) -> list[float]:
    return [float(f"{value:.9g}") for value in values.tolist()]


@cache
def _values() -> np.ndarray:
    """The number that each bin stands for, float64 (1024,)."""
    return inverse_mu_law(bin_centres(np.arange(BIN_START, BIN_START + BINS)))


def standardise(tokens: np.ndarray, statistics: Statistics | None) -> np.ndarray:
    """Bins (T · C,) of whole timesteps to float32 (T · C,), in standard deviations from the mean, cut at ±10; without statistics as is."""
    values = _values()[np.asarray(tokens, np.int64) - BIN_START]
    if statistics is not None and len(values):
        values = ((values.reshape(-1, len(statistics.mean)) - statistics.mean) / statistics.deviation).ravel()
    return np.clip(values, -FARTHEST, FARTHEST).astype(np.float32)


def decorrelate(tokens: np.ndarray, statistics: Statistics | None) -> np.ndarray:
    """As `standardise`, with the correlations taken out: what swift sees of a timestep's numbers, float32 (T · C,), cut at ±10."""
    values = standardise(tokens, statistics)
    if statistics is None or not len(values):
        return values
    apart = values.reshape(-1, len(statistics.mean)) @ statistics.decorrelation
    return np.clip(apart, -FARTHEST, FARTHEST).astype(np.float32).ravel()
