"""Where an agent looks, drawn over what it sees: frames of a video, and some of them in a row."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from opengato.evaluation.saliency import Look
from opengato.tokens.vocabulary import PATCH_SIZE

_HEAT = np.array([255, 96, 0])
_GREY = np.array([0.299, 0.587, 0.114])  # of red, green and blue in brightness (ITU-R BT.601)
_GAP = 4


def draw(look: Look, side: int = 256) -> np.ndarray:
    """A frame, uint8 (H, W, 3): above what every camera sees, below it in grey, the redder a patch the more of the look is on it.

    Pictures are enlarged without smoothing to `side` pixels or more; the patch with the most of all cameras is the reddest.
    """
    most = max(float(part.max()) for part in look.maps)
    columns = []
    for picture, part in zip(look.pictures, look.maps):
        height, width = picture.shape[:2]
        heat = np.kron(part, np.ones((PATCH_SIZE, PATCH_SIZE)))[:height, :width, None] / (most or 1.0)
        below = picture @ _GREY[:, None] * (1 - 0.8 * heat) * 0.8 + _HEAT * 0.8 * heat
        times = -(-side // height)
        columns.append(
            np.kron(np.concatenate([picture, below.round().clip(0, 255).astype(np.uint8)]), np.ones((times, times, 1), np.uint8))
        )
    return in_row(columns)


def strip(frames: Sequence[np.ndarray], most: int = 6) -> np.ndarray:
    """Up to so many frames, equally far apart, beside one another."""
    chosen = np.unique(np.linspace(0, len(frames) - 1, min(most, len(frames))).round().astype(int))
    return in_row([frames[i] for i in chosen])


def in_row(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Pictures, uint8 (H, W, 3), in a row, with white between and under them."""
    height = max(len(picture) for picture in pictures)
    padded = [np.pad(p, ((0, height - len(p)), (0, _GAP), (0, 0)), constant_values=255) for p in pictures]
    return np.concatenate(padded, 1)[:, :-_GAP]
