"""What a folded position is told of its members and numbers."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from opengato.mixture import Sequence
from opengato.model.batch import _readers, collate
from opengato.model.config import ModelConfig
from opengato.model.embedding import TABLE_STD, SetEmbedding, TokenTable, _Sums
from opengato.tokens.continuous import to_bins
from opengato.tokens.vocabulary import CONTINUOUS, DISCRETE, VOCABULARY_SIZE

CONFIG = ModelConfig("swift", 1, 1, 64, 128, 64, context=4, set_width=256, patches_per_position=2)


def plain_sequence(positions):
    """One position for each list of (kind, token, local, value)."""
    flat = [(kind, token, local, value, at) for at, members in enumerate(positions) for kind, token, local, value in members]
    kinds = np.array([f[0] for f in flat], np.uint8)
    count, none = len(positions), np.zeros((0, 16, 16, 3), np.uint8)
    empty = np.zeros(0, np.int64)
    return Sequence(
        np.array([f[1] for f in flat]),
        kinds,
        np.array([f[2] for f in flat]),
        np.array([f[4] for f in flat]),
        np.zeros(len(flat), bool),
        np.zeros(len(flat), np.int64),
        np.array([f[3] for f in flat if f[0] == CONTINUOUS], np.float32),
        np.zeros(count, np.int64),
        np.zeros(count, np.int64),
        np.arange(count),
        none,
        empty,
        empty,
        count,
    )


def batch(positions):
    return collate([plain_sequence(positions)], CONFIG)


def summed(embedding, positions):
    """What the set network is given, before its norm."""
    found = []
    handle = embedding.norm.register_forward_pre_hook(lambda _, inputs: found.append(inputs[0]))
    with torch.no_grad():
        embedding(batch(positions))
    handle.remove()
    return found[0]


def test_exchanged_places_differ_as_much_as_other_tokens():
    """The fault that made swift learn less than a plain network: a sum that hardly told who was where."""
    torch.manual_seed(0)
    embedding = SetEmbedding(CONFIG).eval()
    rng = np.random.default_rng(0)
    exchanged, others = [], []
    for _ in range(50):
        a, b, c, d = rng.choice(1024, 4, replace=False)
        first, second, third = ([(DISCRETE, x, 3, 0), (DISCRETE, y, 4, 0)] for x, y in ((a, b), (b, a), (c, d)))
        x = summed(embedding, [first, second, third])
        exchanged.append((x[0] - x[1]).norm().item())
        others.append((x[0] - x[2]).norm().item())
    assert np.mean(exchanged) > 0.8 * np.mean(others)


def test_numbers_are_a_linear_layer_over_their_index():
    torch.manual_seed(0)
    embedding = SetEmbedding(CONFIG).eval()
    values = np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32)
    x = summed(embedding, [[(CONTINUOUS, 32000, i, v) for i, v in enumerate(row)] for row in values])
    wanted = torch.from_numpy(values) @ embedding.numbers.weight[:5] + embedding.count.weight[5]
    torch.testing.assert_close(x, wanted.detach())


def test_numbers_of_different_bodies_stand_in_one_batch():
    torch.manual_seed(0)
    embedding = SetEmbedding(CONFIG).eval()
    arm, pole = [(CONTINUOUS, 32000, i, 0.5) for i in range(6)], [(CONTINUOUS, 32000, i, -1.0) for i in range(2)]
    word = [(DISCRETE, 7, 0, 0)]
    together = summed(embedding, [arm, word, pole])
    for at, alone in enumerate((arm, word, pole)):
        torch.testing.assert_close(together[at], summed(embedding, [alone])[0])


def test_numbers_count_from_0_whatever_stands_before_them():
    """An instruction of another length does not move them to other weights."""
    torch.manual_seed(0)
    embedding = SetEmbedding(CONFIG).eval()
    pose = [0.3, -0.7]
    differences = []
    for words in (2, 5):
        mission = [(DISCRETE, 9, i, 0) for i in range(words)]
        with_pose = [*mission, *((CONTINUOUS, 32000, words + i, v) for i, v in enumerate(pose))]
        x = summed(embedding, [mission, with_pose])
        differences.append(x[1] - x[0])
    torch.testing.assert_close(differences[0], differences[1])


def test_the_table_in_parts_is_one_table():
    torch.manual_seed(0)
    table = TokenTable(8)
    whole = torch.cat(table.rows())
    assert whole.shape == (VOCABULARY_SIZE, 8) and whole.std().item() == pytest.approx(TABLE_STD, rel=0.02)
    ids = torch.tensor([0, 1023, 1024, 31999, 32000, 33023, 33024])
    for mode in (table.train(), table.eval()):
        torch.testing.assert_close(mode(ids), whole[ids])
    for start, stop in ((0, 7), (0, 1024), (0, 32000), (32000, 33024), (1000, 32001)):
        torch.testing.assert_close(torch.cat(table.rows(start, stop)), whole[start:stop])


def test_a_step_without_words_leaves_them_alone():
    table = TokenTable(8).train()
    table(torch.tensor([3, 33024])).sum().backward()
    assert table.words.weight.grad is None and table.common.weight.grad is not None
    table(torch.tensor([3, 2000])).sum().backward()
    assert table.words.weight.grad[2000 - 1024].eq(1).all()


def test_the_papers_form_may_read_standardised_bins():
    """The same body, whatever its units: with mu-law its bins differ."""
    rng = np.random.default_rng(0)
    deviations = np.clip(rng.normal(size=(6, 2)), -3.9, 3.9).astype(np.float32)
    gato = ModelConfig("gato", 1, 1, 32, 64, 32, context=24, standardised=True)
    tokens = {}
    for config in (gato, replace(gato, standardised=False)):
        sequence = plain_sequence([[(CONTINUOUS, 32000 + i, i, v) for i, v in enumerate(row)] for row in deviations])
        tokens[config.standardised] = collate([sequence], config)
        assert not len(tokens[config.standardised].numbers)
    read = tokens[True].pair_tokens[tokens[True].members].numpy()
    np.testing.assert_array_equal(read, to_bins(deviations.ravel() / 4))
    assert set(tokens[False].pair_tokens.tolist()) == {32000, 32001}


@given(st.lists(st.lists(st.integers(0, 6), max_size=5), min_size=1, max_size=12))
def test_sums_of_members_and_their_gradients_are_pytorchs(positions):
    """Positions without members, pairs that nobody reads and those that a position reads twice among them."""
    members = np.array([pair for position in positions for pair in position], np.int64)
    starts = np.cumsum([0, *map(len, positions)])[:-1]
    parts = [torch.from_numpy(members), torch.from_numpy(starts)]
    pair, weight = torch.randn(7, 3, dtype=torch.float64), torch.randn(len(positions), 3, dtype=torch.float64)
    found = []
    for sums in (
        lambda x: F.embedding_bag(parts[0], x, parts[1], mode="sum"),
        lambda x: _Sums.apply(x, *parts, *_readers(members, starts, 7)),
    ):
        x = pair.clone().requires_grad_()
        out = sums(x)
        (out * weight).sum().backward()
        found.append((out.detach(), x.grad))
    assert torch.equal(found[0][0], found[1][0]) and torch.allclose(found[0][1], found[1][1], atol=1e-12)
