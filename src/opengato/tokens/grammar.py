"""Which token may follow in an action: its kind, its legal ids, and when the action is whole."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from opengato.tokens.fields import Field
from opengato.tokens.layout import Layout
from opengato.tokens.vocabulary import ACTION_CONTINUOUS, ACTION_DISCRETE, DISCRETE_SIZE, TARGET_RANGES


class ActionGrammar:
    """The actions of a layout, token by token.

    Args:
        end: the id that ends a text. longest: tokens of a text, which ends there without it.
        one_by_one: a hidden state predicts one token, as in the paper; else all numbers up to the end, or to a text's next token.

    Attributes:
        has_text: whether some of an action is text, which takes one pass a token, as many as it has.
    """

    def __init__(self, layout: Layout, end: int, longest: int, one_by_one: bool):
        self.layout, self.end, self.longest, self.one_by_one = layout, end, longest, one_by_one
        self.has_text = any(field.count is None for field in layout.action)
        numbers = [] if self.has_text else [_legal(field, entry) for field in layout.action for entry in range(field.count or 0)]
        self._numbers: list[tuple[int, int]] = numbers  # of all tokens, where none is text

    def following(self, tokens: Sequence[int]) -> list[tuple[int, int]]:
        """The legal ids [start, stop) of each token that is predicted next, after those that are chosen already."""
        if not self.has_text:
            return self._numbers[len(tokens) : len(tokens) + 1] if self.one_by_one else self._numbers[len(tokens) :]
        legal: list[tuple[int, int]] = []
        while True:
            field, entry = self._field([*tokens, *[0] * len(legal)])
            if field is None:
                return legal
            legal.append(_legal(field, entry))
            if self.one_by_one or field.count is None:
                return legal

    def after(self, tokens: Sequence[int]) -> tuple[int, bool]:
        """The kind of the last token, and whether the action is whole with it."""
        if not self.has_text:
            discrete = self._numbers[len(tokens) - 1][1] <= DISCRETE_SIZE
            return ACTION_DISCRETE if discrete else ACTION_CONTINUOUS, len(tokens) == len(self._numbers)
        field, _ = self._field(tokens[:-1])
        assert field is not None
        return field.kind, self._field(tokens)[0] is None

    def _field(self, tokens: Sequence[int]) -> tuple[Field | None, int]:
        """The field that the next token belongs to, None after the last one, and its entry in it."""
        at = 0
        for field in self.layout.action:
            if field.count is None:
                text = list(tokens[at:])
                length = text.index(self.end) + 1 if self.end in text else self.longest
                if len(text) < length:
                    return field, len(text)
                at += length
            else:
                if len(tokens) < at + field.count:
                    return field, len(tokens) - at
                at += field.count
        return None, 0


def _legal(field: Field, entry: int) -> tuple[int, int]:
    """The legal ids of one number of a field, or of a text's token."""
    if field.kind != ACTION_DISCRETE:
        return TARGET_RANGES[field.kind]
    assert field.high is not None
    return 0, int(np.ravel(field.high)[entry])
