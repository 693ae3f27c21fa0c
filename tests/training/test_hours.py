"""How large a network for how long: the law against its closed form, and what `opengato train --hours` begins and goes on with."""

import json
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opengato.datasets.open import open_datasets
from opengato.errors import OpenGatoError
from opengato.model.config import preset
from opengato.model.gato import Gato
from opengato.tokens.text import TextTokenizer
from opengato.training.hours import DEPTHS, LAW, Law, Pace, best_depth, choose, measure, parameters, recipe_for


def test_parameters_are_those_of_the_built_network():
    assert parameters(3) == Gato(preset("swift-d3")).parameter_count(embeddings=False)


@given(
    st.floats(0.01, 1000),
    st.builds(Law, st.floats(0, 1), st.floats(0.05, 2), st.floats(0.1, 1), st.floats(0.1, 5), st.floats(0.1, 1)),
    st.floats(1e-12, 1e-9),
)
def test_the_depth_is_next_to_the_optimum_in_closed_form(hours, law, each):
    """Where all of a position's time is in its parameters, as in Hoffmann et al. (2022), the size is (aA / bB)^(1/(a+b)) · C^(b/(a+b))."""
    found = best_depth(hours, Pace(0.0, each), law)
    product = 3600 * hours / each / 1e12  # millions of parameters times millions of positions
    power = 1 / (law.size_power + law.seen_power)
    best = 1e6 * (law.size_power * law.size / (law.seen_power * law.seen)) ** power * product ** (law.seen_power * power)
    sizes = [parameters(depth) for depth in DEPTHS]
    above = next((n for n, size in enumerate(sizes) if size >= best), len(sizes) - 1)
    assert found in {DEPTHS[max(above - 1, 0)], DEPTHS[above]}


def test_more_hours_and_more_cores_never_choose_a_smaller_network():
    pace = Pace(1e-4, 2e-10)
    chosen = [best_depth(hours, pace) for hours in (0.01, 0.1, 1, 10, 100, 1000)]
    assert chosen == sorted(chosen) and chosen[0] < chosen[-1]
    assert best_depth(1, Pace(1e-6, 2e-12)) >= best_depth(1, pace)


def test_the_law_falls_with_size_and_time_to_its_floor():
    assert LAW.loss(1e6, 1e6) > LAW.loss(1e7, 1e6) > LAW.loss(1e7, 1e7) > LAW.loss(1e14, 1e14) > LAW.floor - 1e-9


@pytest.mark.parametrize("hours", [0, -1, math.nan, math.inf])
def test_no_time_is_refused(hours):
    with pytest.raises(OpenGatoError, match="hours is"):
        recipe_for(hours)


def test_several_processes_are_told_to_name_a_recipe(tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(OpenGatoError, match="name a recipe"):
        choose(1, recipe_for(1), ["captions/emoji"], tmp_path)


def test_a_run_that_was_begun_keeps_its_network(tmp_path):
    (tmp_path / "train.json").write_text(json.dumps({"recipe": {"model": "swift-d5"}}))
    assert choose(2, recipe_for(2), ["captions/emoji"], tmp_path).model == "swift-d5"


@pytest.mark.slow
def test_a_larger_network_takes_longer_for_a_position():
    chosen = recipe_for(1)
    chosen = replace(chosen, train=replace(chosen.train, batch=2))
    pace = measure(chosen, open_datasets(["questions/emoji"], TextTokenizer.load()))
    assert pace.each > 0 and 1 < pace.positions(parameters(6), 60) < pace.positions(parameters(2), 60)
