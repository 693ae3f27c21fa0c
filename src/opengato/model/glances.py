"""What an agent looks at in a grid: attention over its cells, asked by all that it observes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from opengato.model.batch import Batch
from opengato.model.norm import RMSNorm
from opengato.tokens.vocabulary import LOCAL_POSITIONS, MOST_SYMBOLS

KEY_SIZE = 16
VALUE_SIZE = 32
ROUNDS = 2


class Glances(nn.Module):
    """Looks at the cells of a grid, `count` at a time, in two rounds: each sees what a cell holds and where it is.

    A sum of members tells what is where, but to find in it the one thing that an instruction names, a network must learn every cell anew.
    Here a cell is what its symbols are together, wherever it stands, so that what is learned of one cell holds for all of them. The second
    round asks knowing what the first one saw. Cells that hold the same are one row of keys and values, of which a batch has some hundred.

    Args:
        width: of the symbols' vectors. size: of what asks and is told, the hidden width of the set network.
    """

    def __init__(self, width: int, size: int, count: int):
        super().__init__()
        self.count = count
        self.symbol = nn.Embedding(MOST_SYMBOLS, width)  # which of its cell's symbols one is
        self.content = nn.Linear(width, size, bias=False)
        self.norm = RMSNorm(size)
        self.value = nn.Linear(size, VALUE_SIZE, bias=False)
        self.place = nn.Embedding(LOCAL_POSITIONS, VALUE_SIZE)
        self.keys = nn.Linear(size, ROUNDS * count * KEY_SIZE, bias=False)
        self.habits = nn.Embedding(LOCAL_POSITIONS, ROUNDS * count)  # where it looks whatever is there
        self.questions = nn.ModuleList(nn.Linear(size, count * KEY_SIZE, bias=False) for _ in range(ROUNDS))
        self.answers = nn.ModuleList(nn.Linear(count * VALUE_SIZE, size, bias=False) for _ in range(ROUNDS))
        nn.init.normal_(self.symbol.weight)
        nn.init.normal_(self.place.weight)
        nn.init.normal_(self.habits.weight, std=0.02)

    def forward(self, x: torch.Tensor, symbols: torch.Tensor, batch: Batch) -> torch.Tensor:
        """The normed sets (positions, size) with what they see in the batch's grids.

        `symbols`: (K, MOST_SYMBOLS, width), the vectors of the symbols of `batch.cell_symbols`, zeros where a cell has none.
        """
        assert batch.cells is not None and batch.cell_positions is not None
        content = self.content((symbols * self.symbol.weight).sum(1))
        content = F.gelu(self.norm(content.to(self.norm.weight.dtype)), approximate="tanh")
        values, places = self.value(content), self.place.weight[: batch.cells.shape[1]]
        nothing = (batch.cells < 0)[:, None]
        cells = batch.cells.clamp(min=0)[:, None].expand(-1, self.count, -1)  # (R, count, N)
        own = x.index_select(0, batch.cell_positions)
        wide = torch.promote_types(own.dtype, torch.float32)
        habits = self.habits.weight[: cells.shape[2]].to(wide).T.split(self.count)
        keys = self.keys(content).view(-1, ROUNDS, self.count, KEY_SIZE).permute(1, 2, 3, 0)
        for key, question, habit, answer in zip(keys, self.questions, habits, self.answers):
            asked = question(own).view(-1, self.count, KEY_SIZE)
            scores = (asked.transpose(0, 1) @ key).transpose(0, 1)  # of every content: (R, count, K)
            scores = scores.gather(2, cells).to(wide) / KEY_SIZE**0.5 + habit
            looks = scores.masked_fill(nothing, -torch.inf).softmax(-1)
            what = looks.new_zeros(scores.shape[:2] + values.shape[:1]).scatter_add(2, cells, looks)
            seen = F.linear(what.to(values.dtype), values.T) + F.linear(looks.to(places.dtype), places.T).to(values.dtype)
            own = own + answer(seen.flatten(1)).to(own.dtype)
        return x.index_copy(0, batch.cell_positions, own)
