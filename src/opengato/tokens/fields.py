"""The leaves of a space, and what kind of tokens each of them has."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from gymnasium import spaces

from opengato.errors import OpenGatoError
from opengato.tokens import image
from opengato.tokens.spaces import COVERED
from opengato.tokens.vocabulary import (
    ACTION_CONTINUOUS,
    ACTION_DISCRETE,
    ACTION_TEXT,
    CONTINUOUS,
    DISCRETE,
    DISCRETE_SIZE,
    GRID,
    IMAGE,
    LOCAL_POSITIONS,
    MOST_SYMBOLS,
    TEXT,
)


@dataclass(frozen=True)
class Field:
    """One leaf of a space.

    Attributes:
        path: where it stands in the structure, "image" or "arm.joints"; "" where the space is the leaf itself.
        space: the leaf's space.
        kind: TEXT, WORD, DISCRETE, one of the GRIDS, CONTINUOUS or IMAGE, or the ACTION_ kinds.
        count: tokens a timestep; None for text, whose length varies.
        low, high: discrete: smallest value and number of values a slot; continuous actions: the bounds; else None.
    """

    path: str
    space: spaces.Space
    kind: int
    count: int | None
    low: np.ndarray | None = None
    high: np.ndarray | None = None


def fields_of(space: spaces.Space, is_action: bool, path: str = "") -> list[Field]:
    """The leaves of a space in the order of their tokens. Raises OpenGatoError, naming the field, for one that has no layout."""
    if isinstance(space, spaces.Dict):
        return [f for key in sorted(space.spaces) for f in fields_of(space[key], is_action, f"{path}.{key}".lstrip("."))]
    if isinstance(space, spaces.Tuple):
        return [f for i, sub in enumerate(space.spaces) for f in fields_of(sub, is_action, f"{path}.{i}".lstrip("."))]
    here = f"{'action' if is_action else 'observation'} field {path or '(root)'}"
    if isinstance(space, spaces.Text):
        return [Field(path, space, ACTION_TEXT if is_action else TEXT, None)]
    if isinstance(space, spaces.Discrete):
        starts, sizes = np.array([space.start]), np.array([space.n])
    elif isinstance(space, spaces.MultiDiscrete):
        starts, sizes = space.start.ravel(), space.nvec.ravel()
    elif isinstance(space, spaces.MultiBinary):
        n = int(np.prod(space.shape))
        starts, sizes = np.zeros(n, np.int64), np.full(n, 2)
    elif isinstance(space, spaces.Box) and np.issubdtype(space.dtype, np.floating):
        n = int(np.prod(space.shape))
        if not is_action:
            return [Field(path, space, CONTINUOUS, n)]
        low, high = np.float64(space.low).ravel(), np.float64(space.high).ravel()
        # The paper's actions live in [-1, 1]; other finite bounds are mapped onto it, unbounded entries are taken as they are.
        unbounded = ~(np.isfinite(low) & np.isfinite(high))
        return [Field(path, space, ACTION_CONTINUOUS, n, np.where(unbounded, -1.0, low), np.where(unbounded, 1.0, high))]
    elif isinstance(space, spaces.Box) and space.dtype == np.uint8 and not is_action and len(space.shape) == 3:
        if space.shape[2] not in (1, 3):
            raise OpenGatoError(f"{here} is an image of shape {space.shape}: put its channels last and give it 1 or 3 of them")
        return [Field(path, space, IMAGE, int(np.prod(image.patch_grid(*space.shape[:2]))))]
    elif isinstance(space, spaces.Box):
        # In floating point, since the difference of two int64 may be too large for one.
        starts, sizes = np.int64(space.low).ravel(), np.float64(space.high).ravel() - np.float64(space.low).ravel() + 1
    else:
        raise OpenGatoError(f"{here} is a {type(space).__name__} space, which has no token layout: use {COVERED}")
    if sizes.size and sizes.max() > DISCRETE_SIZE:
        raise OpenGatoError(
            f"{here} takes {sizes.max():.0f} different values, more than the {DISCRETE_SIZE} discrete ids: "
            "declare it as a float Box or split it into digits"
        )
    kind = ACTION_DISCRETE if is_action else _discrete_kind(space.shape or ())
    return [Field(path, space, kind, len(sizes), np.asarray(starts, np.int64), np.asarray(sizes, np.int64))]


def _discrete_kind(shape: tuple[int, ...]) -> int:
    """Rows and columns make a grid, of cells with a few symbols each where a third axis is that short."""
    if len(shape) not in (2, 3) or math.prod(shape) > LOCAL_POSITIONS:
        return DISCRETE
    symbols = shape[2] if len(shape) == 3 and 0 < shape[2] <= MOST_SYMBOLS else 1
    return GRID + symbols - 1
