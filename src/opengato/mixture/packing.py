"""Windows of timesteps, laid end to end into the L positions of one training sequence."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from opengato.datasets.store import TokenDataset
from opengato.mixture.augment import move_pictures, moves
from opengato.tokens.compact import Form
from opengato.tokens.encode import Encoded
from opengato.tokens.fold import Fold
from opengato.tokens.image import random_positions
from opengato.tokens.layout import Layout
from opengato.tokens.statistics import decorrelate
from opengato.tokens.vocabulary import CONTINUOUS, IMAGE, IS_TARGET, PATCH_SIZE


@dataclass(frozen=True)
class Later:
    """The E numbers of actions after its own that each timestep's position predicts too, where a model does (`ModelConfig.chunk`).

    Attributes:
        tokens: int32 (E,). kinds: uint8 (E,). domains: int16 (E,), as in `Sequence`.
        predictors: int32 (E,), the position that predicts each. index: int64 (E,), its rank among all that this position predicts.
    """

    tokens: np.ndarray
    kinds: np.ndarray
    domains: np.ndarray
    predictors: np.ndarray
    index: np.ndarray


NO_LATER = Later(*(np.zeros(0, dtype) for dtype in (np.int32, np.uint8, np.int16, np.int32, np.int64)))


@dataclass
class Sequence:
    """L positions holding the tokens of several windows; N tokens, V observed numbers, P patches.

    Attributes:
        tokens int32 (N,), kinds uint8 (N,), local int16 (N,), positions int32 (N,): in order of position.
        predicted: bool (N,), whether the token is a target (it is then predicted from position - 1).
        domains: int16 (N,), index of the domain that the token is of.
        values: float32 (V,), the tokens of kind CONTINUOUS in units of their own, uncorrelated (tokens/statistics.py).
        segments: int64 (L,), the window each position belongs to, -1 for padding.
        branches: int64 (L,), 0 for what everything after it in its window sees; above 0 for what only its own branch sees: single
            timesteps that share a prompt and know nothing of one another.
        index: int64 (L,), position inside its window, as if its branch were the only one.
        patches uint8 (P, 16, 16, 3), patch_rows, patch_columns int64 (P,).
        timesteps: how many the sequence holds. later: targets that do not stand in it.
    """

    tokens: np.ndarray
    kinds: np.ndarray
    local: np.ndarray
    positions: np.ndarray
    predicted: np.ndarray
    domains: np.ndarray
    values: np.ndarray
    segments: np.ndarray
    branches: np.ndarray
    index: np.ndarray
    patches: np.ndarray
    patch_rows: np.ndarray
    patch_columns: np.ndarray
    timesteps: int
    later: Later = NO_LATER


@dataclass
class Piece:
    """Windows of one dataset in a sequence, end to end from position `base`.

    Attributes:
        timesteps: int64 (T,), of the dataset. windows, branches: int64 (T,), which window of the sequence each belongs to, and which
            branch of the window, both ascending.
        layout: how its numbers are measured. domain: its index.
        head: the last so many tokens of the timestep before the first stand before it.
    """

    data: TokenDataset
    layout: Layout
    domain: int
    timesteps: np.ndarray
    windows: np.ndarray
    branches: np.ndarray
    base: int
    head: int = 0


@dataclass(frozen=True)
class Loose:
    """Timesteps that lie in no store, as `pack` asks a dataset for them."""

    encoded: Encoded
    form: Form

    @property
    def episodes(self) -> np.ndarray:
        """As of `TokenDataset`: they are one episode."""
        return np.array([0, len(self.encoded)])

    @property
    def relabelled(self) -> np.ndarray:
        """As of `TokenDataset`: who acts is taken for whoever chose the actions."""
        return np.zeros(1, bool)

    def gather(self, timesteps: np.ndarray, pictures: bool = True, into: np.ndarray | None = None) -> Encoded:
        """As `TokenDataset.gather`; pictures are there anyway."""
        found = self.encoded.take(timesteps)
        if into is not None:
            into[:] = found.patches
        return found


def pack_alone(window: Loose, layout: Layout, length: int, fold: Fold, rng: np.random.Generator, chunk: int = 1) -> Sequence:
    """One window, all of its timesteps, as a sequence of its own."""
    steps = np.arange(len(window.encoded))
    zeros = np.zeros_like(steps)
    return pack([Piece(window, layout, 0, steps, zeros, zeros, 0)], length, fold, rng, chunk)  # type: ignore[arg-type]


def pack(pieces: list[Piece], length: int, fold: Fold, rng: np.random.Generator, chunk: int = 1, shift: int = 0) -> Sequence:
    """Lay the pieces, in order of their bases, into `length` positions; `rng` places patches, and cuts texts that are too long.

    `chunk`: actions in a row that a timestep's position predicts, see `Later`; with a fold only. `shift`: see `Sampling`.
    """
    columns: list[list[np.ndarray]] = [[], [], [], [], [], []]
    segments, branches, index = np.full(length, -1, np.int64), np.zeros(length, np.int64), np.zeros(length, np.int64)
    values, boxes, filled = [], [], 0
    later: list[Later] = []
    most = sum((len(piece.timesteps) + bool(piece.head)) * piece.data.form.patches for piece in pieces)
    patches = np.empty((most, PATCH_SIZE, PATCH_SIZE, 3), np.uint8)
    for piece in pieces:
        timesteps = np.append(piece.timesteps[:1] - 1, piece.timesteps) if piece.head else piece.timesteps
        window = piece.data.gather(timesteps, into=patches[filled : filled + len(timesteps) * piece.data.form.patches])
        if shift and moves(piece.layout):
            move_pictures(patches[filled : filled + len(window.patches)], piece.layout, shift, rng)
        seen = decorrelate(window.tokens[window.kinds == CONTINUOUS], piece.layout.statistics)
        if piece.head:
            window = _with_tail(window, piece.head)
            seen = seen[len(seen) - int((window.kinds == CONTINUOUS).sum()) :]
        values.append(seen)
        base, room = piece.base, length - piece.base
        positions, starts = fold.positions(window.kinds, window.offsets)
        tokens, kinds, local = window.tokens, window.kinds, window.local
        head = skip = 0
        if starts[-1] > room:  # one long text: keep what it answers to, and a random run of its words
            head = int(np.flatnonzero(kinds >= IS_TARGET)[0])
            # Starts before the text count as its start, so that it is seen to begin often enough.
            skip = max(0, int(rng.integers(-max(1, room // 8), int(starts[-1] - room) + 1)))
            keep = np.ones(len(tokens), bool)
            keep[head : head + skip] = False
            tokens, kinds, local = tokens[keep], kinds[keep], local[keep]
            positions = fold.positions(kinds, np.array([0, len(kinds)]))[0]
        if (count := piece.layout.in_a_row(chunk)) > 1:
            later.append(_later(piece, count, base + positions[window.offsets[1:] - 1] - 1))
        end = min(base + int(starts[-1]), length)
        predicted = kinds >= IS_TARGET
        predicted[: piece.head] = False  # what it was decided from is cut off
        if skip:
            predicted[head] = False  # likewise
        windows, apart = piece.windows, piece.branches
        if piece.head:
            windows, apart = np.append(windows[:1], windows), np.append(apart[:1], apart)
        inside, branch = (np.repeat(of, np.diff(starts))[: end - base] for of in (windows, apart))
        segments[base:end], branches[base:end] = inside, branch
        first = np.flatnonzero(np.append(True, (np.diff(inside) != 0) | (np.diff(branch) != 0))[: len(inside)])
        index[base:end] = np.arange(end - base) - np.repeat(first, np.diff(np.append(first, end - base)))
        if branch.any():  # a branch goes on from what its window shares
            index[base:end] += np.where(branch > 0, np.bincount(inside[branch == 0], minlength=int(inside[-1]) + 1)[inside], 0)
        # A window may go on in the next piece, after its prompt.
        if base and len(inside) and segments[base - 1] == inside[0]:
            index[base : base + int((inside == inside[0]).sum())] += index[base - 1] + 1
        # The words of a text beyond the last position are cut; a last target is predicted from it.
        placed = (positions + base).astype(np.int32)
        parts = (tokens, kinds, local, placed, predicted, np.full(len(tokens), piece.domain, np.int16))
        kept = placed <= end
        for column, part in zip(columns, parts if kept.all() else (part[kept] for part in parts)):
            column.append(part)
        if piece.head:  # its first patches are cut off
            patches[filled : filled + len(window.patches)] = window.patches
        filled += len(window.patches)
        boxes.append(window.boxes)
    tokens, kinds, local, positions, predicted, domains = (np.concatenate(c) for c in columns)
    rows, across = random_positions(np.concatenate(boxes), rng).T
    assert int((kinds == IMAGE).sum()) == filled
    return Sequence(
        tokens,
        kinds,
        local,
        positions,
        predicted,
        domains,
        np.concatenate(values),
        segments,
        branches,
        index,
        patches[:filled],
        rows,
        across,
        sum(len(piece.timesteps) for piece in pieces),
        Later(*(np.concatenate([getattr(part, name) for part in later]) for name in vars(later[0]))) if later else NO_LATER,
    )


def _later(piece: Piece, count: int, predictors: np.ndarray) -> Later:
    """Of the next `count` - 1 actions after those of a piece's timesteps, as far as their episodes go; `predictors`: int (T,).

    A relabelled episode has none: what the expert would have done next it would have done elsewhere, where its own action leads.
    """
    data = piece.data
    episodes = np.searchsorted(data.episodes, piece.timesteps, side="right") - 1
    next_ones = piece.timesteps[:, None] + np.arange(1, count)
    inside = (next_ones < data.episodes[episodes + 1][:, None]) & ~data.relabelled[episodes][:, None]
    if not inside.any():
        return NO_LATER
    distinct, which = np.unique(next_ones[inside], return_inverse=True)
    found = data.gather(distinct, pictures=False)
    said = found.kinds >= IS_TARGET
    tokens, kinds = (of[said].reshape(len(distinct), -1)[which] for of in (found.tokens, found.kinds))
    rows, steps = np.nonzero(inside)
    numbers = tokens.shape[1]
    return Later(
        tokens.ravel(),
        kinds.ravel(),
        np.full(tokens.size, piece.domain, np.int16),
        np.repeat(predictors[rows], numbers).astype(np.int32),
        ((steps[:, None] + 1) * numbers + np.arange(numbers)).ravel(),
    )


def _with_tail(window: Encoded, tail: int) -> Encoded:
    """The window without the beginning of its first timestep, of which the last `tail` tokens stay."""
    cut = int(window.offsets[1] - window.offsets[0]) - tail
    patches = int((window.kinds[:cut] == IMAGE).sum())
    offsets = np.concatenate([[0], window.offsets[1:] - window.offsets[0] - cut])
    return Encoded(window.tokens[cut:], window.kinds[cut:], window.local[cut:], offsets, window.patches[patches:], window.boxes[patches:])
