"""Pictures in files, in records and in a folder of pictures: looked at in a size that is given, in their own shape."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces

from opengato.datasets import files
from opengato.datasets.reading import Budget
from opengato.errors import OpenGatoError

ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp")


def image_space(budget: Budget) -> spaces.Box:
    """Pictures within a budget."""
    return spaces.Box(0, 255, (*budget.size, 3), np.uint8)


def read_image(data: bytes | str | Path, size: int | tuple[int, int] = 64) -> np.ndarray:
    """Any image, a file's bytes or its path, whole and in its own shape, in the middle of a white field.

    `size`: height and width of the field, or the side of a square. Returns uint8 (height, width, 3).
    """
    from PIL import Image, ImageOps

    height, width = (size, size) if isinstance(size, int) else size
    try:
        stream = io.BytesIO(data) if isinstance(data, bytes) else files.open_file(str(data))
        with stream, Image.open(stream) as file:
            file.draft("RGB", (4 * width, 4 * height))  # a photograph is decoded no larger than it will be looked at
            picture = file.convert("RGBA")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:  # SyntaxError: a broken PNG
        raise OpenGatoError(f"{'the data' if isinstance(data, bytes) else data} is no image that can be read: {error}") from None
    white = Image.new("RGBA", picture.size, "white")
    white.alpha_composite(picture)
    return np.asarray(ImageOps.pad(white.convert("RGB"), (width, height), color="white"))


@dataclass(frozen=True)
class Picture:
    """Pictures as the leaf of T timesteps, uint8 (T, height, width, 3): read when it is taken as an array, and may fail then.

    Attributes:
        sources: of every timestep a file's path, its bytes, or None, which is an empty, white field.
        size: height and width. where: the record that bytes are of, for people.
    """

    sources: tuple[bytes | str | None, ...]
    size: tuple[int, int]
    where: str = ""

    def __len__(self) -> int:
        return len(self.sources)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.stack([self._read(source) for source in self.sources])

    def _read(self, source: bytes | str | None) -> np.ndarray:
        if source is None:
            return np.full((*self.size, 3), 255, np.uint8)
        try:
            return read_image(source, self.size)
        except OpenGatoError as error:
            raise OpenGatoError(f"{self.where}: {error}" if self.where else str(error)) from None


@dataclass(frozen=True)
class Folder:
    """A folder of pictures, by the names that records give them: a file's name, or the address it was fetched from.

    A picture that was fetched is called by the SHA-256 of its address, in hexadecimal, with the ending of an image or without.

    Raises OpenGatoError where there is no such folder.
    """

    path: str

    def __post_init__(self) -> None:
        files.check_folder(self.path)

    @cached_property
    def _names(self) -> frozenset[str]:
        return files.names_in(self.path)

    def find(self, name: str) -> str | None:
        """The path of a picture; None where it is not there."""
        if "://" in name:
            digest = hashlib.sha256(name.encode()).hexdigest()
            return self.first([digest + ending for ending in (*ENDINGS, "")])
        if "/" in name:  # further down: asked for one by one
            at, inside = files.system(files.join(self.path, name))
            return files.join(self.path, name) if at.exists(inside) else None
        return self.first([name])

    def first(self, names: list[str]) -> str | None:
        """The path of the first of these that is there; None where none is."""
        return next((files.join(self.path, name) for name in names if name in self._names), None)
