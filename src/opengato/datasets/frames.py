"""Compressed pictures as leaves of episodes: decompressed when they are taken."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from opengato.errors import OpenGatoError


@dataclass(frozen=True)
class Pictures:
    """T compressed pictures as the leaf of an episode, uint8 (T, H, W, C); a slice of it is one too.

    Attributes:
        blobs: of each the bytes of its file, or where its file is; None where there is none. size: (H, W, C), C being 1 or 3.
        what: they are, for errors. stacked: see `decompress`.

    Taken as an array it raises OpenGatoError where a picture is damaged, missing, or of another size.
    """

    blobs: Sequence[bytes | memoryview | Path | None]
    size: tuple[int, int, int]
    what: str
    stacked: bool = False

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return (len(self.blobs), *self.size)

    def __len__(self) -> int:
        return len(self.blobs)

    def __getitem__(self, timesteps: slice) -> Pictures:
        return Pictures(self.blobs[timesteps], self.size, self.what, self.stacked)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        out = np.empty(self.shape, np.uint8)
        for t, blob in enumerate(self.blobs):
            frame = decompress(blob, f"{self.what}, timestep {t},", self.stacked)
            if frame.shape != self.size:
                raise OpenGatoError(
                    f"{self.what}, timestep {t}, is a picture of {frame.shape} where others are {self.size}: make them alike"
                )
            out[t] = frame
        return out


def decompress(blob: bytes | memoryview | Path | None, what: str, stacked: bool = False) -> np.ndarray:
    """A PNG, JPEG or other picture as uint8 (H, W, 3), or (H, W, 1) where it is grey; what is transparent is not made so.

    `stacked`: four channels are the last four grey frames of a game, oldest first, and the newest is taken: (H, W, 1).
    """
    from PIL import Image

    if blob is None:
        raise OpenGatoError(f"{what} has no picture: drop the episode")
    try:
        with Image.open(blob if isinstance(blob, Path) else io.BytesIO(blob)) as picture:
            if stacked and picture.mode == "RGBA":
                return np.asarray(picture)[..., 3:]
            if picture.mode == "L":
                return np.asarray(picture)[..., None]
            if picture.mode not in ("RGB", "RGBA", "P"):  # as 16 bits of depth
                raise OpenGatoError(
                    f"{what} is a picture of mode {picture.mode}, which is neither grey nor colours of 8 bits: leave it out"
                )
            return np.asarray(picture.convert("RGB"))
    except (OSError, SyntaxError, ValueError) as error:  # SyntaxError: a broken PNG
        raise OpenGatoError(f"{what} is no picture that can be read: {error}") from None
