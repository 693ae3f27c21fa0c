"""Continuous values to bins and back (paper, section 2.1): mu-law for observations, never for actions."""

from __future__ import annotations

import numpy as np

from opengato.tokens.vocabulary import BIN_START, BINS

MU = 100.0
M = 256.0


def mu_law(x: np.ndarray) -> np.ndarray:
    """F(x) = sgn(x)·log(µ|x| + 1)/log(µM + 1), µ = 100, M = 256: any real number to about [-1, 1]; float64, same shape."""
    x = np.asarray(x, np.float64)
    # log1p(µ|x|) overflows only past 1.8e306; capping there changes nothing, since everything past M saturates anyway
    return np.sign(x) * np.log1p(MU * np.minimum(np.abs(x), 1e300)) / np.log1p(MU * M)


def inverse_mu_law(y: np.ndarray) -> np.ndarray:
    """The inverse of `mu_law`."""
    y = np.asarray(y, np.float64)
    return np.sign(y) * np.expm1(np.abs(y) * np.log1p(MU * M)) / MU


def to_bins(x: np.ndarray) -> np.ndarray:
    """Values, clipped to [-1, 1], to token ids in [32000, 33024); +1.0 falls into the last bin. int32, same shape."""
    x = np.clip(np.asarray(x, np.float64), -1.0, 1.0)
    return BIN_START + np.minimum((x + 1.0) * (BINS / 2), BINS - 1).astype(np.int32)


def bin_centres(tokens: np.ndarray) -> np.ndarray:
    """Token ids in [32000, 33024) to the centres of their bins, in (-1, 1); float64, same shape."""
    return (np.asarray(tokens, np.int64) - BIN_START + 0.5) * (2.0 / BINS) - 1.0
