"""Captions, answers and chat: tasks whose action is text, said word by word."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from gymnasium import spaces

from opengato.datasets import captions, dialogue, questions
from opengato.errors import OpenGatoError
from opengato.policy.policy import Policy
from opengato.tokens.layout import Layout
from opengato.tokens.text import Words

Say = Callable[[str], object]


def picture_tasks(layouts: Mapping[str, Layout], question: bool) -> list[str]:
    """The tasks that put a picture into words, those that answer a question about it if asked; the package's own first."""
    fields = {"image", "question"} if question else {"image"}
    own = questions.TASK if question else captions.TASK
    return sorted((task for task, layout in layouts.items() if _side(layout, fields)), key=lambda task: (task != own, task))


def picture_side(layout: Layout) -> int:
    """Of a task of `picture_tasks`: its images are uint8 (side, side, 3)."""
    image = layout.observation_space["image"]  # type: ignore[index]
    return image.shape[0]


def _side(layout: Layout, fields: set[str]) -> bool:
    """Whether a task is a square colour image, and texts for the other fields, to text."""
    space = layout.observation_space
    if not isinstance(space, spaces.Dict) or set(space.spaces) != fields or not isinstance(layout.action_space, spaces.Text):
        return False
    image = space["image"]
    if not isinstance(image, spaces.Box) or image.dtype != np.uint8 or image.shape != (*image.shape[:1] * 2, 3):
        return False
    return all(isinstance(space[key], spaces.Text) for key in fields - {"image"})


def speak(policy: Policy, observation: Any, say: Say | None = None) -> str:
    """The policy's answer in words; `say` hears them as they come, in pieces of whole characters."""
    words = Words(policy.checkpoint.tokenizer)

    def hear(token: int) -> None:
        if say is not None and (piece := words.hear(token)):
            say(piece)

    answer = policy.act(observation, hear)
    if say is not None and (rest := words.rest()):
        say(rest)
    return answer


def caption(policy: Policy, image: Path | np.ndarray, say: Say | None = None) -> str:
    """What an image, a file or uint8 (side, side, 3), shows; `say` as in `speak`."""
    return speak(policy, {"image": _look(policy, image, question=False)}, say)


def ask(policy: Policy, image: Path | np.ndarray, question: str, say: Say | None = None) -> str:
    """The answer to a question about an image, a file or uint8 (side, side, 3); `say` as in `speak`."""
    return speak(policy, {"image": _look(policy, image, question=True), "question": question}, say)


def _look(policy: Policy, image: Path | np.ndarray, question: bool) -> np.ndarray:
    """Start the task that puts pictures into words; the image in its size."""
    layouts = policy.checkpoint.layouts
    tasks = picture_tasks(layouts, question)
    if not tasks:
        what, data = ("questions about images", questions.TASK) if question else ("images and their captions", captions.TASK)
        raise OpenGatoError(f"this checkpoint was not trained on {what}, such as {data}: it knows {', '.join(sorted(layouts))}")
    policy.reset(tasks[0])
    return captions.read_image(image, picture_side(layouts[tasks[0]])) if isinstance(image, Path) else image


def continue_text(policy: Policy, say: Say | None = None) -> str:
    """A text from nothing; `say` as in `speak`."""
    policy.reset("text/plain")
    return speak(policy, {}, say)


def chat(policy: Policy, lines: TextIO, say: Say) -> None:
    """Answer every line, with the conversation so far in memory; ends at an empty line."""
    policy.reset(dialogue.TASK)
    for line in iter(lambda: _prompted(lines), ""):
        speak(policy, line, say)
        say("\n")


def _prompted(lines: TextIO) -> str:
    if lines.isatty():
        print("> ", end="", flush=True)
    return lines.readline().strip()
