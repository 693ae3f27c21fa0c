"""Packed sequences as tensors, in the one form that both model families read."""

from __future__ import annotations

from collections.abc import Sequence as Sequences
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from opengato.tokens.vocabulary import ACTION_TEXT, IMAGE, LOCAL_POSITIONS

if TYPE_CHECKING:
    from opengato.mixture import Sequence


@dataclass
class Batch:
    """B sequences of L positions. "Flat position" means row·L + position.

    Attributes:
        segments, index: int64 (B, L): window of each position (-1 padding) and position inside it.
        pair_tokens, pair_local: int64 (U,): the distinct (token, local position) pairs of the batch.
        members: int64 (M,): the pair of every token, ordered by flat position. starts: int64 (B·L,): where each position's tokens begin.
        patches: uint8 (P, 16, 16, 3); patch_rows, patch_columns, patch_local, patch_positions: int64 (P,), the last flat.
        target_positions: int64 (N,): the flat position that predicts the target. targets, target_kinds: int64 (N,).
        target_index: int64 (N,): the target's rank among those that the same position predicts.
        target_domains: int64 (N,): index of the domain, for logging.
        chance: float32 (B, blocks, 2), uniform in [0, 1): each sequence's own noise of stochastic depth, where it is wanted.
    """

    segments: torch.Tensor
    index: torch.Tensor
    pair_tokens: torch.Tensor
    pair_local: torch.Tensor
    members: torch.Tensor
    starts: torch.Tensor
    patches: torch.Tensor
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

    def to(self, device: torch.device | str) -> Batch:
        tensors = {f.name: value for f in fields(self) if isinstance(value := getattr(self, f.name), torch.Tensor)}
        moved: dict[str, Any] = {name: tensor.to(device, non_blocking=True) for name, tensor in tensors.items()}
        return replace(self, **moved)

    def shares(self) -> torch.Tensor:
        """What each target counts, float32 (N,): a position that predicts counts once, however many numbers its action has."""
        return 1 / torch.bincount(self.target_positions)[self.target_positions].float()


def collate(sequences: Sequences[Sequence], reads_actions: bool) -> Batch:
    """Put sequences of equal length L into one batch; without `reads_actions` control actions are only predicted, never read."""
    length = len(sequences[0].segments)
    bases = np.arange(len(sequences)) * length
    segments = np.stack([s.segments for s in sequences])

    def join(name: str) -> np.ndarray:
        return np.concatenate([getattr(s, name) for s in sequences])

    counts = [len(s.tokens) for s in sequences]
    row = np.repeat(np.arange(len(sequences)), counts)
    tokens, kinds, local, positions, predicted = map(join, ("tokens", "kinds", "local", "positions", "predicted"))
    domains = np.repeat([s.domain for s in sequences], counts)
    # A target is read where its position continues the window it belongs to; the last one of a window is only predicted.
    inside = np.minimum(positions, length - 1)
    read = ~predicted | ((positions < length) & (segments[row, inside] == segments[row, np.maximum(inside - 1, 0)]))
    flat = bases[row] + positions
    target = np.flatnonzero(predicted)
    is_image = kinds == IMAGE
    if not reads_actions:
        read &= kinds <= ACTION_TEXT
    scalar = np.flatnonzero(read & ~is_image)
    image = np.flatnonzero(is_image)
    order = flat[scalar]
    if len(order) and (np.diff(order) < 0).any():
        permutation = np.argsort(order, kind="stable")
        scalar, order = scalar[permutation], order[permutation]
    pairs, members = np.unique(tokens[scalar] * (LOCAL_POSITIONS + 1) + local[scalar], return_inverse=True)
    starts = np.searchsorted(order, np.arange(len(sequences) * length))
    predictor = flat[target] - 1
    number = np.arange(len(predictor))
    first = np.append(True, np.diff(predictor) != 0)[: len(predictor)]

    def tensor(array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(array, np.int64))

    return Batch(
        tensor(segments),
        tensor(np.stack([s.index for s in sequences])),
        tensor(pairs // (LOCAL_POSITIONS + 1)),
        tensor(pairs % (LOCAL_POSITIONS + 1)),
        tensor(members),
        tensor(starts),
        torch.from_numpy(join("patches")),
        tensor(join("patch_rows")),
        tensor(join("patch_columns")),
        tensor(local[image]),
        tensor(flat[image]),
        tensor(predictor),
        tensor(tokens[target]),
        tensor(kinds[target]),
        tensor(number - np.maximum.accumulate(np.where(first, number, 0))),
        tensor(domains[target]),
        timesteps=sum(s.timesteps for s in sequences),
    )
