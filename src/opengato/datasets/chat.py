"""Conversations as lines of JSON with `messages`, each of a role and a content, as the chat formats of today have them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from opengato.datasets import dialogue, files
from opengato.datasets.dataset import Stream
from opengato.datasets.reading import Reading
from opengato.datasets.records import json_object, record_dataset, text_lines
from opengato.episode import Episode

PATHS = "FILE.jsonl[,…]"
_ROLES = {"system", "developer", "user", "assistant"}


def open_chat(paths: Sequence[str], reading: Reading) -> Stream:
    """Of chat:FILE.jsonl[,FILE], of .jsonl.gz, a pattern with *, or a folder.

    An assistant's turn is the action, and what was said since its last one the observation: a system's message stands before what the
    user says first, as the server of this package reads it, so that a persona is what a conversation begins with.
    """
    found = files.expand(paths, (".jsonl", ".jsonl.gz", ".json.gz"), f"chat:{PATHS}")
    task = f"dialogue/{files.title(paths[0])}"
    name = f"chat:{','.join(map(files.absolute, paths))}"
    return record_dataset(name, task, dialogue.OBSERVATION_SPACE, found, text_lines, partial(_parse, task))


def _parse(task: str, line: bytes, where: str) -> list[Episode]:
    turns: list[tuple[bool, str]] = []  # whether the assistant says it, and what
    for number, message in enumerate(json_object(line)["messages"]):
        if message["role"] not in _ROLES:
            raise ValueError(f"message {number} has role {message['role']!r}, which is none of {', '.join(sorted(_ROLES))}")
        own, text = message["role"] == "assistant", _content(message["content"], number)
        if turns and turns[-1][0] == own:
            text = "\n".join(filter(None, (turns.pop()[1], text)))
        turns.append((own, text))
    if turns and turns[0][0]:
        turns.insert(0, (False, ""))
    heard, said = [text for own, text in turns if not own], [text for own, text in turns if own]
    if not any(said):
        raise ValueError("no assistant says anything in it")
    return [Episode(heard[: len(said)], said, np.zeros(len(said), np.float32), task, source="human")]


def _content(content: Any, number: int) -> str:
    if isinstance(content, str):
        return content.strip()
    if isinstance(content, list) and all(part.get("type") == "text" for part in content):
        return "\n".join(part["text"] for part in content).strip()
    raise ValueError(f"message {number} has content that is no text")
