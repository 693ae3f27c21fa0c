"""Conversations: one timestep a turn, what was said as observation, the answer as action."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np

from opengato.datasets.dataset import Stream
from opengato.datasets.splits import in_split
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


def load_dialogue(limit: int | None = None, split: str = "train") -> Iterator[Episode]:
    """Conversations as episodes, at most `limit`; split "train", "test" or "all"."""
    pairs = (turns[: len(turns) // 2 * 2] for turns in conversations())  # what nobody answers is left out
    for turns in islice((turns for turns in pairs if in_split("\n".join(turns), split)), limit):
        said = turns[1::2]
        yield Episode(turns[0::2], said, np.zeros(len(said), np.float32), TASK, source="human")


def chitchat(split: str = "train") -> Stream:
    """The conversations of package `chitchat-dataset`, see `load_dialogue`."""
    size = (package_folder("chitchat_dataset") / "dataset.json").stat().st_size
    name = f"{TASK} {split}"
    return Stream(name, TASK, OBSERVATION_SPACE, ACTION_SPACE, f"{name} {size}", partial(load_dialogue, split=split))
