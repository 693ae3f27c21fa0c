"""The folded form against a loop that walks the stream token by token."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from opengato.tokens.fold import PAPER, Fold
from opengato.tokens.vocabulary import ACTION_DISCRETE, ACTION_TEXT, CONTINUOUS, IMAGE, SEPARATOR_KIND, TEXT, WORD


def walk(timesteps, patches_per_position):
    """Positions by the rule in fold.py's first sentence, one token at a time."""
    positions, starts, base = [], [0], 0
    for kinds in timesteps:
        images = sum(k == IMAGE for k in kinds)
        groups = max(-(-images // patches_per_position) - 1, 0)
        words = sum(k == WORD for k in kinds)
        own = base + groups + words
        image = word = answer = 0
        for kind in kinds:
            if kind == IMAGE:
                group = image // patches_per_position
                positions.append(base + group if group < groups else own)
                image += 1
            elif kind == WORD:
                positions.append(base + groups + word)
                word += 1
            elif kind == ACTION_TEXT:
                answer += 1
                positions.append(own + answer)
            elif kind == ACTION_DISCRETE:  # takes no position
                positions.append(own + answer + 1)
            else:
                positions.append(own)
        base = positions[-1]  # the last action token shares the next timestep's first position
        starts.append(base)
    return positions, starts


@st.composite
def streams(draw):
    observed = st.lists(st.sampled_from([IMAGE, TEXT, CONTINUOUS, WORD]), max_size=9)
    acted = st.lists(st.sampled_from([ACTION_TEXT, ACTION_DISCRETE]), min_size=1, max_size=4)
    return [[*draw(observed), SEPARATOR_KIND, *draw(acted)] for _ in range(draw(st.integers(1, 5)))]


@settings(max_examples=200, deadline=None)
@given(streams(), st.integers(1, 5))
def test_positions_equal_the_walk(timesteps, patches_per_position):
    kinds = np.array([k for t in timesteps for k in t], np.uint8)
    offsets = np.cumsum([0] + [len(t) for t in timesteps]) + 100
    positions, starts = Fold(patches_per_position).positions(kinds, offsets)
    want_positions, want_starts = walk(timesteps, patches_per_position)
    assert positions.tolist() == want_positions
    assert starts.tolist() == want_starts


@settings(max_examples=20, deadline=None)
@given(streams())
def test_the_papers_form_is_one_token_a_position(timesteps):
    kinds = np.array([k for t in timesteps for k in t], np.uint8)
    offsets = np.cumsum([0] + [len(t) for t in timesteps])
    positions, starts = PAPER.positions(kinds, offsets)
    assert positions.tolist() == list(range(len(kinds))) and starts.tolist() == offsets.tolist()
