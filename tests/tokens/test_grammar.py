"""The action grammar against actions that were encoded: each of their tokens is one that may follow, and the last one ends them."""

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st

from opengato.tokens.encode import decode_actions, encode_timesteps
from opengato.tokens.grammar import ActionGrammar
from opengato.tokens.layout import Layout
from opengato.tokens.spaces import text_space
from opengato.tokens.text import TextTokenizer
from opengato.tokens.vocabulary import ACTION_CONTINUOUS, ACTION_DISCRETE, ACTION_TEXT, SEPARATOR_KIND

TOKENIZER = TextTokenizer.load()
PARTS = {
    "key": (spaces.Discrete(5), st.integers(0, 4)),
    "keys": (spaces.MultiDiscrete([3, 40]), st.tuples(st.integers(0, 2), st.integers(0, 39)).map(np.array)),
    "arm": (
        spaces.Box(-1, 1, (3,), np.float32),
        st.lists(st.floats(-1, 1, width=32), min_size=3, max_size=3).map(lambda x: np.array(x, np.float32)),
    ),
    "word": (text_space(), st.sampled_from(["", "go", "to the red ball", "é 12"])),
    "more": (text_space(), st.sampled_from(["", "left"])),
}


@settings(max_examples=100, deadline=None)
@given(st.data(), st.lists(st.sampled_from(sorted(PARTS)), min_size=1, unique=True), st.booleans())
def test_every_token_of_an_action_may_follow_those_before_it_and_the_last_ends_it(data, names, one_by_one):
    action = {name: data.draw(PARTS[name][1]) for name in names}
    layout = Layout(spaces.Dict({}), spaces.Dict({name: PARTS[name][0] for name in names}))
    stacked = {name: [value] if isinstance(value, str) else np.array([value]) for name, value in action.items()}
    encoded = encode_timesteps(layout, TOKENIZER, {}, stacked, 1)
    told = encoded.kinds > SEPARATOR_KIND
    tokens, kinds = encoded.tokens[told].tolist(), encoded.kinds[told].tolist()
    grammar = ActionGrammar(layout, TOKENIZER.eos, 64, one_by_one)
    assert grammar.has_text == bool({"word", "more"} & set(names))
    at = 0
    while at < len(tokens):
        legal = grammar.following(tokens[:at])
        assert legal and (len(legal) == 1 or not one_by_one)
        for start, stop in legal:
            assert start <= tokens[at] < stop and (stop - start == 1024) == (kinds[at] == ACTION_CONTINUOUS)
            at += 1
            assert grammar.after(tokens[:at]) == (kinds[at - 1], at == len(tokens))
    assert grammar.following(tokens) == []
    back = decode_actions(layout, [tokens], TOKENIZER)[0]
    assert all(np.allclose(back[name], action[name], atol=1e-3) if name != "word" and name != "more" else True for name in names)


@pytest.mark.parametrize("one_by_one", [True, False])
def test_a_text_that_does_not_end_ends_at_its_longest(one_by_one):
    layout = Layout(spaces.Dict({}), spaces.Dict(key=spaces.Discrete(3), word=text_space()))
    order = [field.kind for field in layout.action]
    assert order == [ACTION_DISCRETE, ACTION_TEXT]
    grammar = ActionGrammar(layout, TOKENIZER.eos, 4, one_by_one)
    assert grammar.following([]) == ([(0, 3)] if one_by_one else [(0, 3), (0, 32_000)])
    assert [grammar.after([1, *[9] * n])[1] for n in range(5)] == [False, False, False, False, True]
