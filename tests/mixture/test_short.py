"""Short windows: where they come from, what stands before them, and that no domain gets more than its weight."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from gymnasium import spaces

from opengato.datasets.dataset import Episodes
from opengato.datasets.tokenise import tokenise
from opengato.episode import Episode
from opengato.mixture import Mixture, Sampling
from opengato.mixture.sampling import BUNCH
from opengato.model.batch import collate
from opengato.model.config import ModelConfig
from opengato.tokens.fold import Fold
from opengato.tokens.spaces import text_space
from opengato.tokens.text import TextTokenizer
from opengato.tokens.vocabulary import LOCAL_ACTION

TOKENIZER = TextTokenizer.load()
LENGTHS = (30, 50, 7)


@pytest.fixture(scope="module")
def datasets(tmp_path_factory):
    """Two arms of the same spaces far from each other, and a talk. An arm's action says which episode and timestep it is of."""
    root = tmp_path_factory.mktemp("cache")

    def arm(task, centre):
        episodes = []
        for number, length in enumerate(LENGTHS):
            seen = np.random.default_rng(number).normal(centre, 1, (length, 3)).astype(np.float32)
            episodes.append(Episode(seen, np.stack([np.full(length, number), np.arange(length)], 1), np.ones(length, np.float32), task))
        return tokenise(Episodes(task, spaces.Box(-99, 99, (3,)), spaces.MultiDiscrete([9, 60]), episodes, "1"), TOKENIZER, root)

    talk = [Episode(["how are you"] * 3, ["fine", "good", "well"], np.zeros(3, np.float32), "talk/c")] * 3
    said = tokenise(Episodes("talk/c", text_space(), text_space(), talk, "1"), TOKENIZER, root)
    return [arm("arm/a", 0.0), arm("arm/b", 10.0), said]


def make(datasets, weights, **sampling):
    return Mixture(datasets, weights, 128, Fold(2), 0, Sampling(**{"short_share": 0.75, "moments": 4, **sampling}))


def windows(sequence):
    """Of every window of a sequence, (episode, timestep) of each position, by its two targets."""
    first = np.flatnonzero(sequence.predicted)[::2]
    at, out = sequence.positions[first] - 1, {}
    for position, episode, timestep in zip(at, sequence.tokens[first], sequence.tokens[first + 1]):
        out.setdefault(int(sequence.segments[position]), []).append((int(episode), int(timestep), int(sequence.index[position])))
    return out


def test_windows_are_single_timesteps_and_nothing_is_padding(datasets):
    mix = make(datasets[:1], {"arm": 1.0}, short_share=1.0, prompt_share=0.0)
    for n in range(40):
        sequence = mix.sequence(n)
        assert (sequence.segments == np.arange(128)).all() and (sequence.index == 0).all()


def test_every_timestep_is_seen_as_often_as_the_others(datasets):
    mix = make(datasets[:1], {"arm": 1.0}, short_share=1.0, prompt_share=0.0)
    counts = Counter((e, t) for n in range(1500) for window in windows(mix.sequence(n)).values() for e, t, _ in window)
    assert len(counts) == sum(LENGTHS)
    share = np.array(list(counts.values())) * len(counts) / sum(counts.values())
    assert share.min() > 0.75 and share.max() < 1.25


def test_a_bunch_shares_a_prompt_of_another_episode(datasets):
    mix = make(datasets[:1], {"arm": 1.0}, short_share=1.0, prompt_share=1.0)
    prompted = 0
    for n in range(40):
        sequence = mix.sequence(n)
        at = sequence.positions[np.flatnonzero(sequence.predicted)[::2]] - 1
        for window in windows(sequence).values():
            if len(window) == 1:  # no room was left for a prompt and somebody who reads it
                continue
            prompt, singles = window[:4], window[4:]
            moments = [t for _, t, _ in prompt]
            assert len({e for e, _, _ in prompt}) == 1 and moments == sorted(set(moments))
            assert prompt[0][0] not in {e for e, _, _ in singles}
            # Each of them stands right after the prompt, as if there were no others.
            assert [i for _, _, i in prompt] == [0, 1, 2, 3] and {i for _, _, i in singles} == {4}
            prompted += len(singles)
        branches = sequence.branches[at]
        for segment in set(sequence.segments[at]):
            own = branches[sequence.segments[at] == segment]
            if len(own) == 1:
                continue
            np.testing.assert_array_equal(own, np.append(np.zeros(4), np.arange(1, len(own) - 3)))
    assert prompted > 3000


def test_a_share_of_the_sequences_is_prompted(datasets):
    mix = make(datasets[:1], {"arm": 1.0}, short_share=1.0, prompt_share=0.25)
    found = [mix.sequence(n).branches.any() for n in range(400)]
    assert np.mean(found) == pytest.approx(0.25, abs=0.07)


def test_big_timesteps_are_short_too_and_fill_their_sequences(tmp_path):
    """Of pictures of 16 positions a prompt does not fit a bunch, and two of the paper's timesteps are more than one holds otherwise."""
    rng = np.random.default_rng(0)
    seen = [Episode(rng.integers(0, 256, (9, 64, 128, 3), np.uint8), rng.integers(0, 3, 9), np.ones(9, np.float32), "see/a") for _ in "ab"]
    data = tokenise(Episodes("see/a", spaces.Box(0, 255, (64, 128, 3), np.uint8), spaces.Discrete(3), seen, "1"), TOKENIZER, tmp_path)
    for fold, length, size in ((Fold(2), 128, 16), (Fold(), 128, 34)):
        mix = Mixture([data], {"see": 1.0}, length, fold, 0, Sampling(prompt_share=0.5, moments=4, short_share=1.0))
        assert mix.shares(0).short == 1.0
        used = np.mean([(mix.sequence(n).segments >= 0).mean() for n in range(20)])
        assert used >= (length // size) * size / length - 0.05


def test_domains_keep_their_shares_of_the_positions(datasets):
    weights = {"arm": 0.7, "talk": 0.3}
    mix = make(datasets, weights)
    assert mix.shares(0).short == pytest.approx(0.75 * 0.7)
    talk, used, short = 0, 0, 0
    for n in range(600):
        sequence = mix.sequence(n)
        owner = np.full(128, -1)
        inside = sequence.positions < 128
        owner[sequence.positions[inside]] = sequence.domains[inside]
        used += (sequence.segments >= 0).sum()
        talk += ((owner == mix.domains.index("talk")) & (sequence.segments >= 0)).sum()
        short += sequence.segments.max() > 20
    assert talk / used == pytest.approx(0.3, abs=0.05)
    assert short > 150


def test_a_short_sequence_holds_several_tasks_and_bunches_of_one(datasets):
    mix = make(datasets[:2], {"arm": 1.0}, short_share=1.0)
    together = 0
    for n in range(30):
        tasks = [window["task"] for window in mix.describe(n)]
        together += len(set(tasks)) == 2
    assert together > 5 and BUNCH == 64


def test_tasks_of_the_same_spaces_measure_alike_and_known_layouts_stay(datasets):
    mix = make(datasets, {"arm": 0.7, "talk": 0.3})
    a, b = mix.layouts["arm/a"].statistics, mix.layouts["arm/b"].statistics
    np.testing.assert_allclose(a.mean, b.mean)
    np.testing.assert_allclose(a.mean, 5, atol=0.5)
    values = np.concatenate([mix.sequence(n).values for n in range(300)])
    assert abs(values.mean()) < 0.2 and values.std() == pytest.approx(1, abs=0.1)
    known = Mixture(datasets[1:2], {"arm": 1.0}, 128, Fold(2), 0, Sampling(), layouts=mix.layouts)
    np.testing.assert_array_equal(known.layouts["arm/b"].statistics.mean, b.mean)
    assert known.sequence(0).values.mean() > 0.5


def test_a_past_choice_is_seen_by_what_follows_it_and_by_no_branch_beside_it(datasets):
    """Brute force: at each position, the choices read are those decided at the one before, if that is of the same window and branch."""
    config = ModelConfig("swift", 1, 1, 32, 64, 32, context=128, set_width=32, patches_per_position=2, sees_choices=True)
    read = 0
    for n in range(10):
        sequence = make(datasets[:1], {"arm": 1.0}, prompt_share=1.0).sequence(n)
        batch = collate([sequence], config)
        at = [slice(a, b) for a, b in zip(batch.starts.tolist(), [*batch.starts.tolist()[1:], len(batch.members)])]
        for position, where in enumerate(at[:128]):
            pairs = batch.members[where]
            found = batch.pair_tokens[pairs][batch.pair_local[pairs] == LOCAL_ACTION].tolist()
            goes_on = position and all(of[position] == of[position - 1] for of in (sequence.segments, sequence.branches))
            wanted = sequence.tokens[sequence.predicted & (sequence.positions == position)].tolist() if goes_on else []
            assert sorted(found) == sorted(wanted)
            read += len(found)
        assert not (collate([sequence], replace(config, sees_choices=False)).pair_local == LOCAL_ACTION).any()
    assert read
