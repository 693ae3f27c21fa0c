"""How datasets are read: what one run says to all formats, of which each takes what concerns it."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from pathlib import Path

from opengato.errors import OpenGatoError
from opengato.tokens.vocabulary import PATCH_SIZE

TEXT_CHARS = 4_000_000


@dataclass(frozen=True)
class Budget:
    """The patches that a picture may take: so many columns and rows of 16 × 16 pixels."""

    columns: int = 4
    rows: int = 4

    @classmethod
    def parse(cls, text: str) -> Budget:
        """Of "6x4", width × height. Raises OpenGatoError for anything else."""
        found = re.fullmatch(r"([1-9]\d*)[x×]([1-9]\d*)", text)
        if found is None:
            raise OpenGatoError(f"pictures is {text!r}: give columns and rows of patches of 16 pixels, 4x4 say")
        return cls(int(found[1]), int(found[2]))

    def __str__(self) -> str:
        return f"{self.columns}x{self.rows}"

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.rows * PATCH_SIZE, self.columns * PATCH_SIZE

    def within(self, patches: int) -> Budget:
        """The largest of the same proportions that has at most so many patches; this one where it has no more."""
        if self.columns * self.rows <= patches:
            return self
        if self.columns > self.rows * patches:  # so wide that not even a row of it fits
            return Budget(max(patches, 1), 1)
        best = Budget(1, 1)
        for rows in range(1, self.rows + 1):
            wide = rows * self.columns / self.rows
            for columns in (max(math.floor(wide), 1), math.ceil(wide)):
                if best.columns * best.rows <= columns * rows <= patches:
                    best = Budget(columns, rows)
        return best


@dataclass(frozen=True)
class Reading:
    """What a run says to all formats.

    Attributes:
        root: the folder of the Minari datasets; None: Minari's own.
        text_chars: how much of the shipped text to read.
        pictures: what a picture of a photograph, a page or a question may take, whose shape is kept within it.
        seed: of what a reader draws, as which of ten annotators' answers to a question.
    """

    root: Path | None = None
    text_chars: int = TEXT_CHARS
    pictures: Budget = field(default_factory=Budget)
    seed: int = 0
