"""What an acting model remembers: the keys and values of the last positions of every slot, a ring, which is the Transformer-XL memory."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from opengato.model.positions import shift_padded, sin_cos

# Slots of a memory: all that lie between two, or the rows that a tensor names.
Rows = slice | torch.Tensor

# Entries are read in steps of this many, so that a young memory is not read to its end.
_GRAIN = 64


class Memory:
    """The last `context` positions of every slot, for all blocks.

    The ring has `chunk - 1` entries more than the context: of up to `chunk` new positions that are written together, the first still
    sees all that it should.

    Attributes:
        keys, values: by block, (slots, heads, ring, key_size); position p is stored at p % ring.
        positions: int64 (slots, ring), the absolute position of each entry, -1 where there is none.
        far_first: what RelativeAttention projected for the distances context - 1 … 0, by block, (heads, context, key_size), kept from
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
        chunk: int = 64,
    ):
        self.context, self.chunk, self.ring = context, chunk, context + chunk - 1
        shape = (slots, heads, self.ring, key_size)
        self.keys = [torch.zeros(shape, device=device, dtype=dtype) for _ in range(blocks)]
        self.values = [torch.zeros_like(keys) for keys in self.keys]
        self.positions = torch.full((slots, self.ring), -1, device=device)
        self.far_first: list[torch.Tensor | None] = [None] * blocks

    def reset(self, slot: int) -> None:
        """Forget everything in one slot."""
        self.positions[slot] = -1
        self.far_first = [None] * len(self.far_first)

    def advance(self, positions: torch.Tensor, rows: Rows = slice(None), end: int | None = None) -> Step:
        """Make room for T new positions a slot, int64 (slots, T), -1 for padding, T up to `chunk`, and say who sees what.

        Args:
            rows: the slots, ascending, that `positions` and all that follows are of.
            end: no slot of these has a position from here on, even if it had T new ones; None: it is not known, and all of the ring is
                read.
        """
        assert positions.shape[1] <= self.chunk, f"{positions.shape[1]} new positions do not fit a chunk of {self.chunk}"
        row, step = torch.nonzero(positions >= 0, as_tuple=True)
        slot = row + (rows.start or 0) if isinstance(rows, slice) else rows[row]
        at = positions[row, step] % self.ring
        self.positions[slot, at] = positions[row, step]
        filled = self.ring if end is None else min(-(-end // _GRAIN) * _GRAIN, self.ring)
        where = self.positions[rows, :filled]
        distance = positions[:, :, None] - where[:, None, :]
        visible = (distance >= 0) & (distance < self.context) & (where >= 0)[:, None, :]
        visible |= (positions < 0)[:, :, None]  # padding sees all, for no NaN
        dtype = self.keys[0].dtype
        return Step(
            self,
            rows,
            row,
            slot,
            step,
            at,
            torch.zeros(visible.shape, dtype=dtype, device=where.device).masked_fill_(~visible, -torch.inf)[:, None],
            positions[:, 0],
            tuple(part.to(torch.promote_types(dtype, torch.float32))[:, None] for part in sin_cos(positions, self.keys[0].shape[-1] // 2)),
        )


@dataclass
class Step:
    """T new positions a slot on their way through the blocks, with what is the same for every block.

    Attributes:
        rows: as in `Memory.advance`: "slots" is their number here.
        row, slot, step, at: int64 (N,): entry `step` of a row's new ones is stored at `at` of its slot.
        hidden: (slots, 1, T, S): 0 for entries not after the query and less than `context` before it, -inf for the rest.
        first: int64 (slots,), the first new position.
        angles: sine and cosine of the rotary angles, both (slots, 1, T, key_size / 2).
    """

    memory: Memory
    rows: Rows
    row: torch.Tensor
    slot: torch.Tensor
    step: torch.Tensor
    at: torch.Tensor
    hidden: torch.Tensor
    first: torch.Tensor
    angles: tuple[torch.Tensor, ...]

    def extend(self, block: int, keys: torch.Tensor, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Store T new entries a slot of a block, (slots, heads, T, key_size); returns all that may be seen, (slots, heads, S, key_size)."""
        all_keys, all_values = self.memory.keys[block], self.memory.values[block]
        all_keys[self.slot, :, self.at] = keys[self.row, :, self.step].to(all_keys.dtype)
        all_values[self.slot, :, self.at] = values[self.row, :, self.step].to(all_values.dtype)
        filled = self.hidden.shape[-1]
        return all_keys[self.rows, :, :filled], all_values[self.rows, :, :filled]

    @property
    def reach(self) -> int:
        """No distance of a visible entry is as large."""
        return min(self.hidden.shape[-1], self.memory.context)

    def by_entry(self, by_distance: torch.Tensor, slots: slice) -> torch.Tensor:
        """Of some slots, (slots, heads, T, reach) by distance, the farthest first, to (slots, heads, T, S) by entry, a new tensor.

        What is hidden is rubbish.

        Without a gather, which on a CPU would take as long as the attention itself: shifted, every row is the same turn of the ring.
        """
        count, entries = by_distance.shape[2], self.hidden.shape[-1]
        # One column more than there are entries is what the shift needs.
        columns = by_distance.new_zeros(*by_distance.shape[:3], entries - self.reach + 1)
        by_distance = shift_padded(torch.cat([columns, by_distance], -1))
        turns = ((self.first[slots] + count) % entries).tolist()
        if len(set(turns)) == 1:
            return by_distance.roll(turns[0], -1)
        return torch.stack([slot.roll(turn, -1) for slot, turn in zip(by_distance, turns)])
