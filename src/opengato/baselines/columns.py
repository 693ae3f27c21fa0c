"""Tokenised timesteps as one array a field, whatever their number: what a network that knows no sequences reads."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from opengato.datasets.cache import TokenDataset
from opengato.tokens.encode import Encoded
from opengato.tokens.layout import Layout
from opengato.tokens.vocabulary import ACTION_TEXT, IMAGE, TEXT, WORD

_CHUNK = 16_384  # timesteps whose indices are in memory at a time
_NOTHING = 65_535  # no token has this id


@dataclass(frozen=True)
class Texts:
    """T texts, those that repeat kept once.

    Attributes:
        unique: the token ids of each different text, without the end token. index: int64 (T,), which of them.
    """

    unique: list[tuple[int, ...]]
    index: np.ndarray


Column = np.ndarray | Texts


def columns(layout: Layout, data: Encoded | TokenDataset, eos: int, actions: bool = True) -> tuple[dict[str, Column], dict[str, Column]]:
    """The observation's and the action's fields by path: token ids uint16 (T, count), or `Texts`; images are left out.

    Args:
        data: T timesteps, offsets from 0. eos: the id that ends a text. actions: False where the timesteps end at their separator.
    """
    tokens, at = data.tokens, np.array(data.offsets[:-1])
    ends = np.zeros(0, np.int64)
    if any(field.count is None for field in (*layout.observation, *layout.action)):
        ends = np.flatnonzero(np.isin(data.kinds, (TEXT, WORD, ACTION_TEXT)) & (tokens == eos))
    sides: list[dict[str, Column]] = []
    for side in (layout.observation, layout.action if actions else ()):
        found: dict[str, Column] = {}
        for field in side:
            if field.count is None:
                stop = ends[np.searchsorted(ends, at)]
                found[field.path] = _texts(tokens, at, stop)
                at = stop + 1
                continue
            if field.kind != IMAGE:
                found[field.path] = _fixed(tokens, at, field.count)
            at = at + field.count
        sides.append(found)
        at = at + 1  # the separator
    return sides[0], sides[1]


def _fixed(tokens: np.ndarray, at: np.ndarray, count: int) -> np.ndarray:
    out = np.empty((len(at), count), np.uint16)
    for first in range(0, len(at), _CHUNK):
        out[first : first + _CHUNK] = tokens[at[first : first + _CHUNK, None] + np.arange(count)]
    return out


def _texts(tokens: np.ndarray, at: np.ndarray, stop: np.ndarray) -> Texts:
    numbers: dict[tuple[int, ...], int] = {}
    index = np.empty(len(at), np.int64)
    for first in range(0, len(at), _CHUNK):
        begin, lengths = at[first : first + _CHUNK], (stop - at)[first : first + _CHUNK]
        inside = np.arange(max(int(lengths.max()), 1)) < lengths[:, None]
        rows = np.full(inside.shape, _NOTHING, np.uint16)
        rows[inside] = tokens[(begin[:, None] + np.arange(inside.shape[1]))[inside]]
        different, which = np.unique(rows, axis=0, return_inverse=True)
        texts = (tuple(row[row != _NOTHING].tolist()) for row in different)
        index[first : first + _CHUNK] = np.array([numbers.setdefault(text, len(numbers)) for text in texts])[which.ravel()]
    return Texts(list(numbers), index)
