"""Conversations: one timestep a turn, what was said as observation, the answer as action."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from opengato.datasets.dataset import Stream
from opengato.datasets.text import package_folder
from opengato.episode import Episode
from opengato.tokens.spaces import text_space

TASK = "dialogue/chitchat"
OBSERVATION_SPACE = text_space()
ACTION_SPACE = text_space()
_EMAIL = re.compile(r"[\w.+-]+@[\w-]+(\.[\w-]+)+")


def conversations() -> Iterator[list[str]]:
    """The conversations of package `chitchat-dataset`, see `turns_of`."""
    yield from turns_of(package_folder("chitchat_dataset") / "dataset.json")


def turns_of(path: Path) -> Iterator[list[str]]:
    """The conversations of chitchat's file, each a list of turns by alternating speakers, e-mail addresses removed."""
    data = json.loads(path.read_text())
    for conversation in data.values():
        turns: list[tuple[str, str]] = []
        for messages in conversation["messages"]:
            for message in messages:
                text = _EMAIL.sub("(e-mail)", message["text"]).strip()
                if turns and turns[-1][0] == message["sender"]:
                    turns[-1] = (message["sender"], f"{turns[-1][1]}\n{text}")
                elif text:
                    turns.append((message["sender"], text))
        if len(turns) >= 2:
            yield [text for _, text in turns]


def load_dialogue(limit: int | None = None) -> Iterator[Episode]:
    """Conversations as episodes, at most `limit`."""
    for i, turns in enumerate(conversations()):
        if limit is not None and i >= limit:
            return
        heard, said = turns[0::2], turns[1::2]
        heard = heard[: len(said)]
        yield Episode(heard, said, np.zeros(len(said), np.float32), TASK, source="human")


def chitchat() -> Stream:
    """The conversations of package `chitchat-dataset`."""
    size = (package_folder("chitchat_dataset") / "dataset.json").stat().st_size
    return Stream(TASK, TASK, OBSERVATION_SPACE, ACTION_SPACE, f"chitchat {size}", load_dialogue)
