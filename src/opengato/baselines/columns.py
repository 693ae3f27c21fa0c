"""Tokenised timesteps as one array a field, whatever their number: what a network that knows no sequences reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from opengato.datasets.store import TokenDataset
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
    parts = [_columns(layout, part, eos, actions) for part in ([data] if isinstance(data, Encoded) else _chunks(data))]
    observed, acted = ({path: _join([part[side][path] for part in parts]) for path in parts[0][side]} for side in (0, 1))
    return observed, acted


def _chunks(data: TokenDataset) -> Iterator[Encoded]:
    for first in range(0, data.timesteps, _CHUNK):
        yield data.gather(np.arange(first, min(first + _CHUNK, data.timesteps)), pictures=False)


def _join(parts: Sequence[Column]) -> Column:
    if all(isinstance(part, np.ndarray) for part in parts):
        return np.concatenate(parts)  # type: ignore[arg-type]
    numbers: dict[tuple[int, ...], int] = {}
    texts = [part for part in parts if isinstance(part, Texts)]
    index = [np.array([numbers.setdefault(text, len(numbers)) for text in part.unique])[part.index] for part in texts]
    return Texts(list(numbers), np.concatenate(index))


def _columns(layout: Layout, data: Encoded, eos: int, actions: bool) -> tuple[dict[str, Column], dict[str, Column]]:
    tokens, at = data.tokens, data.offsets[:-1]
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
                found[field.path] = tokens[at[:, None] + np.arange(field.count)].astype(np.uint16)
            at = at + field.count
        sides.append(found)
        at = at + 1  # the separator
    return sides[0], sides[1]


def _texts(tokens: np.ndarray, at: np.ndarray, stop: np.ndarray) -> Texts:
    lengths = stop - at
    inside = np.arange(max(int(lengths.max()), 1)) < lengths[:, None]
    rows = np.full(inside.shape, _NOTHING, np.uint16)
    rows[inside] = tokens[(at[:, None] + np.arange(inside.shape[1]))[inside]]
    different, which = np.unique(rows, axis=0, return_inverse=True)
    return Texts([tuple(row[row != _NOTHING].tolist()) for row in different], which.ravel())
