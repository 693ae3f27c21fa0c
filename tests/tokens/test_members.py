"""What is held to be a member of a space, also where the value comes from a stranger."""

import tracemalloc

import numpy as np
import pytest
from gymnasium import spaces

from opengato.errors import OpenGatoError
from opengato.tokens.members import conform

JOINTS = spaces.Box(-np.inf, np.inf, (2,), np.float32)


def test_a_list_is_measured_before_it_becomes_an_array():
    tracemalloc.start()
    with pytest.raises(OpenGatoError, match="x is a list of 2001: give floats"):
        conform(JOINTS, ["x"] * 2000 + ["y" * 20_000], "x")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20


def test_what_its_dtype_cannot_hold_is_refused():
    with pytest.raises(OpenGatoError, match=r"x is 1e\+300 at entry 1"):
        conform(JOINTS, np.array([0, 1e300]), "x")


def test_the_timestep_of_an_episode_is_named():
    with pytest.raises(OpenGatoError, match="x is nan at timestep 1, entry 0"):
        conform(JOINTS, np.array([[0, 0], [np.nan, 0], [0, 0]]), "x", steps=3)
    with pytest.raises(OpenGatoError, match="x, timestep 1, has a lone surrogate at character 1"):
        conform(spaces.Text(9), ["go", "a\ud800"], "x", steps=2)


def test_sentences_stay_short_whatever_they_complain_about():
    with pytest.raises(OpenGatoError) as caught:
        conform(spaces.Dict(a=JOINTS), {"a": [0, 0]} | {f"{i}\n" * 1000: 0 for i in range(1000)}, "x")
    assert len(str(caught.value)) < 600 and "\n" not in str(caught.value)
