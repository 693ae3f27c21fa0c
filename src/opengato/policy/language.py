"""Captions, answers and chat: tasks whose action is text."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TextIO

import numpy as np

from opengato.datasets import captions, dialogue
from opengato.policy.policy import Policy


def caption(policy: Policy, image: Path | np.ndarray) -> str:
    """What an image, a file or uint8 (64, 64, 3), shows."""
    policy.reset(captions.TASK)
    return policy.act({"image": captions.read_image(image) if isinstance(image, Path) else image})


def continue_text(policy: Policy) -> str:
    """A text from nothing."""
    policy.reset("text/plain")
    return policy.act({})


def chat(policy: Policy, lines: TextIO) -> None:
    """Answer every line, streaming the words, with the conversation so far in memory; ends at an empty line."""
    policy.reset(dialogue.TASK)
    tokenizer = policy.checkpoint.tokenizer
    for line in iter(lambda: _ask(lines), ""):
        said: list[int] = []
        shown = ""

        def show(token: int, said: list[int] = said) -> None:
            nonlocal shown
            said.append(token)
            text = tokenizer.decode(said)
            if not text.endswith("\ufffd"):  # a character whose bytes are not all there yet
                sys.stdout.write(text[len(shown) :])
                sys.stdout.flush()
                shown = text

        policy.act(line, show)
        print()


def _ask(lines: TextIO) -> str:
    if lines.isatty():
        print("> ", end="", flush=True)
    return lines.readline().strip()
