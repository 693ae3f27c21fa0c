"""Actions after its own that a timestep's position predicts: which, from where, and where they end."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from gymnasium import spaces

from opengato.datasets.dataset import Episodes
from opengato.datasets.tokenise import tokenise
from opengato.episode import Episode, student_of
from opengato.errors import OpenGatoError
from opengato.mixture import Mixture, Sampling
from opengato.mixture.packing import Loose, pack_alone
from opengato.model.batch import collate
from opengato.model.config import ModelConfig
from opengato.model.gato import Gato
from opengato.tokens.compact import Form
from opengato.tokens.encode import encode
from opengato.tokens.fold import Fold
from opengato.tokens.layout import Layout
from opengato.tokens.spaces import text_space
from opengato.tokens.text import TextTokenizer
from opengato.tokens.vocabulary import ACTION_DISCRETE

TOKENIZER = TextTokenizer.load()
CHUNK = 4
LENGTHS = (30, 50, 1, 7, 2)
CORRECTED = 3  # the number of the episode that an expert relabelled
CONFIG = ModelConfig("swift", 2, 2, 32, 64, 16, context=128, set_width=32, patches_per_position=2, chunk=CHUNK)


@pytest.fixture(scope="module")
def datasets(tmp_path_factory):
    """An arm and a camera, whose actions say which episode and timestep they are of, and a talk."""
    root = tmp_path_factory.mktemp("cache")

    def acting(task, space, see):
        episodes = []
        for number, length in enumerate(LENGTHS):
            said = np.stack([np.full(length, number), np.arange(length)], 1)
            source = student_of(1) if number == CORRECTED else "expert"
            episodes.append(Episode(see(length), said, np.ones(length, np.float32), task, source))
        return tokenise(Episodes(task, space, spaces.MultiDiscrete([9, 60]), episodes, "1"), TOKENIZER, root)

    rng = np.random.default_rng(0)
    talk = [Episode(["how are you"] * 3, ["fine", "good", "well"], np.zeros(3, np.float32), "talk/c")] * 3
    return [
        acting("arm/a", spaces.Box(-99, 99, (3,)), lambda length: rng.normal(size=(length, 3)).astype(np.float32)),
        acting("see/b", spaces.Box(0, 255, (32, 32, 3), np.uint8), lambda length: rng.integers(0, 256, (length, 32, 32, 3), np.uint8)),
        tokenise(Episodes("talk/c", text_space(), text_space(), talk, "1"), TOKENIZER, root),
    ]


def make(datasets, **sampling):
    weights = {data.domain: 1.0 for data in datasets}
    return Mixture(datasets, weights, 128, Fold(2), 0, Sampling(**{"moments": 4, **sampling}), chunk=CHUNK)


@pytest.mark.parametrize("short", [0.0, 0.7])
def test_each_position_predicts_the_next_actions_of_its_own_episode(datasets, short):
    mix, seen, domains = make(datasets, short_share=short, prompt_share=0.5), 0, set()
    for n in range(60):
        sequence = mix.sequence(n)
        number = np.flatnonzero(sequence.predicted & (sequence.kinds == ACTION_DISCRETE))
        firsts = number[::2]  # an action says its episode and its timestep
        wanted = set()
        for at in firsts:
            episode, timestep, domain = int(sequence.tokens[at]), int(sequence.tokens[at + 1]), int(sequence.domains[at])
            for ahead in range(1, CHUNK):
                if timestep + ahead < LENGTHS[episode] and episode != CORRECTED:
                    wanted.add((int(sequence.positions[at]) - 1, 2 * ahead, episode, domain))
                    wanted.add((int(sequence.positions[at]) - 1, 2 * ahead + 1, timestep + ahead, domain))
        later = sequence.later
        found = list(zip(*(column.tolist() for column in (later.predictors, later.index, later.tokens, later.domains))))
        assert len(set(found)) == len(found) and set(found) == wanted
        assert (later.kinds == ACTION_DISCRETE).all()
        seen, domains = seen + len(found), domains | set(later.domains.tolist())
    assert seen > 5000 and domains == {0, 1}  # words have none


def test_nothing_else_of_a_sequence_changes(datasets):
    weights = {data.domain: 1.0 for data in datasets[:2]}
    with_chunk, without = make(datasets[:2]), Mixture(datasets[:2], weights, 128, Fold(2), 0, Sampling(moments=4))
    for n in range(20):
        ours, plain = vars(with_chunk.sequence(n)), vars(without.sequence(n))
        assert not len(plain.pop("later").tokens) and len(ours.pop("later").tokens)
        for left, right in zip(ours.values(), plain.values(), strict=True):
            np.testing.assert_array_equal(left, right)


def test_the_loss_is_of_the_scores_that_the_head_gives_for_each_rank(datasets):
    torch.manual_seed(0)
    mix, model = make(datasets[:2], short_share=0.5), Gato(CONFIG).double().eval()
    sequences = [mix.sequence(n) for n in range(6)]
    batch = collate(sequences, CONFIG)
    losses, hidden = model(batch), model.hidden(batch).flatten(0, 1)
    first = int(sum(s.predicted.sum() for s in sequences))
    rows = [
        (128 * row + at, index, token)
        for row, s in enumerate(sequences)
        for at, index, token in zip(s.later.predictors, s.later.index, s.later.tokens)
    ]
    assert len(losses) == first + len(rows)
    at, index, tokens = (torch.tensor([int(row[n]) for row in rows]) for n in range(3))
    expected = F.cross_entropy(model.logits(hidden[at], 0, 1024, index), tokens, reduction="none")
    torch.testing.assert_close(losses[first:].float(), expected, rtol=1e-4, atol=1e-5)
    # A position that predicts counts once, however many actions it predicts.
    assert batch.shares().sum().item() == pytest.approx(len(batch.target_positions.unique()))


def test_a_window_that_is_in_no_store_ends_with_itself():
    layout = Layout(spaces.Box(-9, 9, (2,), np.float32), spaces.Discrete(9))
    episode = Episode(np.zeros((5, 2), np.float32), np.arange(5), np.zeros(5, np.float32), "arm/a")
    sequence = pack_alone(Loose(encode(layout, episode, TOKENIZER), Form(layout)), layout, 64, Fold(2), np.random.default_rng(0), CHUNK)
    found = sorted(zip(sequence.later.predictors.tolist(), sequence.later.index.tolist(), sequence.later.tokens.tolist()))
    assert found == [(t, ahead, t + ahead) for t in range(5) for ahead in range(1, CHUNK) if t + ahead < 5]


def test_so_many_actions_as_a_head_tells_apart():
    seen = spaces.Box(-9, 9, (2,), np.float32)
    assert Layout(seen, spaces.Box(-1, 1, (60,), np.float32)).in_a_row(8) == 4  # of 256 numbers
    assert Layout(seen, spaces.Box(-1, 1, (60,), np.float32)).in_a_row(2) == 2
    assert Layout(seen, spaces.Box(-1, 1, (256,), np.float32)).in_a_row(8) == 1
    assert Layout(text_space(), text_space()).in_a_row(8) == 1
    with pytest.raises(OpenGatoError, match="chunk is 4 for family 'gato'"):
        ModelConfig("gato", 2, 2, 32, 64, 16, chunk=4)
    with pytest.raises(OpenGatoError, match="chunk is 0"):
        ModelConfig("swift", 2, 2, 32, 64, 16, set_width=32, patches_per_position=2, chunk=0)
