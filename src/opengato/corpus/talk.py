"""Conversations of a package as lines of JSON with `messages`, as today's chat formats have them."""

from __future__ import annotations

import json
from pathlib import Path

from opengato.datasets.dialogue import turns_of
from opengato.datasets.splits import held_out


def write_talk(package: Path, folder: Path) -> None:
    """chitchat's conversations as `messages`, the first speaker's turns the user's."""
    with open(folder / "train.jsonl", "w") as train, open(folder / "test.jsonl", "w") as test:
        for number, turns in enumerate(turns_of(package / "chitchat_dataset/dataset.json")):
            messages = [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(turns)]
            (test if held_out(f"conversation {number}") else train).write(json.dumps({"messages": messages}) + "\n")
