"""The paper's worked examples and constants."""

import numpy as np
import pytest
from gymnasium import spaces

from opengato.episode import Episode
from opengato.errors import OpenGatoError
from opengato.tokens.continuous import bin_centres, inverse_mu_law, mu_law, to_bins
from opengato.tokens.encode import decode, encode
from opengato.tokens.image import mean_positions, patch_boxes
from opengato.tokens.layout import Layout
from opengato.tokens.text import TextTokenizer
from opengato.tokens.vocabulary import ACTION_CONTINUOUS, LOCAL_ACTION, PATCH, SEPARATOR


@pytest.fixture(scope="module")
def tokenizer():
    return TextTokenizer.load()


def test_image_of_80_by_64_has_20_patches_and_the_papers_positions():
    boxes = patch_boxes(height=64, width=80)
    assert len(boxes) == 20
    box = boxes[1 * 5 + 2]
    assert box.tolist() == [32, 64, 51, 77]
    assert mean_positions(boxes)[7].tolist() == [48, 64]


def test_bins_cover_minus_one_to_one_and_plus_one_is_the_last():
    assert to_bins(np.array([-1.0, -0.0, 0.0, 1.0, -7.0, 7.0])).tolist() == [32000, 32512, 32512, 33023, 32000, 33023]
    assert bin_centres(np.array([32000, 33023])).tolist() == [-1 + 1 / 1024, 1 - 1 / 1024]


def test_mu_law_at_its_reference_points():
    assert mu_law(np.array(256.0)) == pytest.approx(1.0)
    assert mu_law(np.array(-256.0)) == pytest.approx(-1.0)
    assert mu_law(np.array(1.0)) == pytest.approx(np.log(101) / np.log(25601))
    assert np.isfinite(mu_law(np.array([1e308, -1e308, 5e-324]))).all()
    x = np.linspace(-300, 300, 1001)
    assert np.allclose(inverse_mu_law(mu_law(x)), x)


def test_length_of_an_episode_is_the_papers_formula(tokenizer):
    """L = T(k + m + n + 1 + A), section 2.1."""
    observation_space = spaces.Dict(
        camera=spaces.Box(0, 255, (64, 80, 3), np.uint8), joints=spaces.Box(-np.inf, np.inf, (7,)), buttons=spaces.MultiBinary(3)
    )
    layout = Layout(observation_space, spaces.Box(-1, 1, (4,)))
    t = 5
    observations = {
        "camera": np.zeros((t, 64, 80, 3), np.uint8),
        "joints": np.ones((t, 7), np.float32),
        "buttons": np.ones((t, 3), np.int8),
    }
    encoded = encode(layout, Episode(observations, np.zeros((t, 4), np.float32), np.zeros(t), "a/b"), tokenizer)
    assert len(encoded.tokens) == t * (20 + 3 + 7 + 1 + 4)
    first = encoded.tokens[:35]
    # lexicographic: buttons, camera, joints; then the separator; then the action
    assert first[:3].tolist() == [1, 1, 1]
    assert (first[3:23] == PATCH).all()
    assert (first[23:30] == first[23]).all() and 32512 < first[23] < 33024
    assert first[30] == SEPARATOR
    assert first[31:].tolist() == [32512] * 4
    assert encoded.local[:31].tolist() == list(range(31)) and (encoded.local[31:35] == LOCAL_ACTION).all()
    assert (encoded.kinds[31:35] == ACTION_CONTINUOUS).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_none_are_refused_with_field_and_timestep(tokenizer, bad):
    layout = Layout(spaces.Dict(arm=spaces.Dict(joints=spaces.Box(-np.inf, np.inf, (2,)))), spaces.Discrete(3))
    joints = np.zeros((9, 2), np.float32)
    joints[4, 1] = bad
    episode = Episode({"arm": {"joints": joints}}, np.zeros(9, np.int64), np.zeros(9), "a/b")
    with pytest.raises(OpenGatoError, match=r"'a/b'.*arm\.joints.*timestep 4"):
        encode(layout, episode, tokenizer)


def test_actions_are_not_companded_and_other_bounds_are_mapped(tokenizer):
    layout = Layout(spaces.Box(-1, 1, (1,)), spaces.Box(np.array([-2.0, 0.0], np.float32), np.array([2.0, 255.0], np.float32)))
    actions = np.array([[2.0, 0.0], [0.0, 255.0], [1.0, 127.5]], np.float32)
    encoded = encode(layout, Episode(np.zeros((3, 1), np.float32), actions, np.zeros(3), "a/b"), tokenizer)
    assert encoded.tokens[encoded.kinds == ACTION_CONTINUOUS].tolist() == [33023, 32000, 32512, 33023, 32768, 32512]
    _, back = decode(layout, encoded, tokenizer)
    assert np.abs(back - actions).max() <= 255 / 1024


def test_a_field_outside_its_space_is_refused(tokenizer):
    layout = Layout(spaces.Box(-1, 1, (1,)), spaces.Discrete(3, start=1))
    with pytest.raises(OpenGatoError, match="is 0 at timestep 1"):
        encode(layout, Episode(np.zeros((2, 1), np.float32), np.array([1, 0]), np.zeros(2), "a/b"), tokenizer)


def test_an_action_outside_its_bounds_is_refused_and_rounding_is_not(tokenizer):
    bounded = spaces.Dict(arm=spaces.Box(-2.0, 2.0, (2,)), base=spaces.Box(-np.inf, np.inf, (1,)))
    layout = Layout(spaces.Box(-1, 1, (1,)), bounded)

    def tokens(arm, base):
        actions = {"arm": np.array([[0.0, 0.0], arm], np.float32), "base": np.array([[0.0], [base]], np.float32)}
        encoded = encode(layout, Episode(np.zeros((2, 1), np.float32), actions, np.zeros(2), "a/b"), tokenizer)
        return encoded.tokens[encoded.kinds == ACTION_CONTINUOUS].tolist()[3:]

    assert tokens([2.00001, -2.00001], 1.0) == [33023, 32000, 33023]
    with pytest.raises(OpenGatoError, match=r"task 'a/b': action field arm is 2.1 at timestep 1, entry 1, outside \[-2, 2\]"):
        tokens([0.0, 2.1], 0.0)
    with pytest.raises(OpenGatoError, match=r"action field base is 300 at timestep 1, entry 0, and its space states no bounds"):
        tokens([0.0, 0.0], 300.0)


def test_spaces_without_a_layout_name_the_remedy():
    with pytest.raises(OpenGatoError, match="1024 discrete ids"):
        Layout(spaces.Discrete(2000), spaces.Discrete(2))
    with pytest.raises(OpenGatoError, match="channels last"):
        Layout(spaces.Box(0, 255, (3, 64, 64), np.uint8), spaces.Discrete(2))
