"""Pictures as they might have been taken as well: moved a little, a little larger or smaller."""

from __future__ import annotations

import numpy as np

from opengato.tokens.image import as_pictures
from opengato.tokens.layout import Layout
from opengato.tokens.vocabulary import ACTION_TEXT, IMAGE


def moves(layout: Layout) -> bool:
    """Whether what is asked of a task's pictures stays the same when they are moved: words are said of them, and nobody acts in them."""
    return all(field.kind == ACTION_TEXT for field in layout.action) and any(field.kind == IMAGE for field in layout.observation)


def move_pictures(patches: np.ndarray, layout: Layout, pixels: int, rng: np.random.Generator) -> None:
    """Move each picture by up to `pixels` each way, and scale it by as much at its edges; what comes into sight repeats the edge.

    Pictures that are padded to whole patches, or grey, stay as they are.

    Args:
        patches: uint8 (T · P, 16, 16, 3), as in `Encoded`, written to in place.
    """
    images = [field for field in layout.observation if field.kind == IMAGE]
    every = sum(field.count or 0 for field in images)
    of_timesteps = patches.reshape(-1, every, *patches.shape[1:])
    begin = 0
    for field in images:
        end = begin + (field.count or 0)
        pictures = as_pictures(of_timesteps[:, begin:end], *field.space.shape)  # type: ignore[misc]
        begin = end
        if pictures is None:
            continue
        height, width = field.space.shape[:2]  # type: ignore[index]
        for picture in pictures:
            down, right, grown = rng.integers(-pixels, pixels + 1, 3)
            scale = 1 + 2 * grown / (height + width)
            rows, columns = (_taken(size, shift, scale) for size, shift in ((height, down), (width, right)))
            picture[:] = picture.reshape(height, width, 3)[rows[:, None], columns].reshape(picture.shape)


def _taken(size: int, shift: int, scale: float) -> np.ndarray:
    """Which of the old rows each new one is."""
    middle = (size - 1) / 2
    found = np.rint((np.arange(size) - middle - shift) / scale + middle)
    return np.clip(found, 0, size - 1).astype(np.int64)
