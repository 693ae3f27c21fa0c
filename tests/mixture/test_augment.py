"""Pictures that words are said of are moved a little in training, and nowhere else."""

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st
from mixture_data import TOKENIZER, pictures

from opengato.datasets.dataset import Episodes
from opengato.datasets.tokenise import tokenise
from opengato.episode import Episode
from opengato.errors import OpenGatoError
from opengato.mixture import Mixture, Sampling
from opengato.mixture.augment import move_pictures, moves
from opengato.tokens.fold import Fold
from opengato.tokens.image import from_patches, to_patches
from opengato.tokens.layout import Layout
from opengato.tokens.spaces import text_space

HEIGHT, WIDTH = 32, 48
CAPTION = Layout(spaces.Dict(image=spaces.Box(0, 255, (HEIGHT, WIDTH, 3), np.uint8)), text_space())


@given(st.integers(0, 2**32 - 1), st.integers(1, 8))
def test_each_picture_is_moved_and_scaled_by_at_most_so_many_pixels(seed, pixels):
    """A bright dot in the dark: where it went, by brute force; what comes into sight repeats the edge, which is dark."""
    rng = np.random.default_rng(seed)
    images = np.zeros((5, HEIGHT, WIDTH, 3), np.uint8)
    dots = np.stack([rng.integers(12, HEIGHT - 12, 5), rng.integers(12, WIDTH - 12, 5)], 1)
    for image, (row, column) in zip(images, dots):
        image[row - 1 : row + 2, column - 1 : column + 2] = 255
    patches = to_patches(images).reshape(-1, 16, 16, 3)
    move_pictures(patches, CAPTION, pixels, np.random.default_rng(seed))
    for image, dot in zip(from_patches(patches, HEIGHT, WIDTH, 3), dots):
        lit = np.argwhere(image[..., 0])
        assert 2 * 2 <= len(lit) <= 5 * 5  # 3 × 3 at a scale from 2/3 to 4/3
        assert np.abs(lit.mean(0) - dot).max() <= 2 * pixels + 1  # moved, and drawn from or to the middle by no more
    again = to_patches(images).reshape(-1, 16, 16, 3)
    move_pictures(again, CAPTION, pixels, np.random.default_rng(seed))
    np.testing.assert_array_equal(patches, again)


def test_only_what_words_are_said_of_is_moved():
    image = spaces.Box(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
    assert moves(CAPTION) and not moves(Layout(image, spaces.Discrete(4))) and not moves(Layout(text_space(), text_space()))


def _captions(root):
    rng = np.random.default_rng(0)
    episodes = [
        Episode(
            {"image": rng.integers(0, 256, (1, HEIGHT, WIDTH, 3), np.uint8)}, [f"picture {n}"], np.ones(1, np.float32), "captions/noise"
        )
        for n in range(40)
    ]
    return tokenise(Episodes("captions/noise", CAPTION.observation_space, CAPTION.action_space, episodes, "1"), TOKENIZER, root)


def test_a_mixture_moves_them_anew_each_time_but_not_those_it_validates_on(tmp_path):
    data = [_captions(tmp_path / "a"), pictures(tmp_path / "b", "game/one", [9, 9])]

    def mixture(shift):
        sampling = Sampling(shift=shift, validation_share=0.2)
        return Mixture(data, {"captions": 1.0, "game": 1.0}, 64, Fold(2), 0, sampling)

    still, moved, again = mixture(0), mixture(4), mixture(4)
    captions = games = 0
    for n in range(12):
        one, other = still.sequence(n), moved.sequence(n)
        np.testing.assert_array_equal(one.tokens, other.tokens)
        np.testing.assert_array_equal(other.patches, again.sequence(n).patches)
        same = (one.patches == other.patches).all()
        if moved.describe(n)[0]["task"] == "captions/noise":
            captions += 1
            assert not same
        else:
            games += 1
            assert same
    assert captions and games
    for n in range(4):
        np.testing.assert_array_equal(still.validation().sequence(n).patches, moved.validation().sequence(n).patches)


def test_a_shift_below_nothing_is_refused():
    with pytest.raises(OpenGatoError, match="shift is -1: give the pixels"):
        Sampling(shift=-1)
