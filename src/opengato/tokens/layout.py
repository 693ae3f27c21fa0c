"""A layout says how a task's timesteps become tokens: computed once from its two spaces, used in both directions.

Text in the order of the string, patches in raster order, tensors row-major, dicts in lexicographic key order
(paper, section 2.1); a timestep is its observation's tokens, the separator, its action's tokens.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from gymnasium import spaces

from opengato.errors import OpenGatoError
from opengato.tokens import continuous, image
from opengato.tokens.members import refuse
from opengato.tokens.spaces import COVERED, from_json, to_json
from opengato.tokens.statistics import Statistics
from opengato.tokens.view import View
from opengato.tokens.vocabulary import (
    ACTION_CONTINUOUS,
    ACTION_DISCRETE,
    ACTION_NUMBERS,
    ACTION_TEXT,
    CONTINUOUS,
    DISCRETE,
    DISCRETE_SIZE,
    GRID,
    IMAGE,
    LOCAL_POSITIONS,
    MOST_SYMBOLS,
    TEXT,
    WORD,
)

_ROUNDING = 1e-5  # an action may lie so far outside its bounds, as a share of their span: float32 in and out of other libraries


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


def _fields(space: spaces.Space, is_action: bool, path: str = "") -> list[Field]:
    if isinstance(space, spaces.Dict):
        return [f for key in sorted(space.spaces) for f in _fields(space[key], is_action, f"{path}.{key}".lstrip("."))]
    if isinstance(space, spaces.Tuple):
        return [f for i, sub in enumerate(space.spaces) for f in _fields(sub, is_action, f"{path}.{i}".lstrip("."))]
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


class Layout:
    """How the timesteps of one pair of spaces become tokens.

    Attributes:
        observation_space, action_space: the two spaces.
        observation, action: their fields in token order; with a view, of the space that the observation is read as.
        statistics: of those numbers, where data has been seen: what the networks that fold measure them in.
        view: how what is observed is read as another space, if it is.
    """

    def __init__(
        self,
        observation_space: spaces.Space,
        action_space: spaces.Space,
        statistics: Statistics | None = None,
        view: View | None = None,
    ):
        self.observation_space, self.action_space, self.statistics, self.view = observation_space, action_space, statistics, view
        self.action = tuple(_fields(action_space, is_action=True))
        self._observed = tuple(_fields(observation_space, is_action=False)) if view is not None else ()
        observation = _fields(view.space if view is not None else observation_space, is_action=False)
        if any(f.kind == ACTION_TEXT for f in self.action):
            observation = [replace(f, kind=WORD) if f.kind == TEXT else f for f in observation]
        self.observation = tuple(observation)
        for fields in (self.observation, self.action):
            paths = [field.path for field in fields]
            if twice := sorted({path for path in paths if paths.count(path) > 1}):
                raise OpenGatoError(f"two fields are both {twice[0]!r}, one by a name with a dot in it: rename one of them")
        if not self.action or any(f.count == 0 for f in self.action):
            raise OpenGatoError("the action space is empty: an agent needs at least one action to predict")
        if (numbers := sum(f.count or 0 for f in self.action)) > ACTION_NUMBERS:
            raise OpenGatoError(
                f"the action space has {numbers} numbers, more than the {ACTION_NUMBERS} that an action may have: leave out those that the "
                "task does not need, or act on them in turns"
            )

    @property
    def numbers(self) -> int:
        """How many continuous values a timestep's observation has."""
        return sum(field.count or 0 for field in self.observation if field.kind == CONTINUOUS)

    @property
    def has_text(self) -> bool:
        """Whether anything is read or said in words."""
        return any(field.count is None for field in (*self.observation, *self.action))

    def in_a_row(self, chunk: int) -> int:
        """How many actions in a row, of `chunk` that are wanted, one position can predict: as ACTION_NUMBERS allows, of text one."""
        if any(field.count is None for field in self.action):
            return 1
        return min(chunk, ACTION_NUMBERS // sum(field.count or 0 for field in self.action))

    def with_statistics(self, statistics: Statistics | None) -> Layout:
        """The same layout, its numbers measured otherwise."""
        return Layout(self.observation_space, self.action_space, statistics, self.view)

    def seen(self, observation_space: spaces.Space, view: View) -> Layout:
        """The same tokens, of observations of another space, which `view` reads as this layout's."""
        return Layout(observation_space, self.action_space, self.statistics, view)

    def read(self, observations: Any) -> Any:
        """T observations of `observation_space` as the fields in `observation` have them."""
        if self.view is None:
            return observations
        return self.view.read(self._observed, self.observation, observations, self.statistics)

    def spaces_json(self) -> dict[str, Any]:
        """Both spaces as JSON."""
        return {"observation_space": to_json(self.observation_space), "action_space": to_json(self.action_space)}

    def to_json(self) -> dict[str, Any]:
        """Spaces, view and statistics as JSON."""
        view = {"view": self.view.to_json()} if self.view is not None else {}
        return self.spaces_json() | view | ({"statistics": self.statistics.to_json()} if self.statistics is not None else {})

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Layout:
        """What `to_json` gave."""
        statistics = Statistics.from_json(data["statistics"]) if "statistics" in data else None
        view = View.from_json(data["view"]) if "view" in data else None
        return cls(from_json(data["observation_space"]), from_json(data["action_space"]), statistics, view)


def encode_leaf(field: Field, values: Any, first_timestep: int = 0) -> np.ndarray:
    """A fixed-count, non-image field's T values to token ids, int32 (T, count).

    Raises OpenGatoError for NaN, infinity or a value outside the space, naming the field and the timestep.
    """
    name = f"field {field.path or '(root)'}"
    x = np.asarray(values).reshape(len(values), -1)
    if x.shape[1] != field.count:
        raise OpenGatoError(f"{name} has {x.shape[1]} values a timestep where its space {field.space} has {field.count}")
    if field.kind in (CONTINUOUS, ACTION_CONTINUOUS):
        refuse(name, x, ~np.isfinite(x), "drop the episode or repair the value", first_timestep)
        if field.kind == CONTINUOUS:
            return continuous.to_bins(continuous.mu_law(x))
        assert field.low is not None and field.high is not None
        span = np.where(field.high > field.low, field.high - field.low, 1.0)
        slack = _ROUNDING * span
        bad = (x < field.low - slack) | (x > field.high + slack)
        if bad.any():
            t, i = np.argwhere(bad)[0]
            where = f"action {name} is {x[t, i]:g} at timestep {first_timestep + t}, entry {i}"
            low, high = (float(bound.ravel()[i]) for bound in (field.space.low, field.space.high))  # type: ignore[attr-defined]
            if not math.isfinite(low) or not math.isfinite(high):
                raise OpenGatoError(
                    f"{where}, and its space states no bounds there, so that it must be in [-1, 1]: state its bounds or scale it"
                )
            raise OpenGatoError(f"{where}, outside [{low:g}, {high:g}]: record what was executed, or clip it or widen the space")
        return continuous.to_bins((np.float64(x) - field.low) / span * 2.0 - 1.0)
    assert field.low is not None and field.high is not None
    ids = x.astype(np.int64) - field.low
    refuse(name, x, (ids < 0) | (ids >= field.high), field.space, first_timestep)
    return ids.astype(np.int32)


def decode_leaf(field: Field, tokens: np.ndarray) -> np.ndarray:
    """The inverse of `encode_leaf`: token ids (T, count) to values (T, *shape) of the space's dtype."""
    if field.kind in (CONTINUOUS, ACTION_CONTINUOUS):
        x = continuous.bin_centres(tokens)
        if field.kind == CONTINUOUS:
            x = continuous.inverse_mu_law(x)
        else:
            assert field.low is not None and field.high is not None
            x = field.low + (x + 1.0) / 2.0 * (field.high - field.low)
            x = np.clip(x, np.float64(field.space.low).ravel(), np.float64(field.space.high).ravel())  # type: ignore[attr-defined]
    else:
        assert field.low is not None
        x = np.asarray(tokens, np.int64) + field.low
    return x.astype(field.space.dtype).reshape(len(tokens), *(field.space.shape or ()))
