"""decode(encode(x)): continuous values within half a bin, all else exact, for any space the layout takes."""

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from opengato.episode import Episode
from opengato.errors import OpenGatoError
from opengato.tokens.continuous import mu_law
from opengato.tokens.encode import decode, encode
from opengato.tokens.layout import Layout
from opengato.tokens.spaces import differences, from_json, to_json
from opengato.tokens.text import TextTokenizer

TOKENIZER = TextTokenizer.load()
HALF_BIN = 1 / 1024 + 1e-12
FLOATS = st.one_of(
    st.sampled_from([1.0, -1.0, 0.0, -0.0, 5e-324, -5e-324, 1e308, -1e308, 256.0]), st.floats(allow_nan=False, allow_infinity=False)
)


@st.composite
def leaves(draw, length, is_action):
    """(space, values of `length` timesteps, how to compare)"""
    kind = draw(st.sampled_from(["box", "discrete", "multidiscrete", "multibinary", "text", "int"] + ([] if is_action else ["image"])))
    shape = tuple(draw(st.lists(st.integers(1, 3), max_size=2)))
    if kind == "box":
        bound = 1.0 if is_action else np.inf
        values = draw(hnp.arrays(np.float64, (length, *shape), elements=st.floats(-1, 1) if is_action else FLOATS))
        return spaces.Box(-bound, bound, shape, np.float64), values, "action" if is_action else "mu-law"
    if kind == "discrete":
        n, start = draw(st.integers(1, 1024)), draw(st.integers(-5, 5))
        return spaces.Discrete(n, start=start), draw(hnp.arrays(np.int64, length, elements=st.integers(start, start + n - 1))), "exact"
    if kind == "multidiscrete":
        nvec = draw(hnp.arrays(np.int64, (2, 3), elements=st.integers(1, 1024)))
        return spaces.MultiDiscrete(nvec), (draw(hnp.arrays(np.int64, (length, 2, 3), elements=st.integers(0, 1023))) % nvec), "exact"
    if kind == "multibinary":
        return spaces.MultiBinary(4), draw(hnp.arrays(np.int8, (length, 4), elements=st.integers(0, 1))), "exact"
    if kind == "int":
        return spaces.Box(-3, 99, shape, np.int32), draw(hnp.arrays(np.int32, (length, *shape), elements=st.integers(-3, 99))), "exact"
    if kind == "image":
        height, width, channels = draw(st.integers(1, 40)), draw(st.integers(1, 40)), draw(st.sampled_from([1, 3]))
        values = np.random.default_rng(draw(st.integers(0, 99))).integers(0, 256, (length, height, width, channels), np.uint8)
        return spaces.Box(0, 255, (height, width, channels), np.uint8), values, "exact"
    return spaces.Text(10_000, min_length=0), draw(st.lists(st.text(), min_size=length, max_size=length)), "text"


@st.composite
def structures(draw, length, is_action):
    shape = draw(st.sampled_from(["leaf", "dict", "tuple", "nested", "dotted"]))
    parts = [draw(leaves(length, is_action)) for _ in range({"leaf": 1, "dict": 3, "tuple": 2, "nested": 3, "dotted": 4}[shape])]
    pack = {
        "leaf": lambda p: p[0],
        "dict": lambda p: dict(zip(["b", "a", "c c"], p)),
        "tuple": tuple,
        "nested": lambda p: {"z": (p[0], p[1]), "y": {"x": p[2]}},
        "dotted": lambda p: {"a.b": p[0], "a": {"b.c": p[1], "d": (p[2],)}, "a.d.1": p[3]},
    }[shape]

    def to_space(node):
        if isinstance(node, dict):
            return spaces.Dict({k: to_space(v) for k, v in node.items()})
        return spaces.Tuple([to_space(v) for v in node]) if isinstance(node, tuple) else node

    return to_space(pack([p[0] for p in parts])), pack([p[1] for p in parts]), pack([p[2] for p in parts])


def check(before, after, how):
    if isinstance(before, dict):
        assert before.keys() == after.keys()
        for key in before:
            check(before[key], after[key], how[key])
    elif isinstance(before, tuple):
        for triple in zip(before, after, how, strict=True):
            check(*triple)
    elif how == "text":
        assert list(after) == list(before)
    elif how == "exact":
        assert after.dtype == np.asarray(before).dtype
        np.testing.assert_array_equal(after, before)
    else:
        squash = mu_law if how == "mu-law" else np.asarray
        assert np.abs(np.clip(squash(before), -1, 1) - squash(after)).max(initial=0) <= HALF_BIN


@settings(max_examples=150, deadline=None)
@given(st.data(), st.integers(1, 4))
def test_round_trip(data, length):
    observation_space, observations, how_observed = data.draw(structures(length, False))
    action_space, actions, how_acted = data.draw(structures(length, True))
    layout = Layout(observation_space, action_space)
    encoded = encode(layout, Episode(observations, actions, np.zeros(length, np.float32), "a/b"), TOKENIZER)
    assert encoded.offsets[-1] == len(encoded.tokens) == len(encoded.kinds) == len(encoded.local)
    back = decode(layout, encoded, TOKENIZER)
    check(observations, back[0], how_observed)
    check(actions, back[1], how_acted)


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_spaces_survive_json(data):
    space, _, _ = data.draw(structures(1, False))
    described = to_json(space)
    assert to_json(from_json(described)) == described
    assert differences(described, described) == []


def test_differences_name_the_field():
    known = to_json(spaces.Dict(arm=spaces.Box(-1, 1, (3,)), grip=spaces.Discrete(2)))
    given_ = to_json(spaces.Dict(arm=spaces.Box(-1, 1, (4,)), eye=spaces.Discrete(2)))
    lines = differences(known, given_)
    assert any("arm has shape [4]" in line for line in lines)
    assert any("grip is missing" in line for line in lines) and any("eye is unknown" in line for line in lines)
    with pytest.raises(Exception, match="no token layout"):
        to_json(spaces.Sequence(spaces.Discrete(2)))


def test_what_no_network_can_act_on_is_refused_at_the_door():
    seen = spaces.Box(-1, 1, (2,), np.float32)
    assert sum(f.count for f in Layout(seen, spaces.Box(-1, 1, (16, 16), np.float32)).action) == 256
    with pytest.raises(OpenGatoError, match="257 numbers, more than the 256"):
        Layout(seen, spaces.Dict(arm=spaces.Box(-1, 1, (256,), np.float32), grip=spaces.Discrete(2)))
    nothing = Episode(np.zeros((0, 2), np.float32), np.zeros((0, 1), np.float32), np.zeros(0, np.float32), "arm/a")
    with pytest.raises(OpenGatoError, match=r"'arm/a'.*no timesteps"):
        encode(Layout(seen, spaces.Box(-1, 1, (1,), np.float32)), nothing, TOKENIZER)
