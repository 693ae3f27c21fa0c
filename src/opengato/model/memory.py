"""What an acting model remembers: the keys and values of the last positions of every slot, a ring, which is the Transformer-XL memory."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch

from opengato.model.positions import sin_cos


class Memory:
    """The last `context` positions of every slot, for all blocks.

    Attributes:
        keys, values: (blocks, slots, heads, context, key_size); position p is stored at p % context.
        positions: int64 (slots, context), the absolute position of each entry, -1 where there is none.
        distance_keys: what RelativeAttention projected for the distances 0 … context - 1, by block, (heads, context, key_size), kept from
            the first step on; like the entries, it belongs to the weights that made it, and a reset forgets it.
    """

    def __init__(
        self,
        blocks: int,
        slots: int,
        heads: int,
        context: int,
        key_size: int,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ):
        self.context = context
        self.keys = torch.zeros(blocks, slots, heads, context, key_size, device=device, dtype=dtype)
        self.values = torch.zeros_like(self.keys)
        self.positions = torch.full((slots, context), -1, device=device)
        self.distance_keys: list[torch.Tensor | None] = [None] * blocks

    def reset(self, slot: int) -> None:
        """Forget everything in one slot."""
        self.positions[slot] = -1
        self.distance_keys = [None] * len(self.distance_keys)

    def advance(self, positions: torch.Tensor, rows: torch.Tensor | None = None) -> Step:
        """Make room for T new positions a slot, (slots, T), -1 for padding, and say who sees what.

        `rows`, int64 (R,), ascending: the slots that `positions` (R, T) and all that follows are of; None: all of them.
        """
        valid = positions >= 0
        new = positions.shape[1]
        if new > self.context:  # of a chunk longer than the ring only the last entries stay
            valid &= positions > positions.max(1, keepdim=True).values - self.context
        row, step = torch.nonzero(valid, as_tuple=True)
        slot, at = row if rows is None else rows[row], positions[row, step] % self.context
        before = self.positions.clone() if rows is None and new > 1 else self._of(self.positions, rows)
        self.positions[slot, at] = positions[row, step]
        # The first of several new queries still see what the last of the new entries overwrite.
        where = torch.cat([before, positions], 1) if new > 1 else self._of(self.positions, rows)
        return Step(self, positions, where, rows, row, slot, step, at)

    @staticmethod
    def _of(entries: torch.Tensor, rows: torch.Tensor | None) -> torch.Tensor:
        return entries if rows is None else entries[rows]


@dataclass
class Step:
    """T new positions a slot on their way through the blocks, with what is the same for every block.

    Attributes:
        positions: int64 (slots, T), -1 for padding. where: int64 (slots, S), the position of every key, -1 for none.
        rows: as in `Memory.advance`; where it is given, every "slots" here is R, its length.
        row, slot, step, at: int64 (N,): entry `step` of a row's new ones is stored at `at` of its slot.
    """

    memory: Memory
    positions: torch.Tensor
    where: torch.Tensor
    rows: torch.Tensor | None
    row: torch.Tensor
    slot: torch.Tensor
    step: torch.Tensor
    at: torch.Tensor

    def __post_init__(self) -> None:
        self._angles: tuple[torch.Tensor, torch.Tensor] | None = None

    def extend(self, block: int, keys: torch.Tensor, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Store T new entries a slot of a block, (slots, heads, T, key_size); returns all that may be seen, (slots, heads, S, key_size)."""
        old_keys, old_values = self.memory.keys[block], self.memory.values[block]
        keys, values = keys.to(old_keys.dtype), values.to(old_values.dtype)
        of, several = self.memory._of, keys.shape[2] > 1
        if several:
            together = (torch.cat([of(old_keys, self.rows), keys], 2), torch.cat([of(old_values, self.rows), values], 2))
        old_keys[self.slot, :, self.at] = keys[self.row, :, self.step]
        old_values[self.slot, :, self.at] = values[self.row, :, self.step]
        return together if several else (of(old_keys, self.rows), of(old_values, self.rows))

    @cached_property
    def visible(self) -> torch.Tensor:
        """bool (slots, 1, T, S): entries not after the query and less than `context` before it; padding queries see all, for no NaN."""
        distance = self.positions[:, :, None] - self.where[:, None, :]
        seen = (distance >= 0) & (distance < self.memory.context) & (self.where >= 0)[:, None, :]
        return (seen | (self.positions < 0)[:, :, None])[:, None]

    @cached_property
    def distance(self) -> torch.Tensor:
        """int64 (slots, 1, T, S), from 0 to context - 1."""
        return (self.positions[:, :, None] - self.where[:, None, :]).clamp(0, self.memory.context - 1)[:, None]

    def angles(self, pairs: int, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
        """Sine and cosine of the rotary angles, both (slots, 1, T, pairs)."""
        if self._angles is None:
            sin, cos = sin_cos(self.positions, pairs)
            self._angles = sin.to(dtype)[:, None], cos.to(dtype)[:, None]
        return self._angles
