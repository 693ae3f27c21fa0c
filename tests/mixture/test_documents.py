"""Long texts: whole documents, drawn by their length, cropped at random; nobody learns that a crop is a beginning or an end."""

from collections import Counter

import numpy as np
import pytest
from gymnasium import spaces

from opengato.datasets.dataset import Episodes
from opengato.datasets.text import to_episode
from opengato.datasets.tokenise import tokenise
from opengato.episode import Episode
from opengato.mixture import Mixture, Sampling
from opengato.tokens.fold import Fold
from opengato.tokens.spaces import text_space
from opengato.tokens.text import TextTokenizer
from opengato.tokens.vocabulary import ACTION_TEXT, IS_TARGET

TOKENIZER = TextTokenizer.load()
NUMBERS = 3_000
LENGTH = 128


@pytest.fixture(scope="module")
def documents(tmp_path_factory):
    """A long one (its first token is the separator) whose words say where they stand, and forty short ones."""
    texts = [" ".join(map(str, range(10_000, 10_000 + NUMBERS))), *["a short one"] * 40]
    folder = tmp_path_factory.mktemp("cache")
    return tokenise(Episodes("text/plain", spaces.Dict({}), text_space(), list(map(to_episode, texts)), "1"), TOKENIZER, folder)


@pytest.mark.parametrize("fold", [Fold(0), Fold(2)])
def test_crops(documents, fold):
    mix = Mixture([documents], {"text": 1.0}, LENGTH, fold, 0, Sampling(prompt_share=0.0))
    whole = documents.gather(np.arange(1)).tokens
    where = {tuple(whole[i : i + 12]): i for i in range(len(whole) - 12)}
    begins, short = Counter(), 0
    for n in range(300):
        sequence = mix.sequence(n)
        of = sequence.segments[np.maximum(sequence.positions - 1, 0)]
        for segment in range(of.max() + 1):
            words = sequence.tokens[(of == segment) & (sequence.kinds >= IS_TARGET)]
            predicted = sequence.predicted[(of == segment) & (sequence.kinds >= IS_TARGET)]
            if len(words) < 12:
                short += 1
                assert predicted.all()
                continue
            at = where[tuple(words[:12])]
            begins[at] += 1
            np.testing.assert_array_equal(words, whole[at : at + len(words)])  # in a row
            assert predicted[1:].all() and predicted[0] == (at == 1)
            assert (words[-1] == TOKENIZER.eos) == (at + len(words) == len(whole)) and TOKENIZER.eos not in words[:-1]
    assert len(begins) > 100 and begins[1] > 0 and max(begins) > 0.9 * (len(whole) - LENGTH)
    share = sum(begins.values()) / (sum(begins.values()) + short)
    expected = -(-len(whole) // LENGTH) / (-(-len(whole) // LENGTH) + 40)
    assert share == pytest.approx(expected, abs=0.1)


@pytest.mark.parametrize("fold", [Fold(0), Fold(2)])
def test_a_long_text_between_pictures_is_cut_and_its_picture_stays(tmp_path, fold):
    """A page of three timesteps, the second far longer than a context: all of it is seen in the end, each time after its picture."""
    white, black = np.full((3, 32, 32, 3), 255, np.uint8), np.zeros((3, 32, 32, 3), np.uint8)
    long = " ".join(map(str, range(10_000, 11_000)))
    box = spaces.Dict(image=spaces.Box(0, 255, (32, 32, 3), np.uint8))
    page = Episode({"image": np.stack([white[0], black[1], white[2]])}, ["short", long, "end"], np.zeros(3, np.float32), "pages/a")
    small = Episode({"image": white[:1]}, ["alone"], np.zeros(1, np.float32), "pages/a")
    data = tokenise(Episodes("pages/a", box, text_space(), [page, small], "1"), TOKENIZER, tmp_path)
    mix = Mixture([data], {"pages": 1.0}, LENGTH, fold, 0, Sampling(prompt_share=0.25))
    whole = data.gather(np.array([1])).tokens
    words = set(map(tuple, np.lib.stride_tricks.sliding_window_view(whole[whole < 32_000], 4)))
    seen, alone = set(), 0
    for n in range(200):
        sequence, windows = mix.sequence(n), mix.describe(n)
        said = sequence.tokens[sequence.kinds == ACTION_TEXT]
        found = {tuple(run) for run in np.lib.stride_tricks.sliding_window_view(said, 4)} & words if len(said) > 3 else set()
        there = any(window["episode"] == 0 and window["timesteps"][0] <= 1 <= window["timesteps"][1] for window in windows)
        # In the paper's form the end of a timestep may also stand before a window.
        assert bool(found) == there or (found and not fold.patches_per_position)
        if there:
            assert (sequence.patches == 0).all((1, 2, 3)).any()  # the black picture
        seen |= found
        alone += any(window["episode"] == 1 for window in windows)
        assert (sequence.segments >= 0).mean() > 0.5
    assert len(seen) > 0.9 * len(words) and alone > 10
