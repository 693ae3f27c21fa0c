"""What a network sees of the cells of a grid."""

import numpy as np
import torch
import torch.nn.functional as F
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st

from opengato.episode import Episode
from opengato.mixture.packing import Loose, pack_alone
from opengato.model.batch import collate
from opengato.model.config import ModelConfig
from opengato.model.embedding import TABLE_STD, SetEmbedding
from opengato.model.glances import KEY_SIZE, ROUNDS
from opengato.tokens.compact import Form
from opengato.tokens.encode import encode
from opengato.tokens.layout import Layout
from opengato.tokens.spaces import text_space
from opengato.tokens.text import TextTokenizer
from opengato.tokens.vocabulary import DISCRETE, GRID

CONFIG = ModelConfig("swift", 1, 1, 32, 64, 32, context=16, set_width=48, patches_per_position=2, glances=3)
TOKENIZER = TextTokenizer.load()


def sequence(observation_space, observations, length, positions=16):
    """One window of an agent that sees these."""
    layout = Layout(observation_space, spaces.Discrete(3))
    encoded = encode(layout, Episode(observations, np.zeros(length, np.int64), np.zeros(length, np.float32), "grid/a"), TOKENIZER)
    return pack_alone(Loose(encoded, Form(layout)), layout, positions, CONFIG.fold, np.random.default_rng(0))


def kinds(space):
    return [field.kind for field in Layout(space, spaces.Discrete(2)).observation]


def test_what_is_a_grid():
    assert kinds(spaces.MultiDiscrete(np.full((7, 7, 3), 11))) == [GRID + 2]  # MiniGrid's view
    assert kinds(spaces.MultiDiscrete(np.full((10, 10), 7))) == [GRID]  # Sokoban's room
    assert kinds(spaces.Box(0, 3, (5, 4), np.int64)) == [GRID] == kinds(spaces.MultiBinary((3, 3)))
    assert kinds(spaces.MultiDiscrete(np.full((6, 6, 5), 2))) == [GRID]  # of its five planes each entry is a cell
    assert kinds(spaces.MultiDiscrete([3, 4])) == [DISCRETE] == kinds(spaces.Discrete(4))
    assert kinds(spaces.MultiDiscrete(np.full((30, 30), 7))) == [DISCRETE]  # more entries than places are told apart


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 4), st.integers(1, 6), st.booleans(), st.integers(0, 2**32 - 1))
def test_cells_are_the_grids(rows, columns, symbols, length, beside, seed):
    """Of every timestep all cells in their order, whatever else is observed, in batches of grids of several sizes."""
    rng = np.random.default_rng(seed)
    board = rng.integers(0, 1024, (length, rows, columns, symbols))
    other = rng.integers(0, 2, (2, 3, 3))
    space, seen = spaces.MultiDiscrete(np.full((rows, columns, symbols), 1024)), board
    if beside:
        space = spaces.Dict(a=spaces.Discrete(4), board=space, mission=text_space())
        seen = {"a": rng.integers(0, 4, length), "board": board, "mission": [f"go {'on ' * t}" for t in range(length)]}
    batch = collate([sequence(space, seen, length), sequence(spaces.MultiDiscrete(np.full((3, 3), 2)), other, 2)], CONFIG)
    assert batch.cell_positions.tolist() == [*range(length), 16, 17]
    assert len(np.unique(batch.cell_symbols, axis=0)) == len(batch.cell_symbols)
    for row, grid in zip(batch.cells, [*board.reshape(length, -1, symbols), *other.reshape(2, -1, 1)], strict=True):
        found = batch.cell_symbols[row[row >= 0]]
        assert (row[len(grid) :] == -1).all()
        np.testing.assert_array_equal(found[:, : grid.shape[1]], grid)
        assert (found[:, grid.shape[1] :] == -1).all()


def test_a_batch_without_grids_has_no_cells():
    assert collate([sequence(spaces.Discrete(4), np.arange(3), 3)], CONFIG).cells is None


def test_what_is_seen_is_an_attention_over_cells():
    """Position by position, cell by cell, from the definition."""
    torch.manual_seed(0)
    embedding = SetEmbedding(CONFIG).double().eval()
    glances = embedding.glances
    torch.nn.init.normal_(glances.habits.weight)
    rng = np.random.default_rng(0)
    boards = {2: rng.integers(0, 4, (5, 3, 2, 2)), 1: rng.integers(0, 9, (4, 2, 2))}
    sequences = [sequence(spaces.MultiDiscrete(np.full(b.shape[1:], 9)), b, len(b)) for b in boards.values()]
    batch = collate(sequences, CONFIG)
    x = torch.randn(32, CONFIG.set_width, dtype=torch.float64)
    found = glances(x, embedding.symbols(batch), batch)
    expected = x.clone()
    for at, (symbols, board) in zip((0, 16), boards.items()):
        for t, grid in enumerate(board.reshape(len(board), -1, symbols)):
            vectors = embedding.tokens(torch.from_numpy(grid).flatten()).view(*grid.shape, -1) / TABLE_STD
            content = F.gelu(glances.norm(glances.content((vectors * glances.symbol.weight[:symbols]).sum(1))), approximate="tanh")
            told = glances.value(content) + glances.place.weight[: len(grid)]
            for number, (question, answer) in enumerate(zip(glances.questions, glances.answers)):
                asked = question(expected[at + t]).view(3, KEY_SIZE)
                seen = []
                for head in range(3):
                    keys = glances.keys(content).view(-1, ROUNDS, 3, KEY_SIZE)[:, number, head]
                    habit = glances.habits.weight[: len(grid), 3 * number + head]
                    seen.append((keys @ asked[head] / KEY_SIZE**0.5 + habit).softmax(0) @ told)
                expected[at + t] = expected[at + t] + answer(torch.cat(seen))
    torch.testing.assert_close(found, expected)
    assert not torch.allclose(found[:4], x[:4]) and torch.equal(found[5:16], x[5:16])
