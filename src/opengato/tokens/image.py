"""Images to 16×16 patches in raster order, and each patch's place in the image (paper, section 2.1 and appendix C)."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from opengato.tokens.vocabulary import PATCH_POSITIONS, PATCH_SIZE


def patch_grid(height: int, width: int) -> tuple[int, int]:
    """Rows and columns of patches; an image whose size is no multiple of 16 is padded with zeros below and to the right."""
    return -(-height // PATCH_SIZE), -(-width // PATCH_SIZE)


def to_patches(images: np.ndarray) -> np.ndarray:
    """uint8 (T, H, W, C), C 1 or 3, to uint8 patches (T, rows·columns, 16, 16, 3); one channel is repeated three times."""
    t, height, width, channels = images.shape
    rows, columns = patch_grid(height, width)
    pad = ((0, 0), (0, rows * PATCH_SIZE - height), (0, columns * PATCH_SIZE - width), (0, 0))
    padded = np.pad(images, pad) if any(p != (0, 0) for p in pad) else images
    cut = padded.reshape(t, rows, PATCH_SIZE, columns, PATCH_SIZE, channels).transpose(0, 1, 3, 2, 4, 5)
    cut = cut.reshape(t, rows * columns, PATCH_SIZE, PATCH_SIZE, channels)
    return np.repeat(cut, 3, axis=-1) if channels == 1 else np.ascontiguousarray(cut)


def as_pictures(patches: np.ndarray, height: int, width: int, channels: int) -> np.ndarray | None:
    """The patches of T pictures, uint8 (T, rows·columns, 16, 16, 3), as a view to write pictures through: (T, rows, 16, columns, 16, 3).

    None where a picture is not just its patches: where it is padded, or has one channel.
    """
    if height % PATCH_SIZE or width % PATCH_SIZE or channels != 3:
        return None
    cut = patches.reshape(len(patches), height // PATCH_SIZE, width // PATCH_SIZE, PATCH_SIZE, PATCH_SIZE, 3)
    return cut.transpose(0, 1, 3, 2, 4, 5)


def from_patches(patches: np.ndarray, height: int, width: int, channels: int) -> np.ndarray:
    """The inverse of `to_patches`: uint8 (T, H, W, C)."""
    rows, columns = patch_grid(height, width)
    image = patches.reshape(-1, rows, columns, PATCH_SIZE, PATCH_SIZE, 3).transpose(0, 1, 3, 2, 4, 5)
    image = image.reshape(-1, rows * PATCH_SIZE, columns * PATCH_SIZE, 3)
    return np.ascontiguousarray(image[:, :height, :width, :channels])


@lru_cache(maxsize=256)
def patch_boxes(height: int, width: int) -> np.ndarray:
    """Each patch's row and column interval on the 128-entry position vocabulary.

    uint8 (rows·columns, 4): row start, row stop, column start, column stop; stop is exclusive and greater than start. Not to be written to.
    The paper's example: in an image 80 wide and 64 high, the patch in row 1, column 2 covers rows [32, 64), columns [51, 77).
    """

    def intervals(size: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        edges = np.minimum(np.arange(count + 1) * PATCH_SIZE / size, 1.0) * PATCH_POSITIONS
        edges = np.round(edges).astype(np.int64)
        start = np.minimum(edges[:-1], PATCH_POSITIONS - 1)
        return start, np.maximum(edges[1:], start + 1)

    rows, columns = patch_grid(height, width)
    (r0, r1), (c0, c1) = intervals(height, rows), intervals(width, columns)
    grid = [np.repeat(r0, columns), np.repeat(r1, columns), np.tile(c0, rows), np.tile(c1, rows)]
    boxes = np.stack(grid, axis=1).astype(np.uint8)
    boxes.flags.writeable = False
    return boxes


def mean_positions(boxes: np.ndarray) -> np.ndarray:
    """The rounded mean of each interval, used in evaluation: (N, 4) to int64 (N, 2), row and column index."""
    boxes = boxes.astype(np.int64)
    return np.minimum((boxes[:, 0::2] + boxes[:, 1::2] + 1) // 2, PATCH_POSITIONS - 1)


def random_positions(boxes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A uniform index inside each interval, used in training: (N, 4) to int64 (N, 2)."""
    boxes = boxes.astype(np.int64)
    return rng.integers(boxes[:, 0::2], boxes[:, 1::2])
