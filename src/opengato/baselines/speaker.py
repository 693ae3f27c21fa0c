"""Words, one after the other, about what was seen."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as F

from opengato.tokens.vocabulary import TEXT_SIZE

_REST = 0.01  # share of the probability that is spread over all tokens, also those that training never had


class Speaker(nn.Module):
    """A small GRU over P pieces, the last of which ends a text; it begins with what was seen as its state."""

    def __init__(self, width: int, pieces: int, memory: int):
        super().__init__()
        self.pieces = pieces
        self.embedding = nn.Embedding(pieces + 1, memory)  # the one more begins
        self.begin, self.gru, self.head = nn.Linear(width, memory), nn.GRU(memory, memory, batch_first=True), nn.Linear(memory, pieces)

    def forward(self, seen: torch.Tensor, words: torch.Tensor) -> torch.Tensor:
        """Of features (B, width) and texts int64 (B, length), -1 after their end: nats of every token, (B, length), 0 after the end.

        Of a token that it does not know (`pieces`) it knows as little as of any other: see `_REST`, which only counts outside training.
        """
        words = words[:, : max(int((words >= 0).sum(1).max()), 1)]
        before = F.pad(words[:, :-1].clamp(min=0), (1, 0), value=self.pieces)
        hidden, _ = self.gru(self.embedding(before), self.begin(seen).tanh()[None])
        spoken = words.clamp(0, self.pieces - 1)
        nats = -self.head(hidden).log_softmax(-1).gather(-1, spoken[..., None])[..., 0]
        if not self.training:
            rest = math.log(TEXT_SIZE / _REST)
            mixed = -torch.logaddexp(math.log(1 - _REST) - nats, torch.full_like(nats, -rest))
            nats = torch.where(words == self.pieces, rest, mixed)
        return nats * (words >= 0)

    def say(self, seen: torch.Tensor, longest: int) -> list[list[int]]:
        """Of features (B, width) the likeliest pieces, one by one, up to and with the end, which comes after `longest` at the latest."""
        memory = self.begin(seen).tanh()[None]
        word = torch.full((len(seen), 1), self.pieces)
        said = []
        for _ in range(longest):
            hidden, memory = self.gru(self.embedding(word), memory)
            word = self.head(hidden).argmax(-1)
            said.append(word)
        texts = torch.cat(said, 1).tolist()
        end = self.pieces - 1
        return [[*(text[: text.index(end)] if end in text else text), end] for text in texts]
