"""What a baseline is to do: the numbers of its actions by their distance, their choices by cross-entropy, their words one by one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional as F

from opengato.baselines.columns import Column, Texts
from opengato.tokens.continuous import bin_centres, to_bins
from opengato.tokens.layout import Layout
from opengato.tokens.vocabulary import ACTION_CONTINUOUS, ACTION_TEXT

TEMPERATURE = 0.7  # of discrete actions, as the engine has it: a greedy agent can repeat an error for ever


class Targets:
    """The actions of one layout.

    Attributes:
        speaks: whether the action is a text. numbers: A, continuous entries, which live in [-1, 1]. sizes: choices of each discrete entry.
        width: of a network's output: A numbers, and then the logits of every discrete entry.
        pieces: of a text, the token ids that the data has, and last the one that ends it.
    """

    def __init__(self, layout: Layout, pieces: Sequence[int] = ()):
        self.pieces = np.array(pieces, np.int64)
        self.speaks = any(field.kind == ACTION_TEXT for field in layout.action)
        kinds: list[bool] = []
        self.sizes: list[int] = []
        for field in layout.action:
            kinds += [field.kind == ACTION_CONTINUOUS] * (field.count or 0)
            if not self.speaks and field.kind != ACTION_CONTINUOUS:
                assert field.high is not None
                self.sizes += field.high.tolist()
        self._is_number = np.array(kinds, bool)
        self._paths = [field.path for field in layout.action]
        self.numbers = int(self._is_number.sum())
        self.width = self.numbers + sum(self.sizes)

    def arrays(self, acted: dict[str, Column]) -> tuple[np.ndarray, np.ndarray]:
        """T actions, as columns, to their numbers, float32 (T, A), and their choices, int64 (T, entries)."""
        ids = np.concatenate([np.asarray(acted[path]) for path in self._paths], 1)
        return bin_centres(ids[:, self._is_number]).astype(np.float32), ids[:, ~self._is_number].astype(np.int64)

    def spoken(self, acted: dict[str, Column], longest: int) -> np.ndarray:
        """T texts, each with its end token, to places in `pieces`, int64 (T, longest), cut there.

        A token that the data did not have is `len(pieces)`; after the end stands -1.
        """
        (column,) = acted.values()
        assert isinstance(column, Texts)
        out = np.full((len(column.unique), longest), -1, np.int64)
        place = {int(piece): number for number, piece in enumerate(self.pieces)}
        for row, text in enumerate(column.unique):
            said = [*(place.get(piece, len(place)) for piece in text), len(place) - 1][:longest]
            out[row, : len(said)] = said
        return out[column.index]

    def losses(self, out: torch.Tensor, numbers: torch.Tensor, choices: torch.Tensor) -> torch.Tensor:
        """Of outputs (B, width), by row: mean distance of the numbers, and mean cross-entropy of the choices, in nats; float32 (B,)."""
        total = out.new_zeros(len(out))
        if self.numbers:
            total = total + (out[:, : self.numbers] - numbers).abs().mean(1)
        if self.sizes:
            parts = out[:, self.numbers :].split(self.sizes, 1)
            entropies = [F.cross_entropy(part, choices[:, i], reduction="none") for i, part in enumerate(parts)]
            total = total + torch.stack(entropies).mean(0)
        return total

    def tokens(self, out: np.ndarray, chances: Sequence[np.random.Generator], temperature: float) -> np.ndarray:
        """Outputs (B, width) to action tokens, int64 (B, entries): choices drawn by each row's own chance, or at 0 the likeliest."""
        numbers = to_bins(out[:, : self.numbers])
        choices = np.empty((len(out), len(self.sizes)), np.int64)
        at = self.numbers
        for entry, size in enumerate(self.sizes):
            logits = np.float64(out[:, at : at + size])
            at += size
            if temperature <= 0:
                choices[:, entry] = logits.argmax(1)
                continue
            shares = np.exp((logits - logits.max(1, keepdims=True)) / temperature).cumsum(1)
            for row, chance in enumerate(chances):
                drawn = np.searchsorted(shares[row], chance.random() * shares[row, -1], side="right")
                choices[row, entry] = min(int(drawn), size - 1)
        tokens = np.empty((len(out), len(self._is_number)), np.int64)
        tokens[:, self._is_number], tokens[:, ~self._is_number] = numbers, choices
        return tokens
