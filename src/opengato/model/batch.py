"""Packed sequences as tensors, in the one form that both model families read."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as Sequences
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import torch

from opengato.model.config import ModelConfig
from opengato.tokens.continuous import to_bins
from opengato.tokens.vocabulary import (
    CONTINUOUS,
    DISCRETE_SIZE,
    GRID,
    GRIDS,
    IMAGE,
    LOCAL_POSITIONS,
    MOST_SYMBOLS,
    TARGET_RANGES,
)

GRAIN = 64  # an acting agent's tokens are padded to a multiple of it
MOST_DEVIATIONS = 4.0  # what the first and the last bin of a standardised number stand for
_FEW = 512  # tokens, of which to find the distinct ones takes longer than to embed them all
_FEW_PATCHES = 32  # the same of patches
_NO_CELLS = None, None, None
_SYMBOL_BITS = (DISCRETE_SIZE + 1).bit_length()

if TYPE_CHECKING:
    from opengato.mixture import Sequence


@dataclass
class Batch:
    """B sequences of L positions. "Flat position" means row·L + position.

    Attributes:
        segments, branches, index: int64 (B, L): window of each position (-1 padding), branch and position inside it, as in `Sequence`.
        pair_tokens, pair_local: int64 (U,): the distinct (token, local position) pairs of the batch.
        members: int64 (M,): the pair of every token, ordered by flat position. starts: int64 (B·L,): where each position's tokens begin;
            one entry more where tokens of padding stand after those of the last position.
        readers: int64 (M,): the same by pair: the flat positions that each pair is read at. reader_starts: int64 (U,): where those of each
            pair begin. For gradients of sums; None of what an acting agent sees, and of the paper's form.
        numbers: float32 (R, C), decorrelated, of the R positions that observe any, zeros after the last; number_counts,
            number_positions: int64 (R,), how many each has, and its flat position. Empty for the paper's form.
        patches: uint8 (U, 16, 16, 3), the distinct ones. patch_members: int64 (P,), which of them each patch is; patch_rows,
            patch_columns, patch_local, patch_positions: int64 (P,), the last flat.
        cell_symbols: int64 (K, MOST_SYMBOLS): the ids of the symbols of each of the distinct cells of grids, -1 beyond a cell's last.
        cells: int64 (R, C), which of them each cell is, of the R positions that observe any, -1 beyond a grid's last; cell_positions:
            int64 (R,), flat. None for a model that does not look at cells.
        target_positions: int64 (N,): the flat position that predicts the target. targets, target_kinds: int64 (N,). Those that stand in
            the sequences, in order of position, and then those of `Later`.
        target_index: int64 (N,): the target's rank among those that the same position predicts.
        target_domains: int64 (N,): index of the domain, for logging.
        chance: float32 (B, blocks, 2), uniform in [0, 1): each sequence's own noise of stochastic depth, where it is wanted.
    """

    segments: torch.Tensor
    branches: torch.Tensor
    index: torch.Tensor
    pair_tokens: torch.Tensor
    pair_local: torch.Tensor
    members: torch.Tensor
    starts: torch.Tensor
    numbers: torch.Tensor
    number_counts: torch.Tensor
    number_positions: torch.Tensor
    patches: torch.Tensor
    patch_members: torch.Tensor
    patch_rows: torch.Tensor
    patch_columns: torch.Tensor
    patch_local: torch.Tensor
    patch_positions: torch.Tensor
    target_positions: torch.Tensor
    targets: torch.Tensor
    target_kinds: torch.Tensor
    target_index: torch.Tensor
    target_domains: torch.Tensor
    timesteps: int = 0
    chance: torch.Tensor | None = None
    readers: torch.Tensor | None = None
    reader_starts: torch.Tensor | None = None
    cell_symbols: torch.Tensor | None = None
    cells: torch.Tensor | None = None
    cell_positions: torch.Tensor | None = None

    def to(self, device: torch.device | str) -> Batch:
        if self.segments.device == torch.device(device):
            return self
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> Batch:
        """The same in page-locked memory, from which a copy to a GPU runs beside the program."""
        return self._each(torch.Tensor.pin_memory)

    def _each(self, of: Callable[[torch.Tensor], torch.Tensor]) -> Batch:
        changed: dict[str, Any] = {
            field.name: of(value) for field in fields(self) if isinstance(value := getattr(self, field.name), torch.Tensor)
        }
        return replace(self, **changed)

    def shares(self) -> torch.Tensor:
        """What each target counts, float32 (N,): a position that predicts counts once, however many numbers its action has."""
        return 1 / torch.bincount(self.target_positions)[self.target_positions].float()


def collate(sequences: Sequences[Sequence], config: ModelConfig) -> Batch:
    """Put sequences of equal length L into one batch for a model of this configuration."""
    length = len(sequences[0].segments)
    bases = np.arange(len(sequences)) * length
    segments, branches = np.stack([s.segments for s in sequences]), np.stack([s.branches for s in sequences])

    def join(name: str) -> np.ndarray:
        return np.concatenate([getattr(s, name) for s in sequences])

    counts = [len(s.tokens) for s in sequences]
    tokens, kinds, local, positions, predicted, domains, values = map(
        join, ("tokens", "kinds", "local", "positions", "predicted", "domains", "values")
    )
    tokens, values = _as_read(tokens, kinds, values, config)
    flat = np.repeat(bases, counts) + positions
    target = np.flatnonzero(predicted)
    # A target is read where its position continues the window and branch it belongs to; the last one of either is only predicted.
    place, of = positions[target], np.repeat(np.arange(len(sequences)), counts)[target]
    inside = np.minimum(place, length - 1)
    before = np.maximum(inside - 1, 0)
    read = ~predicted
    read[target] = (place < length) & (segments[of, inside] == segments[of, before]) & (branches[of, inside] == branches[of, before])
    image = np.flatnonzero(kinds == IMAGE)
    predictor = flat[target] - 1
    number = np.arange(len(predictor))
    first = np.append(True, np.diff(predictor) != 0)[: len(predictor)]
    pair_tokens, pair_local, members, starts = _members(tokens, kinds, local, flat, read, segments.size, config)
    sums = config.fold.patches_per_position > 0
    cell_symbols, cells, cell_positions = _cells(tokens, kinds, flat) if config.glances else _NO_CELLS
    later = {name: np.concatenate([getattr(s.later, name) for s in sequences]) for name in vars(sequences[0].later)}
    later["predictors"] = later["predictors"] + np.repeat(bases, [len(s.later.tokens) for s in sequences])
    readers, reader_starts = _readers(members.numpy(), starts.numpy(), len(pair_tokens)) if sums else (None, None)
    return Batch(
        _tensor(segments),
        _tensor(branches),
        _tensor(np.stack([s.index for s in sequences])),
        pair_tokens,
        pair_local,
        members,
        starts,
        *_numbers(kinds, flat, values),
        *_distinct_patches(join("patches")),
        _tensor(join("patch_rows")),
        _tensor(join("patch_columns")),
        _tensor(local[image]),
        _tensor(flat[image]),
        _tensor(np.append(predictor, later["predictors"])),
        _tensor(np.append(tokens[target], later["tokens"])),
        _tensor(np.append(kinds[target], later["kinds"])),
        _tensor(np.append(number - np.maximum.accumulate(np.where(first, number, 0)), later["index"])),
        _tensor(np.append(domains[target], later["domains"])),
        timesteps=sum(s.timesteps for s in sequences),
        readers=readers,
        reader_starts=reader_starts,
        cell_symbols=cell_symbols,
        cells=cells,
        cell_positions=cell_positions,
    )


@dataclass
class NewTokens:
    """What some slots of an acting agent see next: N tokens and P patches, of S slots in any order.

    Attributes:
        tokens, kinds, local: (N,), as in `Encoded`. values: float32 (V,), as in `Sequence`. slots, positions: int64 (N,), whose the tokens
            are, and where among its new positions.
        lengths, begins: int64 (S,), how many new positions each slot has, and the number of the first.
        patches uint8 (P, 16, 16, 3), places int64 (P, 2): in the order of their tokens.
    """

    tokens: np.ndarray
    kinds: np.ndarray
    local: np.ndarray
    slots: np.ndarray
    positions: np.ndarray
    values: np.ndarray
    lengths: np.ndarray
    begins: np.ndarray
    patches: np.ndarray
    places: np.ndarray

    def of(self, rows: np.ndarray) -> NewTokens:
        """The same with only these slots, ascending, among which are all that have new positions."""
        return replace(self, slots=np.searchsorted(rows, self.slots), lengths=self.lengths[rows], begins=self.begins[rows])

    def filled(self, count: int) -> NewTokens:
        """The same for the first `count` slots, those that have nothing new with a copy of what the first busy one sees.

        It is computed for nobody, since their lengths stay 0, so that as many busy slots always make the same shapes.
        """
        lengths, begins = self.lengths[:count], self.begins[:count]
        busy, idle = int(np.argmax(lengths > 0)), np.flatnonzero(lengths == 0)
        parts = [self.slots == busy, (self.slots == busy)[self.kinds == CONTINUOUS], (self.slots == busy)[self.kinds == IMAGE]]
        own, values, patches = (np.append(np.arange(len(part)), np.tile(np.flatnonzero(part), len(idle))) for part in parts)
        slots = np.append(self.slots, np.repeat(idle, int(parts[0].sum())))
        return NewTokens(
            self.tokens[own],
            self.kinds[own],
            self.local[own],
            slots,
            self.positions[own],
            self.values[values],
            lengths,
            begins,
            self.patches[patches],
            self.places[patches],
        )

    def batch(self, config: ModelConfig, fixed: bool = False) -> Batch:
        """A batch without targets; slots with fewer positions than others are padded at their end.

        `fixed`: every patch is kept, though another be the same, so that shapes tell only how much is seen, as compiled code needs it.
        """
        length = int(self.lengths.max())
        tokens, values = _as_read(self.tokens, self.kinds, self.values, config)
        steps = np.arange(length)
        flat = self.slots * length + self.positions
        image = np.flatnonzero(self.kinds == IMAGE)
        read = np.ones(len(self.tokens), bool)
        nothing = torch.zeros(0, dtype=torch.int64)
        few = fixed or len(self.patches) <= _FEW_PATCHES
        patches = (torch.from_numpy(self.patches), torch.arange(len(self.patches))) if few else _distinct_patches(self.patches)
        cell_symbols, cells, cell_positions = _cells(tokens, self.kinds, flat, GRAIN) if config.glances else _NO_CELLS
        return Batch(
            _tensor(np.where(steps < self.lengths[:, None], 0, -1)),
            _tensor(np.zeros((len(self.lengths), length))),
            _tensor(self.begins[:, None] + steps),
            *_pad(*_members(tokens, self.kinds, self.local, flat, read, len(self.lengths) * length, config)),
            *_numbers(self.kinds, flat, values),
            *patches,
            _tensor(self.places[:, 0]),
            _tensor(self.places[:, 1]),
            _tensor(self.local[image]),
            _tensor(flat[image]),
            nothing,
            nothing,
            nothing,
            nothing,
            nothing,
            cell_symbols=cell_symbols,
            cells=cells,
            cell_positions=cell_positions,
        )


def _tensor(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, np.int64))


def _as_read(tokens: np.ndarray, kinds: np.ndarray, values: np.ndarray, config: ModelConfig) -> tuple[np.ndarray, np.ndarray]:
    """The tokens as a model reads them, and the values, none for one that reads bins."""
    if config.sees_values:
        return tokens, values
    if config.standardised:
        tokens = tokens.copy()
        tokens[kinds == CONTINUOUS] = to_bins(values / MOST_DEVIATIONS)
    return tokens, values[:0]


def _members(
    tokens: np.ndarray, kinds: np.ndarray, local: np.ndarray, flat: np.ndarray, read: np.ndarray, size: int, config: ModelConfig
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """pair_tokens, pair_local, members and starts of the tokens that are read, which stand at flat positions below `size`."""
    read = read & (kinds != IMAGE)
    for kind in TARGET_RANGES:
        if not config.reads(kind):
            read &= kinds != kind
    if config.sees_values:
        read &= kinds != CONTINUOUS
    scalar = np.flatnonzero(read)
    order = flat[scalar]
    if len(order) and (np.diff(order) < 0).any():
        permutation = np.argsort(order, kind="stable")
        scalar, order = scalar[permutation], order[permutation]
    starts = np.searchsorted(order, np.arange(size))
    if len(scalar) <= _FEW:
        return _tensor(tokens[scalar]), _tensor(local[scalar]), torch.arange(len(scalar)), _tensor(starts)
    codes = tokens[scalar].astype(np.int64) * (LOCAL_POSITIONS + 1) + local[scalar]
    pairs, members = _distinct(codes)
    return _tensor(pairs // (LOCAL_POSITIONS + 1)), _tensor(pairs % (LOCAL_POSITIONS + 1)), _tensor(members), _tensor(starts)


def _readers(members: np.ndarray, starts: np.ndarray, pairs: int) -> tuple[torch.Tensor, torch.Tensor]:
    """readers and reader_starts of all pairs, given members and starts."""
    # Of 16 bits, where that is enough, numbers are sorted by their digits.
    order = np.argsort(members.astype(np.uint16 if pairs <= 2**16 else np.int64), kind="stable")
    flat = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, len(members))))
    counts = np.bincount(members, minlength=pairs)
    return _tensor(flat[order]), _tensor(np.cumsum(counts) - counts)


def _distinct(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`numpy.unique` with its inverse, by hashing in place of sorting: of a batch's million codes some thousands are distinct."""
    encoded = pa.array(codes).dictionary_encode()
    found = encoded.dictionary.to_numpy()
    order = np.argsort(found)
    rank = np.empty(len(found), np.int64)
    rank[order] = np.arange(len(found))
    return found[order], rank[encoded.indices.to_numpy()]


def _distinct_patches(patches: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """The distinct ones of patches (P, 16, 16, 3) and which of them each is, int64 (P,).

    Of a game's frames in a row four in five patches and more are the same as before: each is looked at once.
    """
    size = patches[0].size if len(patches) else 1
    flat = pa.FixedSizeBinaryArray.from_buffers(pa.binary(size), len(patches), [None, pa.py_buffer(np.ascontiguousarray(patches))])
    encoded = flat.dictionary_encode()
    found = np.frombuffer(encoded.dictionary.buffers()[1], np.uint8, len(encoded.dictionary) * size)
    return torch.from_numpy(found.reshape(-1, *patches.shape[1:]).copy()), _tensor(encoded.indices.to_numpy())


def _numbers(kinds: np.ndarray, flat: np.ndarray, values: np.ndarray) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """numbers, number_counts and number_positions: `values` are those of the tokens of kind CONTINUOUS, in order of position."""
    if not len(values):
        nothing = torch.zeros(0, dtype=torch.int64)
        return torch.zeros(0, 0), nothing, nothing
    at = flat[kinds == CONTINUOUS]
    if (np.diff(at) < 0).any():
        order = np.argsort(at, kind="stable")
        at, values = at[order], values[order]
    starts = np.flatnonzero(np.append(True, at[1:] != at[:-1]))
    rows, counts = at[starts], np.diff(np.append(starts, len(at)))
    if (counts == counts[0]).all() and counts[0] <= LOCAL_POSITIONS:
        return torch.from_numpy(values.reshape(len(rows), -1)), _tensor(counts), _tensor(rows)
    # Numbers beyond the table's last entry share it.
    place = np.minimum(np.arange(len(at)) - np.repeat(starts, counts), LOCAL_POSITIONS - 1)
    numbers = np.zeros((len(rows), int(place.max()) + 1), np.float32)
    np.add.at(numbers, (np.repeat(np.arange(len(rows)), counts), place), values)
    return torch.from_numpy(numbers), _tensor(np.minimum(counts, LOCAL_POSITIONS)), _tensor(rows)


def _cells(
    tokens: np.ndarray, kinds: np.ndarray, flat: np.ndarray, grain: int = 1
) -> tuple[torch.Tensor | None, torch.Tensor | None, torch.Tensor | None]:
    """`cell_symbols`, padded to a multiple of `grain`, `cells` and `cell_positions` of the tokens of grids, which stand cell by cell."""
    codes, at = [], []
    for kind in GRIDS:
        found = np.flatnonzero(kinds == kind)
        if len(found):
            symbols = tokens[found].astype(np.int64).reshape(-1, kind - GRID + 1)
            codes.append(((symbols + 1) << (_SYMBOL_BITS * np.arange(symbols.shape[1]))).sum(1))
            at.append(flat[found[:: symbols.shape[1]]])
    if not codes:
        return _NO_CELLS
    every, positions = np.concatenate(codes), np.concatenate(at)
    if (np.diff(positions) < 0).any():
        order = np.argsort(positions, kind="stable")
        every, positions = every[order], positions[order]
    starts = np.flatnonzero(np.append(True, positions[1:] != positions[:-1]))
    counts = np.diff(np.append(starts, len(every)))
    row, place = np.repeat(np.arange(len(starts)), counts), np.arange(len(every)) - np.repeat(starts, counts)
    distinct, which = _distinct(every)
    cells = np.full((len(starts), min(int(counts.max()), LOCAL_POSITIONS)), -1)
    inside = place < LOCAL_POSITIONS  # of several grids together
    cells[row[inside], place[inside]] = which[inside]
    symbols = (distinct[:, None] >> (_SYMBOL_BITS * np.arange(MOST_SYMBOLS)) & (2**_SYMBOL_BITS - 1)) - 1
    padding = np.full((-len(symbols) % grain, MOST_SYMBOLS), -1)
    return _tensor(np.concatenate([symbols, padding])), _tensor(cells), _tensor(positions[starts])


def _pad(
    pair_tokens: torch.Tensor, pair_local: torch.Tensor, members: torch.Tensor, starts: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """The four with tokens of padding up to a multiple of 64, so that instructions of different lengths make few different shapes."""
    pairs, count = (torch.zeros(-len(part) % GRAIN, dtype=torch.int64) for part in (pair_tokens, members))
    end = torch.tensor([len(members)])
    return torch.cat([pair_tokens, pairs]), torch.cat([pair_local, pairs]), torch.cat([members, count]), torch.cat([starts, end])
