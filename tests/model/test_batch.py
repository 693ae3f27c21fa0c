"""Patches that are alike are kept once, and every patch finds its own."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from opengato.model.batch import _distinct_patches


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
