"""Weights of domains, tasks and patterns, by rules and by stages: what is drawn is drawn as often as they, and `information`, say."""

import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mixture_data import arm, talk, text

from opengato.errors import OpenGatoError
from opengato.mixture import Mixture, Sampling
from opengato.mixture.info import information
from opengato.mixture.weights import Stage, by_gap, of_datasets, split
from opengato.tokens.fold import Fold

ALL = {"arm": 2.0, "talk": 1.0, "text": 1.0}


@pytest.fixture(scope="module")
def datasets(tmp_path_factory):
    root = tmp_path_factory.mktemp("cache")
    arms = [arm(root, f"arm/{name}", lengths) for name, lengths in (("reach", [30, 50, 7, 12]), ("reach-wall", [9] * 12), ("push", [400]))]
    return [*arms, talk(root, "talk/a"), text(root)]


def mixture(datasets, weights, **sampling):
    return Mixture(datasets, weights, 128, Fold(2), 3, Sampling(prompt_share=0.0, **sampling))


def positions(mix, numbers):
    """task -> share of the positions that are of it, counted in what is packed."""
    found = Counter()
    for n in numbers:
        pieces, segments = mix.pieces(n)[0], mix.sequence(n).segments
        for piece, end in zip(pieces, [*(later.base for later in pieces[1:]), mix.length]):
            found[piece.data.task] += int((segments[piece.base : end] >= 0).sum())
    return {task: count / sum(found.values()) for task, count in found.items()}


@pytest.mark.parametrize(
    ("weights", "sampling", "inside"),
    [
        ({}, {}, [1, 1, 1]),
        ({"arm/reach*": 3.0}, {}, [3, 3, 1]),
        ({"arm/reach*": 3.0, "arm/reach": 0.0}, {}, [0, 3, 1]),
        ({}, {"size_power": 1.0}, [99, 108, 400]),
        ({"arm/push": 2.0}, {"size_power": 0.5}, [99**0.5, 108**0.5, 2 * 400**0.5]),
    ],
)
@pytest.mark.parametrize("short", [0.0, 1.0])
def test_shares_are_what_the_weights_say(datasets, weights, sampling, inside, short):
    mix = mixture(datasets, ALL | weights, short_share=short, **sampling)
    inside = np.array(inside) / sum(inside)
    expected = {"arm/reach": inside[0] / 2, "arm/reach-wall": inside[1] / 2, "arm/push": inside[2] / 2, "talk/a": 0.25, "text/plain": 0.25}
    # A window is as long as its episode has room for: in long sequences a task with short episodes has less than its weight.
    found, draws = (
        positions(mix, range(700)),
        {task: mix.shares(0).within[0][i] / 2 for i, task in enumerate(s.data.task for s in mix.sources[0])},
    )
    assert draws == pytest.approx({task: share for task, share in expected.items() if task.startswith("arm")})
    assert sum(found.get(task, 0) for task in draws) == pytest.approx(0.5, abs=0.06)
    if short:
        assert {task: found.get(task, 0) for task in draws} == pytest.approx(draws, abs=0.05)
    foretold = {row.task: row.share for row in information(mix, 100_000)}
    assert {task: found.get(task, 0) for task in foretold} == pytest.approx(foretold, abs=0.1)


def test_of_tasks_that_ask_for_memory_there_are_no_single_timesteps(datasets):
    mix = mixture(datasets, ALL | {"arm/reach": 2.0}, short_share=0.8, long_only=("arm/reach", "other/*"))
    found, alone = Counter(), Counter()  # timesteps
    for n in range(900):
        pieces = mix.pieces(n)[0]
        short = all(len(set(piece.windows)) == len(piece.windows) for piece in pieces)
        for piece in pieces:
            found[piece.data.task] += len(piece.timesteps)
            alone[piece.data.task] += len(piece.timesteps) * short
    arms = sum(count for task, count in found.items() if task.startswith("arm"))
    assert not alone["arm/reach"] and found["arm/reach"] / arms == pytest.approx(0.5, abs=0.1)
    # Half of the arms' positions are the two others', four in five of them single timesteps.
    assert {task: alone[task] / arms for task in ("arm/reach-wall", "arm/push")} == pytest.approx(
        {"arm/reach-wall": 0.2, "arm/push": 0.2}, abs=0.04
    )


def test_stages_change_at_their_sequence_and_nowhere_else(datasets):
    one, other = ALL | {"arm/push": 0.0}, {"arm": 1.0, "arm/push": 5.0}
    mix = mixture(datasets, [Stage(0, one), Stage(40, other)])
    for n in (0, 1, 39, 40, 41, 10**9):
        alone = mixture(datasets, one if n < 40 else other | {"talk": 0.0, "text": 0.0})
        assert mix.describe(n) == alone.describe(n) == mixture(datasets, [Stage(0, one), Stage(40, other)]).describe(n)
    rows = {row.task: row.share for row in information(mix, 160)}
    assert rows["talk/a"] == pytest.approx(0.25 * 0.25, abs=0.06) and rows["arm/push"] > 0.5
    assert {row.task for row in information(mix, 40) if not row.share} == {"arm/push"}


def test_epochs_and_sizes_are_counted_in_the_sequences(datasets):
    """Of single timesteps, which fill what a sequence has of them."""
    mix = mixture(datasets, {"arm": 1.0}, short_share=1.0)
    seen = Counter()
    for n in range(400):
        for piece in mix.pieces(n)[0]:
            seen[piece.data.task] += len(piece.timesteps)
    for row in information(mix, 400):
        assert (row.positions, row.context) == (1.0, 128.0) and row.tokens == 6  # three numbers, the separator, two choices
        assert row.epochs == pytest.approx(seen[row.task] / row.timesteps, rel=0.15)
    assert {row.task: row.timesteps for row in information(mix, 1)} == {"arm/reach": 99, "arm/reach-wall": 108, "arm/push": 400}


def test_what_is_left_out_is_told_with_its_reason(datasets, tmp_path):
    data = arm(tmp_path, "arm/mixed", [10, 20, 30, 40] * 5)
    drawn = Sampling(return_threshold=0.9, return_thresholds={"arm": 0.5, "arm/m*": 0.7}, validation_share=0.3)
    (row,) = information(Mixture([data], {"arm": 1.0}, 128, Fold(2), 3, drawn, {"arm/mixed": 40.0}), 10)
    kept = data.in_validation(0.3)
    good = data.returns >= 0.7 * 40
    assert row.left_out == {"return below the threshold": (~good).sum(), "kept for validation": (good & kept).sum()}
    assert row.episodes == (good & ~kept).sum()
    assert drawn.threshold("arm/mixed") == 0.7 and drawn.threshold("arm/other") == 0.5 and drawn.threshold("grid/x") == 0.9


def test_a_validation_without_episodes_of_a_task_that_has_a_weight(datasets, tmp_path):
    few, many = arm(tmp_path, "arm/few", [9]), arm(tmp_path, "arm/many", [8, 9] * 10)
    mix = mixture([datasets[1], few, many], {"arm": 1.0, "arm/few": 3.0, "arm/reach*": 2.0}, validation_share=0.3)
    assert not few.in_validation(0.3).any()
    validation = mix.validation()
    weights = dict(zip((source.data.task for source in validation.sources[0]), validation.shares(0).within[0]))
    assert weights == pytest.approx({"arm/reach-wall": 2 / 3, "arm/many": 1 / 3})


def test_tasks_far_from_the_expert_weigh_more():
    scores = {"tasks": {"arm/reach": {"score": 20.0}, "arm/push": {"score": 130.0}, "arm/x": {"score": -5.0}, "gym/y": {"score": None}}}
    assert by_gap(json.loads(json.dumps(scores))) == pytest.approx({"arm/reach": 0.8, "arm/push": 0.1, "arm/x": 1.0})
    with pytest.raises(OpenGatoError, match="these are no scores"):
        by_gap({})


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.sampled_from(["a", "b", "a/x", "a/*", "b/?", "*/y"]), st.floats(0, 9)))
def test_the_last_name_counts(weights):
    tasks = ["a/x", "a/y", "b/x", "b/y"]
    domains, within = split(weights, tasks)
    assert domains == {name: weight for name, weight in weights.items() if "/" not in name}
    covers = {"a/x": {"a/x"}, "a/*": {"a/x", "a/y"}, "b/?": {"b/x", "b/y"}, "*/y": {"a/y", "b/y"}}
    for task in tasks:
        named = [weight for name, weight in weights.items() if task in covers.get(name, ())]
        assert within[task] == (named[-1] if named else 1.0)


@pytest.mark.parametrize(
    ("weights", "sentence"),
    [
        (ALL | {"arm/pusch": 2.0}, r"the weights name 'arm/pusch', of which there is no data: there is arm/push"),
        ({"arm": float("nan")}, r"the weight of 'arm' is nan: give a number, 0 or more"),
        ({"arm": -1.0}, r"the weight of 'arm' is -1\.0"),
        ({"arm": 0.0}, r"the weights of arm are all 0"),
        ({"arm": 1.0, "arm/*": 0.0}, r"domain 'arm' has a weight, and all of its tasks have 0"),
        ({"arm": 1.0, "grid": 1.0}, r"gives weight to \['grid'\], of which there is no data"),
        ([Stage(5, ALL)], r"the stages of the weights begin at \[5\]: let the first begin at 0"),
        ([Stage(0, ALL), Stage(9, ALL), Stage(9, ALL)], r"begin at \[0, 9, 9\]"),
    ],
)
def test_weights_that_say_nothing_are_refused(datasets, weights, sentence):
    with pytest.raises(OpenGatoError, match=sentence):
        mixture(datasets, weights)


def test_datasets_weigh_as_their_names_say():
    tasks = ["captions/a", "captions/b", "pages/c", "text/d"]
    assert of_datasets(tasks, [None] * 4) == {}
    found = of_datasets(tasks, [0.5, 0.25, None, 3])
    assert found == {"captions": 0.75, "pages": 1, "text": 3, "captions/a": 0.5, "captions/b": 0.25, "pages/c": 1, "text/d": 3}
    assert of_datasets(["text/a", "text/a"], [2, 2]) == {"text": 4, "text/a": 2}
    with pytest.raises(OpenGatoError, match=r"task 'text/a' is of two datasets, with @2 and @1"):
        of_datasets(["text/a", "text/a"], [2, None])
