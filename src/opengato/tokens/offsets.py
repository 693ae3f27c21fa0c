"""Running sums of the sizes of rows: one number where all rows are alike, as the timesteps of most tasks are."""

from __future__ import annotations

from typing import Any

import numpy as np


class Offsets:
    """Where each of T rows of these sizes begins, and after the last where it ends: T + 1 offsets.

    Args:
        sizes: ints (T,), or (1,) where all rows are of one size; nothing is kept for each row then. count: T.
    """

    def __init__(self, sizes: np.ndarray, count: int):
        self.count = count
        alike = len(sizes) == 1 and count != 1
        self._stride = int(sizes[0]) if alike else 0
        self._ends: np.ndarray | None = None
        if not alike:
            ends = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
            self._ends = ends.astype(np.uint32) if ends[-1] < 2**32 else ends  # there may be a hundred million of them

    def __getitem__(self, rows: Any) -> Any:
        """The offsets, int64 (R,), of rows [0, T], T being the end; of one row an int."""
        if self._ends is None:
            return rows * self._stride
        found = self._ends[rows]
        return found.astype(np.int64) if isinstance(found, np.ndarray) else int(found)

    def sizes(self, rows: np.ndarray) -> np.ndarray:
        """Of rows int64 (R,), below T: int64 (R,)."""
        found: np.ndarray = np.full(len(rows), self._stride) if self._ends is None else self[rows + 1] - self[rows]
        return found

    def search(self, value: int, side: str) -> int:
        """`numpy.searchsorted` in the T + 1 offsets."""
        if self._ends is not None:
            if not 0 <= value <= self._ends[-1]:
                return 0 if value < 0 else self.count + 1
            # of the offsets' own type: for another one all of them would be converted
            return int(np.searchsorted(self._ends, self._ends.dtype.type(value), side=side))  # type: ignore[call-overload]
        before = -(-value // self._stride) if side == "left" else value // self._stride + 1
        return min(max(before, 0), self.count + 1)
