"""What numbers are measured in, against plain NumPy over the values themselves."""

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st

from opengato.tokens.continuous import bin_centres, inverse_mu_law, mu_law, to_bins
from opengato.tokens.layout import Layout
from opengato.tokens.statistics import FARTHEST, Statistics, decorrelate, standardise


def bins(values):
    return to_bins(mu_law(values))


@given(st.lists(st.integers(0, 40), min_size=1, max_size=4), st.integers(0, 2**31))
def test_pooled_moments_are_those_of_all_values_together(lengths, seed):
    rng = np.random.default_rng(seed)
    parts = [rng.normal(rng.normal(size=3), [0.1, 1, 20], (length, 3)) for length in lengths]
    pooled = Statistics.pool(Statistics.of(bins(part).ravel(), 3) for part in parts)
    seen = inverse_mu_law(bin_centres(bins(np.concatenate(parts))))
    assert pooled.count == sum(lengths)
    if pooled.count:
        np.testing.assert_allclose(pooled.mean, seen.mean(0), rtol=1e-9, atol=1e-12)
        deviation = seen.std(0)
        np.testing.assert_allclose(pooled.deviation, np.where(deviation > 1e-6, deviation, 1.0), rtol=1e-6)


def test_standardised_values_have_mean_0_and_deviation_1_and_are_cut():
    rng = np.random.default_rng(0)
    tokens = bins(rng.normal([5.0, -0.2], [0.5, 0.01], (5000, 2))).ravel()
    statistics = Statistics.of(tokens, 2)
    values = standardise(tokens, statistics).reshape(-1, 2)
    assert values.dtype == np.float32
    np.testing.assert_allclose(values.mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(values.std(0), 1, atol=1e-4)
    assert standardise(bins(np.array([200.0, -0.2])), statistics)[0] == FARTHEST


def test_what_differs_little_is_seen_as_large_as_what_varies_much():
    """A hand that follows its goal within a centimetre: the two together, and their difference, come out alike."""
    rng = np.random.default_rng(0)
    goal = rng.normal(0.0, 0.1, 5000)
    hand = goal + rng.normal(0.0, 0.03, 5000)
    tokens = bins(np.stack([hand, goal, np.full(5000, 3.0)], 1)).ravel()
    statistics = Statistics.of(tokens, 3)
    plain, apart = (seen(tokens, statistics).reshape(-1, 3) for seen in (standardise, decorrelate))
    spread = [np.std(v[:, 0] - v[:, 1]) / np.std(v[:, 0] + v[:, 1]) for v in (plain, apart)]
    assert spread[0] < 0.2 and 0.85 < spread[1] <= 1.01
    covariance = np.cov(apart.T)
    # By hand: (R + 0.01)^(-1/2) R (R + 0.01)^(-1/2) of the correlations R.
    values, vectors = np.linalg.eigh(np.corrcoef(plain[:, :2].T))
    np.testing.assert_allclose(covariance[:2, :2], (vectors * values / (values + 0.01)) @ vectors.T, atol=1e-3)
    assert abs(apart[:, 2]).max() < 1e-9
    assert (decorrelate(tokens, None) == standardise(tokens, None)).all()


def test_a_centimetre_is_seen():
    """Two bins apart in 1,024 for mu-law, but a tenth of what varies."""
    where = np.linspace(0.45, 0.65, 200)[:, None]
    statistics = Statistics.of(bins(where).ravel(), 1)
    near, far = standardise(bins(np.array([0.50, 0.51])), statistics)
    assert far - near == pytest.approx(0.01 / where.std(), rel=0.6)


def test_a_number_that_never_varies_is_only_centred():
    statistics = Statistics.of(bins(np.full((9, 1), 3.0)).ravel(), 1)
    assert statistics.deviation == 1 and abs(standardise(bins(np.array([3.0])), statistics)).max() == 0


def test_a_layout_keeps_its_statistics_as_json():
    layout = Layout(spaces.Dict(a=spaces.Box(-1, 1, (2,)), b=spaces.Discrete(3), c=spaces.Box(-1, 1, (1,))), spaces.Discrete(2))
    assert layout.numbers == 3
    known = layout.with_statistics(Statistics.of(bins(np.random.default_rng(0).normal(size=(7, 3))).ravel(), 3))
    again = Layout.from_json(known.to_json())
    assert again.statistics is not None and again.statistics.count == 7
    np.testing.assert_allclose(again.statistics.mean, known.statistics.mean, rtol=1e-8)
    np.testing.assert_allclose(again.statistics.products, known.statistics.products, rtol=1e-8)
    np.testing.assert_allclose(again.statistics.decorrelation, known.statistics.decorrelation, rtol=1e-6)
    assert again.to_json() == known.to_json()  # saved again, it stays what it is
    assert Layout.from_json(layout.to_json()).statistics is None


def test_statistics_of_the_first_format_have_both_triangles():
    found = Statistics.of(bins(np.random.default_rng(0).normal(size=(9, 4))).ravel(), 4)
    old = {"count": 9, "mean": found.mean.tolist(), "products": found.products.tolist()}
    np.testing.assert_array_equal(Statistics.from_json(old).products, found.products)
    assert len(found.to_json()["products"]) == 10
