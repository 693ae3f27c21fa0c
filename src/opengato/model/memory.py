"""What an acting model remembers: the keys and values of the last positions of every slot, a ring, which is the Transformer-XL memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F

from opengato.model.positions import shift_padded, sin_cos

# Is shown a block's number, the step, attention weights (slots, heads, T, S) of some slots, S as in `Step.hidden`, and which these are.
Watch = Callable[[int, "Step", torch.Tensor, slice], None]

# Slots of a memory: all that lie between two, or the rows that a tensor names.
Rows = slice | torch.Tensor

# Entries are read in steps of this many, so that a young memory is not read to its end; and products of such sizes are the quick ones.
_GRAIN = 64


class Memory:
    """The last `context` positions of every slot, for all blocks.

    The ring has at least `chunk - 1` entries more than the context: of up to `chunk` new positions that are written together, the first
    still sees all that it should. Padding writes where the next positions will, over what no position to come can see, so that all
    shapes are known beforehand.

    Attributes:
        keys, values: by block, (slots, heads, ring, key_size); position p is stored at p % ring.
        positions: int64 (slots, ring), the absolute position of each entry, -1 where there is none.
        far_first: what RelativeAttention projects for the distances ring + 63 … 0 (those not below the context are zeros), by block,
            (heads, ring + 64, key_size): made in the first step, of the weights as they are then: other weights want a new memory.
        watch: is shown what every block attends to, see `Watch`; None: nobody looks, and fused kernels may be used.
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
        self.context, self.chunk, self.ring = context, chunk, _round_up(context + chunk - 1)
        shape = (slots, heads, self.ring, key_size)
        self.keys = [torch.zeros(shape, device=device, dtype=dtype) for _ in range(blocks)]
        self.values = [torch.zeros_like(keys) for keys in self.keys]
        self.positions = torch.full((slots, self.ring), -1, device=device)
        self.far_first: list[torch.Tensor | None] = [None] * blocks
        self.watch: Watch | None = None

    def reset(self, slot: int) -> None:
        """Forget everything in one slot."""
        self.positions[slot] = -1

    def recall(self, slot: int) -> list[torch.Tensor]:
        """All that one slot remembers, to be put into others by `remember`."""
        return [part[slot].clone() for part in (*self.keys, *self.values, self.positions)]

    def remember(self, slots: slice, recalled: list[torch.Tensor]) -> None:
        """Put what a slot remembered into some slots, in place of what they did."""
        for part, of in zip((*self.keys, *self.values, self.positions), recalled):
            part[slots] = of

    def advance(self, positions: torch.Tensor, rows: Rows = slice(None), end: int | None = None) -> Step:
        """Make room for T new positions a slot, int64 (slots, T), -1 for padding, T up to `chunk`, and say who sees what.

        Args:
            rows: the slots, ascending, that `positions` and all that follows are of.
            end: no slot of these has a position from here on, even if it had T new ones; None: it is not known, and all of the ring is
                read.
        """
        count = positions.shape[1]
        assert count <= self.chunk, f"{count} new positions do not fit a chunk of {self.chunk}"
        slot = torch.arange(len(self.positions), device=positions.device)[rows][:, None]
        newest = torch.maximum(self.positions[rows].amax(1), positions.amax(1))[:, None]
        beyond = torch.arange(count, device=positions.device) - (positions >= 0).sum(1, keepdim=True)
        at = torch.where(positions >= 0, positions, newest + 1 + beyond) % self.ring
        self.positions[slot, at] = positions
        filled = self.ring if end is None else min(_round_up(end), self.ring)
        where = self.positions[rows, :filled]
        distance = positions[:, :, None] - where[:, None, :]
        visible = (distance >= 0) & (distance < self.context) & (where >= 0)[:, None, :]
        visible |= (positions < 0)[:, :, None]  # padding sees all, for no NaN
        dtype = self.keys[0].dtype
        return Step(
            self,
            rows,
            slot,
            at,
            torch.zeros(visible.shape, dtype=dtype, device=where.device).masked_fill_(~visible, -torch.inf)[:, None],
            positions,
            tuple(part.to(torch.promote_types(dtype, torch.float32))[:, None] for part in sin_cos(positions, self.keys[0].shape[-1] // 2)),
        )


def _round_up(entries: int) -> int:
    return -(-entries // _GRAIN) * _GRAIN


@dataclass
class Step:
    """T new positions a slot on their way through the blocks, with what is the same for every block.

    Attributes:
        rows: as in `Memory.advance`: "slots" is their number here.
        slot, at: int64 (slots, 1) and (slots, T): where in the memory each new position is stored.
        hidden: (slots, 1, T, S): 0 for entries not after the query and less than `context` before it, -inf for the rest.
        positions: int64 (slots, T), -1 for padding.
        angles: sine and cosine of the rotary angles, both (slots, 1, T, key_size / 2).
    """

    memory: Memory
    rows: Rows
    slot: torch.Tensor
    at: torch.Tensor
    hidden: torch.Tensor
    positions: torch.Tensor
    angles: tuple[torch.Tensor, ...]

    def extend(self, block: int, keys: torch.Tensor, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Store T new entries a slot of a block, (slots, heads, T, key_size); returns all that may be seen, (slots, heads, S, key_size)."""
        all_keys, all_values = self.memory.keys[block], self.memory.values[block]
        all_keys[self.slot, :, self.at] = keys.transpose(1, 2).to(all_keys.dtype)
        all_values[self.slot, :, self.at] = values.transpose(1, 2).to(all_values.dtype)
        filled = self.hidden.shape[-1]
        return all_keys[self.rows, :, :filled], all_values[self.rows, :, :filled]

    def far_first(self, block: int, project: Callable[[Memory], torch.Tensor]) -> torch.Tensor:
        """`Memory.far_first` of the distances S + 63 … 0; `project` makes it where there is none yet."""
        known = self.memory.far_first[block]
        if known is None or torch.is_grad_enabled():  # a backward pass may follow: nothing is kept
            known = project(self.memory)
            known = F.pad(known, (0, 0, self.memory.ring + _GRAIN - known.shape[1], 0)).contiguous()
            self.memory.far_first[block] = None if torch.is_grad_enabled() else known
        return known[:, -(self.hidden.shape[-1] + _GRAIN) :]

    @property
    def seen(self) -> torch.Tensor:
        """int64 (slots, S): the absolute position of each entry, -1 where there is none."""
        return self.memory.positions[self.rows, : self.hidden.shape[-1]]

    def watching(self, block: int) -> Callable[[torch.Tensor, slice], None] | None:
        """What is shown a block's attention weights, where anybody looks."""
        watch = self.memory.watch
        return None if watch is None else lambda weights, slots: watch(block, self, weights, slots)

    @cached_property
    def _turns(self) -> list[int]:
        """By how many entries each slot's memory is turned, oldest first."""
        return ((self.positions[:, 0] + self.positions.shape[1]) % self.hidden.shape[-1]).tolist()

    def add_by_distance(self, scores: torch.Tensor, by_distance: torch.Tensor, slots: slice) -> None:
        """Add to the scores of some slots, (slots, heads, T, S) by entry, those by distance, (slots, heads, T, 64 + S),
        S + 63 … 0.

        What is hidden gets rubbish.
        """
        size = scores.shape[-1]
        if scores.device.type != "cpu" or torch.compiler.is_compiling():
            where = self.seen[slots]
            last = by_distance.shape[-1] - 1
            column = (last - self.positions[slots, :, None] + where[:, None]).clamp(0, last)
            scores += by_distance.gather(-1, column[:, None].expand_as(scores))
            return
        # Without a gather, which on a CPU takes as long as the attention itself: shifted, every row is the same turn of the ring.
        shifted = shift_padded(by_distance, _GRAIN)
        for slot, turn in enumerate(self._turns[slots]):
            scores[slot, ..., turn:] += shifted[slot, ..., : size - turn]
            scores[slot, ..., :turn] += shifted[slot, ..., size - turn :]
