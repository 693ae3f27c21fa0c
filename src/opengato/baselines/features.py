"""What a baseline sees of a timestep: numbers in standard deviations, and everything else as one-hots."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from opengato.baselines.columns import Column, Texts
from opengato.tokens.layout import Layout
from opengato.tokens.statistics import standardise
from opengato.tokens.text import TextTokenizer
from opengato.tokens.vocabulary import CONTINUOUS, DISCRETE, GRIDS, IMAGE, TEXT, WORD


@dataclass
class Inputs:
    """B observations.

    Attributes:
        numbers: float32 (B, C). hot: int64 (B, K), the columns that are 1 (see `Features`). tasks: int64 (B,), their number in the group.
        frames: uint8 (B, H, W, channels) of every image field, in order.
    """

    numbers: torch.Tensor
    hot: torch.Tensor
    tasks: torch.Tensor
    frames: list[torch.Tensor]


class Features:
    """Observations of one layout as vectors.

    Numbers are standardised by the layout's statistics. A discrete entry has a column for each value that the data has. So has each
    place in a text for its words, and one more set of columns tells which words there are at all. What the data never had is not seen.

    Args:
        seen: path -> of every entry (of a text: of every place) the values (of a text: the numbers of words) that the data has.
        words: path of a text -> its words, in order of their numbers.
        tasks: how many one-hot columns tell the task; 0: it is not told.

    Attributes:
        numbers: C. hot: columns of the one-hots, W. width: of the vector, C + W + tasks. images: the image fields.
    """

    def __init__(
        self, layout: Layout, seen: dict[str, list[list[int]]], words: dict[str, list[str]], tokenizer: TextTokenizer, tasks: int = 0
    ):
        self.layout, self.seen, self.words, self.tasks = layout, seen, words, tasks
        self.numbers = layout.numbers
        self.images = [field for field in layout.observation if field.kind == IMAGE]
        self._tokenizer = tokenizer
        self._word_ids = {path: {word: number for number, word in enumerate(known)} for path, known in words.items()}
        self._tables: dict[str, np.ndarray] = {}  # path -> (entries, values) to columns
        self._bags: dict[str, int] = {}  # path of a text -> first column of its bag of words
        self.hot = 0
        for path, entries in seen.items():
            table = np.full((len(entries), 1 + max((max(values) for values in entries if values), default=0)), -1, np.int64)
            for entry, values in enumerate(entries):
                table[entry, values] = self.hot + np.arange(len(values))
                self.hot += len(values)
            self._tables[path] = table
            if path in words:
                self._bags[path] = self.hot
                self.hot += len(words[path])
        self.width = self.numbers + self.hot + tasks

    @classmethod
    def fit(cls, layout: Layout, data: list[dict[str, Column]], tokenizer: TextTokenizer, words: int, tasks: int = 0) -> Features:
        """Of a layout with statistics, and the observed columns of its datasets; `words`: how many of a text's are seen."""
        seen: dict[str, list[list[int]]] = {}
        known: dict[str, list[str]] = {}
        for field in layout.observation:
            if field.kind == DISCRETE or field.kind in GRIDS:
                assert field.high is not None and field.count is not None
                there = np.zeros((field.count, int(field.high.max())), bool)
                for observed in data:
                    there[np.arange(field.count), np.asarray(observed[field.path])] = True
                seen[field.path] = [np.flatnonzero(row).tolist() for row in there]
            elif field.kind in (TEXT, WORD):
                texts: set[tuple[int, ...]] = set()
                for observed in data:
                    column = observed[field.path]
                    assert isinstance(column, Texts)
                    texts |= set(column.unique)
                said = [_words(tokenizer, ids)[:words] for ids in texts]
                known[field.path] = sorted(set().union(*said))
                number = {word: n for n, word in enumerate(known[field.path])}
                places = range(max(map(len, said), default=0))
                seen[field.path] = [sorted({number[text[place]] for text in said if len(text) > place}) for place in places]
        return cls(layout, seen, known, tokenizer, tasks)

    def arrays(self, observed: dict[str, Column], length: int) -> tuple[np.ndarray, np.ndarray]:
        """T = `length` observations, as columns, to their numbers, float32 (T, C), and the columns that are 1, (T, K); W is none."""
        bins = [np.asarray(observed[field.path]) for field in self.layout.observation if field.kind == CONTINUOUS]
        numbers = standardise(np.concatenate(bins, 1).ravel(), self.layout.statistics) if bins else np.zeros(0, np.float32)
        hot = [self._hot(path, observed[path]) for path in self._tables]
        together = np.concatenate(hot, 1) if hot else np.zeros((length, 0), np.int64)
        return numbers.reshape(length, self.numbers), together.astype(np.uint16 if self.hot < 65_536 else np.int32)

    def dense(self, inputs: Inputs) -> torch.Tensor:
        """The vectors, float32 (B, width)."""
        rows = len(inputs.tasks)
        hot = inputs.numbers.new_zeros(rows, self.hot + 1).scatter_(1, inputs.hot, 1.0)[:, : self.hot]
        parts = [inputs.numbers, hot]
        if self.tasks:
            parts.append(torch.nn.functional.one_hot(inputs.tasks, self.tasks).float())
        return torch.cat(parts, 1)

    def to_json(self) -> dict[str, Any]:
        return {"seen": self.seen, "words": self.words, "tasks_told": self.tasks}

    @classmethod
    def from_json(cls, layout: Layout, data: dict[str, Any], tokenizer: TextTokenizer) -> Features:
        return cls(layout, data["seen"], data["words"], tokenizer, data["tasks_told"])

    def _hot(self, path: str, column: Column) -> np.ndarray:
        table = self._tables[path]
        entries = np.arange(len(table))
        if not isinstance(column, Texts):
            return self._columns(table, entries, column)
        ids = np.full((len(column.unique), len(table)), -1, np.int64)
        for row, text in enumerate(column.unique):
            numbers = [self._word_ids[path].get(word, -1) for word in _words(self._tokenizer, text)[: len(table)]]
            ids[row, : len(numbers)] = numbers
        bag = np.where(ids >= 0, self._bags[path] + ids, self.hot)
        return np.concatenate([self._columns(table, entries, ids), bag], 1)[column.index]

    def _columns(self, table: np.ndarray, entries: np.ndarray, ids: np.ndarray) -> np.ndarray:
        known = (ids >= 0) & (ids < table.shape[1])
        found = table[entries, np.where(known, ids, 0)]
        return np.where(known & (found >= 0), found, self.hot)


def _words(tokenizer: TextTokenizer, ids: tuple[int, ...]) -> list[str]:
    return re.findall(r"\w+", tokenizer.decode(list(ids)).lower())
