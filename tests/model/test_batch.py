"""Patches that are alike are kept once, and every patch finds its own."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from opengato.model.batch import NewTokens, _distinct_patches
from opengato.model.config import preset
from opengato.tokens.vocabulary import IMAGE, PATCH


@given(st.lists(st.integers(0, 5), max_size=40), st.integers(0, 767))
def test_distinct_patches(which, pixel):
    """Patches that differ in one value are told apart; compared with numpy.unique."""
    patches = np.full((len(which), 768), 7, np.uint8)
    patches[:, pixel] = which
    patches = patches.reshape(-1, 16, 16, 3)
    distinct, members = _distinct_patches(patches)
    assert (distinct[members].numpy() == patches).all() and members.shape == (len(which),)
    assert len(distinct) == len(np.unique(which))


def test_patches_of_a_larger_array():
    """They need not lie together in memory."""
    patches = np.random.default_rng(0).integers(0, 2, (6, 16, 32, 3), np.uint8)[::2, :, ::2]
    distinct, members = _distinct_patches(patches)
    assert (distinct[members].numpy() == patches).all()


@pytest.mark.parametrize(("count", "fixed", "kept"), [(40, False, 3), (40, True, 40), (20, False, 20)])
def test_patches_that_an_acting_agent_sees_twice_are_looked_at_once(count, fixed, kept):
    """Few are not worth the search, and compiled code wants one shape; every patch finds its own either way."""
    alike = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), np.uint8)
    patches = alike[np.arange(count) % 3]
    slots, nothing = np.arange(count) // (count // 4), np.zeros(count, np.int64)
    new = NewTokens(
        np.full(count, PATCH, np.int32),
        np.full(count, IMAGE, np.uint8),
        nothing,
        slots,
        nothing,
        np.zeros(0, np.float32),
        np.ones(4, np.int64),
        np.zeros(4, np.int64),
        patches,
        np.zeros((count, 2), np.int64),
    )
    batch = new.batch(preset("swift-nano"), fixed)
    assert len(batch.patches) == kept
    assert (batch.patches[batch.patch_members].numpy() == patches).all()
    assert batch.patch_positions.tolist() == slots.tolist()
