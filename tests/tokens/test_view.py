"""What is observed, read as another space: value by value, and the same tokens as that space has."""

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st

from opengato.errors import OpenGatoError
from opengato.tokens.encode import encode_timesteps
from opengato.tokens.layout import Layout
from opengato.tokens.statistics import Statistics
from opengato.tokens.text import TextTokenizer
from opengato.tokens.view import NOTHING, View
from opengato.tokens.vocabulary import CONTINUOUS

TOKENIZER = TextTokenizer.load()
ACTION = spaces.Discrete(3)
KNOWN = spaces.Dict(
    board=spaces.MultiDiscrete(np.full((3, 4, 2), 5)),
    facing=spaces.Discrete(4),
    mission=spaces.Text(100),
    place=spaces.Box(-9, 9, (3,), np.float64),
    speed=spaces.Box(-9, 9, (2,), np.float64),
)
SEEN = spaces.Dict(
    command=spaces.Text(100),
    grid=spaces.MultiDiscrete(np.full((2, 3, 2), 5)),
    heading=spaces.Discrete(4),
    state=spaces.Box(-9, 9, (5,), np.float64),
)


def _view():
    """Numbers in another order, and the board from its second row and column on."""
    board = np.full((3, 4, 2), NOTHING)
    board[1:, 1:] = np.arange(12).reshape(2, 3, 2)
    symbols = np.concatenate([board.ravel(), [12]])
    return View(KNOWN, np.array([3, 0, 4, 2, 1]), symbols, {"mission": "command"})


def test_everything_stands_where_the_known_space_has_it():
    rng = np.random.default_rng(0)
    seen = {
        "command": ["go", "stop", "go there"],
        "grid": rng.integers(0, 5, (3, 2, 3, 2)),
        "heading": rng.integers(0, 4, 3),
        "state": rng.normal(size=(3, 5)),
    }
    board = np.zeros((3, 3, 4, 2), np.int64)
    board[:, 1:, 1:] = seen["grid"]
    same = {
        "board": board,
        "facing": seen["heading"],
        "mission": seen["command"],
        "place": seen["state"][:, [3, 0, 4]],
        "speed": seen["state"][:, [2, 1]],
    }
    layout = Layout(KNOWN, ACTION).seen(SEEN, _view())
    read = layout.read(seen)
    assert read.keys() == same.keys() and read["mission"] == same["mission"]
    for name in ("board", "facing", "place", "speed"):
        np.testing.assert_array_equal(read[name], same[name])
    for with_view in (layout, Layout.from_json(layout.to_json())):
        found = encode_timesteps(with_view, TOKENIZER, seen, np.arange(3), 3)
        wanted = encode_timesteps(Layout(KNOWN, ACTION), TOKENIZER, same, np.arange(3), 3)
        for name in ("tokens", "kinds", "local", "offsets"):
            np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name))
    assert layout.observation_space == SEEN and layout.numbers == 5


@given(st.integers(0, 2**32 - 1), st.integers(1, 4))
def test_a_number_that_is_not_observed_is_what_the_others_let_expect(seed, observed):
    """The same as a regression on the samples says; of numbers that are nearly the same, as of a step and the one before, nearly that."""
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(5, 5)) + 2 * np.eye(5)
    values = rng.normal(size=(2000, 5)) @ mixing + rng.normal(size=5)
    deviations = values - values.mean(0)
    statistics = Statistics(len(values), values.mean(0), deviations.T @ deviations)
    numbers = np.full(5, NOTHING)
    numbers[rng.permutation(5)[:observed]] = np.arange(observed)
    there = numbers != NOTHING
    box = spaces.Box(-np.inf, np.inf, (5,), np.float64)
    layout = Layout(box, ACTION, statistics).seen(spaces.Box(-np.inf, np.inf, (observed,), np.float64), View(box, numbers))
    seen = rng.normal(size=(7, observed))
    read = layout.read(seen)
    np.testing.assert_array_equal(read[:, there], seen[:, numbers[there]])
    # Ridge regression in standard deviations, by stacked least squares.
    apart = deviations / values.std(0)
    floor = np.sqrt(0.01 * len(values)) * np.eye(observed)
    weights, *_ = np.linalg.lstsq(
        np.concatenate([apart[:, there], floor]), np.concatenate([apart[:, ~there], np.zeros((observed, 5 - observed))]), rcond=None
    )
    in_order = seen[:, numbers[there]]
    expected = (in_order - values.mean(0)[there]) / values.std(0)[there] @ weights * values.std(0)[~there] + values.mean(0)[~there]
    np.testing.assert_allclose(read[:, ~there], expected, rtol=1e-6, atol=1e-8)


def test_numbers_of_no_statistics_are_zero_where_they_are_not_observed():
    box = spaces.Box(-9, 9, (3,), np.float64)
    layout = Layout(box, ACTION).seen(spaces.Box(-9, 9, (1,), np.float64), View(box, np.array([NOTHING, 0, NOTHING])))
    np.testing.assert_array_equal(layout.read(np.array([[4.0], [5.0]])), [[0, 4, 0], [0, 5, 0]])
    assert (encode_timesteps(layout, TOKENIZER, np.array([[4.0]]), None, 1).kinds == CONTINUOUS).sum() == 3


def test_an_observation_of_another_size_is_refused_with_its_field():
    layout = Layout(KNOWN, ACTION).seen(SEEN, _view())
    seen = {"command": ["go"], "grid": np.zeros((1, 2, 3, 2), int), "heading": np.zeros(1, int), "state": np.zeros((1, 4))}
    with pytest.raises(OpenGatoError, match=r"field state has 4 values a timestep where its space .* has 5"):
        encode_timesteps(layout, TOKENIZER, seen, None, 1)


def test_a_symbol_that_the_known_space_has_not_is_refused():
    layout = Layout(KNOWN, ACTION).seen(SEEN, _view())
    seen = {"command": ["go"], "grid": np.full((1, 2, 3, 2), 7), "heading": np.zeros(1, int), "state": np.zeros((1, 5))}
    with pytest.raises(OpenGatoError, match="board"):
        encode_timesteps(layout, TOKENIZER, seen, None, 1)
