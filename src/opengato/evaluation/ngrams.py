"""The simplest writers: words by how often they are said, and interpolated Kneser-Ney (Chen and Goodman, 1999), over tokens.

What a network makes of a text must be beaten by nobody who only counts. Counts are sorted arrays of 64-bit hashes of n-grams, so that
tens of millions of tokens take seconds and a few hundred megabytes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

_MIX, _STEP = np.uint64(0x9E3779B97F4A7C15), np.uint64(31)


@dataclass(frozen=True)
class _Order:
    """The n-grams of one length: their sorted hashes and counts, and of their contexts hashes, total counts and numbers of followers."""

    grams: np.ndarray
    counts: np.ndarray
    contexts: np.ndarray
    totals: np.ndarray
    followers: np.ndarray
    discount: float


class KneserNey:
    """Interpolated Kneser-Ney of an order, 1 being the unigram, fitted on documents.

    Args:
        documents: token ids, int (N,) each, their end token included. vocabulary: how many different tokens there may be.
        order: of the longest n-grams.
    """

    def __init__(self, documents: Iterable[np.ndarray], vocabulary: int, order: int = 5):
        self.order, self.vocabulary = order, vocabulary
        padded = [self._padded(document) for document in documents]
        text = np.concatenate(padded)
        said = np.concatenate([np.arange(len(one)) >= order - 1 for one in padded])  # not the padding before a document
        places = np.flatnonzero(said)
        self._orders: list[_Order] = []
        for n in range(order, 0, -1):
            # The longest are counted as often as they are said, shorter ones by how many different words stand before them.
            counted = places if n == order else places[np.unique(_hashes(text, n + 1)[places], return_index=True)[1]]
            self._orders.insert(0, _count(_hashes(text, n)[counted], _hashes(text, n - 1, lag=1)[counted]))

    def _padded(self, document: np.ndarray) -> np.ndarray:
        """With places before its beginning that no token has."""
        return np.concatenate([np.full(self.order - 1, self.vocabulary, np.int64), np.asarray(document, np.int64)])

    def nats(self, document: np.ndarray) -> np.ndarray:
        """Of every token of a document, float64 (N,), how unlikely it was after those before it."""
        text = self._padded(document)
        chance = np.full(len(text), 1.0 / self.vocabulary)
        for n, order in enumerate(self._orders, 1):
            count = _look_up(order.grams, order.counts, _hashes(text, n))
            context = _hashes(text, n - 1, lag=1)
            total, followers = (_look_up(order.contexts, of, context) for of in (order.totals, order.followers))
            known = total > 0
            mixed = (np.maximum(count - order.discount, 0) + order.discount * followers * chance) / np.maximum(total, 1)
            chance = np.where(known, mixed, chance)
        found: np.ndarray = -np.log(chance[self.order - 1 :])
        return found


def _hashes(text: np.ndarray, n: int, lag: int = 0) -> np.ndarray:
    """Of every place the hash of the n tokens that end `lag` before it, uint64 (N,); of none it is 0."""
    found = np.zeros(len(text), np.uint64)
    for back in range(n - 1 + lag, lag - 1, -1):
        token = np.roll(text, back).astype(np.uint64) + np.uint64(1)
        found = (found ^ token) * _MIX
        found ^= found >> _STEP
    return found


def _count(grams: np.ndarray, contexts: np.ndarray) -> _Order:
    distinct, first, counts = np.unique(grams, return_index=True, return_counts=True)
    before, row, followers = np.unique(contexts[first], return_inverse=True, return_counts=True)
    totals = np.bincount(row, counts)
    once, twice = int((counts == 1).sum()), int((counts == 2).sum())
    discount = once / (once + 2 * twice) if once and twice else 0.5
    return _Order(distinct, counts.astype(np.float64), before, totals, followers.astype(np.float64), discount)


def _look_up(keys: np.ndarray, values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The values of the wanted keys, 0 of those that are not there."""
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[at] == wanted, values[at], 0.0)
