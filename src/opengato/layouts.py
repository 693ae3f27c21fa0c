"""The layouts that an agent was trained on, asked for by its task."""

from __future__ import annotations

from collections.abc import Mapping

from gymnasium import spaces

from opengato.errors import OpenGatoError, unknown
from opengato.tokens.layout import Layout
from opengato.tokens.spaces import differences, to_json


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
