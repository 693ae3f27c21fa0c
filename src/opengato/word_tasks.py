"""Which of an agent's tasks are of words, by their spaces: who puts pictures into words, who answers, who writes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from gymnasium import spaces

from opengato.datasets import captions, dialogue, questions, text
from opengato.tokens.layout import Layout


def picture_tasks(layouts: Mapping[str, Layout], question: bool) -> list[str]:
    """The tasks that put a colour picture into words, those that answer a question about it if asked; captions before pages."""
    fields = {"image", "question"} if question else {"image"}

    def matches(space: spaces.Space) -> bool:
        if not isinstance(space, spaces.Dict) or set(space.spaces) != fields:
            return False
        image = space["image"]
        if not isinstance(image, spaces.Box) or image.dtype != np.uint8 or len(image.shape) != 3 or image.shape[2] != 3:
            return False
        return all(isinstance(space[key], spaces.Text) for key in fields - {"image"})

    return _tasks(layouts, questions.TASK if question else captions.TASK, matches)


def talk_tasks(layouts: Mapping[str, Layout]) -> list[str]:
    """The tasks that answer what is said to them."""
    return _tasks(layouts, dialogue.TASK, lambda space: isinstance(space, spaces.Text))


def text_tasks(layouts: Mapping[str, Layout]) -> list[str]:
    """The tasks that write from nothing."""
    return _tasks(layouts, text.TASK, lambda space: isinstance(space, spaces.Dict) and not space.spaces)


def _tasks(layouts: Mapping[str, Layout], own: str, matches: Callable[[spaces.Space], bool]) -> list[str]:
    """Those whose action is text and whose observation `matches`; first the package's `own`, then those of its domain."""
    domain = own.split("/")[0]
    found = (task for task, layout in layouts.items() if isinstance(layout.action_space, spaces.Text) and matches(layout.observation_space))
    return sorted(found, key=lambda task: (task != own, task.split("/")[0] != domain, task))


def picture_size(layout: Layout) -> tuple[int, int]:
    """Of a task of `picture_tasks`: its images are uint8 (height, width, 3)."""
    height, width, _ = layout.observation_space["image"].shape  # type: ignore[index]
    return height, width
