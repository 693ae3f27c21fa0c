"""A layout says how a task's timesteps become tokens: computed once from its two spaces, used in both directions.

Text in the order of the string, patches in raster order, tensors row-major, dicts in lexicographic key order
(paper, section 2.1); a timestep is its observation's tokens, the separator, its action's tokens.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from gymnasium import spaces

from opengato.errors import OpenGatoError
from opengato.tokens import continuous
from opengato.tokens.fields import Field, fields_of
from opengato.tokens.members import refuse
from opengato.tokens.spaces import from_json, to_json
from opengato.tokens.statistics import Statistics
from opengato.tokens.view import View
from opengato.tokens.vocabulary import (
    ACTION_CONTINUOUS,
    ACTION_NUMBERS,
    ACTION_TEXT,
    CONTINUOUS,
    TEXT,
    WORD,
)

_ROUNDING = 1e-5  # an action may lie so far outside its bounds, as a share of their span: float32 in and out of other libraries


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
        self.action = tuple(fields_of(action_space, is_action=True))
        self._observed = tuple(fields_of(observation_space, is_action=False)) if view is not None else ()
        observation = fields_of(view.space if view is not None else observation_space, is_action=False)
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
