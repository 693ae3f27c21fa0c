"""The layouts that an agent was trained on, asked for by its task, and those of tasks that it was not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from gymnasium import spaces

from opengato.errors import OpenGatoError, unknown
from opengato.tokens.layout import Layout
from opengato.tokens.spaces import differences, to_json
from opengato.tokens.statistics import Statistics
from opengato.tokens.vocabulary import ACTION_CONTINUOUS


def known_layout(
    layouts: Mapping[str, Layout], task: str, observation_space: spaces.Space | None = None, action_space: spaces.Space | None = None
) -> Layout:
    """The layout of a task among those an agent was trained on, checked against an environment's spaces where they are given.

    Raises OpenGatoError for a task that is not among them, or names the fields that differ.
    """
    if task not in layouts:
        raise unknown("task of this checkpoint", task, layouts)
    layout = layouts[task]
    for name, known, given in (
        ("observation", layout.observation_space, observation_space),
        ("action", layout.action_space, action_space),
    ):
        if given is not None and (lines := differences(to_json(known), to_json(given))):
            raise OpenGatoError(f"the {name} space of task {task!r} is not the one this checkpoint was trained on: {'; '.join(lines)}")
    return layout


def is_new(layouts: Iterable[Mapping[str, Any]], observation_space: spaces.Space) -> bool:
    """Whether none of the tasks that an agent was trained on, of whose layouts this is the JSON, observes this space."""
    observed = to_json(observation_space)
    return all(layout["observation_space"] != observed for layout in layouts)


def new_layout(
    layouts: Mapping[str, Layout],
    task: str,
    observation_space: spaces.Space,
    action_space: spaces.Space,
    statistics: Statistics | None = None,
    demonstrated: bool = False,
) -> Layout:
    """The layout of a task that an agent was not trained on, from the environment's spaces.

    Its numbers are measured as those of the tasks that observe the same space, which the agent has learned to read; else by
    `statistics` of demonstrations; without either they are taken as they are, cut at ±10.

    Args:
        layouts: of the tasks that the agent was trained on.
        demonstrated: whether there are demonstrations, whose actions are in [-1, 1] where their space states no bounds.

    Raises:
        OpenGatoError: for a space that has no layout; for actions without bounds and demonstrations, whose scale nobody knows.
    """
    try:
        layout = Layout(observation_space, action_space)
    except OpenGatoError as error:
        raise OpenGatoError(f"task {task!r}: {error}") from None
    for field in layout.action:
        if field.kind == ACTION_CONTINUOUS and not demonstrated:
            low, high = np.ravel(field.space.low), np.ravel(field.space.high)  # type: ignore[attr-defined]
            if not (bounded := np.isfinite(low) & np.isfinite(high)).all():
                raise OpenGatoError(
                    f"task {task!r} is not in training, and its action field {field.path or '(root)'} has no bounds at entry "
                    f"{int(np.argmin(bounded))}, so that only data can say what its numbers mean: give --demonstrations, or state bounds"
                )
    known = same_observed(layouts, observation_space)
    if known is not None and known.view is not None:
        return Layout(observation_space, action_space, known.statistics, known.view)
    return layout.with_statistics(known.statistics if known is not None and known.statistics is not None else statistics)


def same_observed(layouts: Mapping[str, Layout], observation_space: spaces.Space) -> Layout | None:
    """The layout of a task in which the same space is observed, one that measures numbers if there is one."""
    observed = to_json(observation_space)
    same = [one for one in layouts.values() if to_json(one.observation_space) == observed]
    return next((one for one in same if one.statistics is not None), same[0] if same else None)
