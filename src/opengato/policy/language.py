"""Captions, answers and chat: tasks whose action is text, said word by word."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from opengato.datasets import captions, dialogue, questions, text
from opengato.datasets.photographs import read_image
from opengato.errors import OpenGatoError
from opengato.policy.policy import Policy
from opengato.tokens.layout import Layout
from opengato.tokens.text import Words
from opengato.word_tasks import picture_size, picture_tasks, talk_tasks, text_tasks

Say = Callable[[str], object]


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
    """What an image, a file or uint8 (height, width, 3), shows; `say` as in `speak`."""
    return speak(policy, {"image": _look(policy, image, question=False)}, say)


def ask(policy: Policy, image: Path | np.ndarray, question: str, say: Say | None = None) -> str:
    """The answer to a question about an image, a file or uint8 (height, width, 3); `say` as in `speak`."""
    return speak(policy, {"image": _look(policy, image, question=True), "question": question}, say)


def _look(policy: Policy, image: Path | np.ndarray, question: bool) -> np.ndarray:
    """Start the task that puts pictures into words; the image in its size."""
    what = f"questions about images, such as {questions.TASK}" if question else f"images and their captions, such as {captions.TASK}"
    task = _first(policy, partial(picture_tasks, question=question), what)
    policy.reset(task)
    return read_image(image, picture_size(policy.checkpoint.layouts[task])) if isinstance(image, Path) else image


def _first(policy: Policy, tasks: Callable[[Mapping[str, Layout]], list[str]], what: str) -> str:
    """The first such task that the agent knows. Raises OpenGatoError where it knows none."""
    layouts = policy.checkpoint.layouts
    found = tasks(layouts)
    if not found:
        raise OpenGatoError(f"this checkpoint was not trained on {what}: it knows {', '.join(sorted(layouts))}")
    return found[0]


def continue_text(policy: Policy, say: Say | None = None) -> str:
    """A text from nothing; `say` as in `speak`."""
    policy.reset(_first(policy, text_tasks, f"texts, such as {text.TASK}"))
    return speak(policy, {}, say)


def chat(policy: Policy, lines: TextIO, say: Say) -> None:
    """Answer every line, with the conversation so far in memory; ends at an empty line."""
    policy.reset(_first(policy, talk_tasks, f"dialogue, such as {dialogue.TASK}"))
    for line in iter(lambda: _prompted(lines), ""):
        speak(policy, line, say)
        say("\n")


def _prompted(lines: TextIO) -> str:
    if lines.isatty():
        print("> ", end="", flush=True)
    return lines.readline().strip()
