"""Records of files, one after the other, and the episodes they are; one that is damaged is told, and the others go on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
from gymnasium import spaces

from opengato.datasets import files
from opengato.datasets.dataset import Stream
from opengato.episode import Episode
from opengato.errors import OpenGatoError
from opengato.tokens.spaces import text_space

Record = tuple[str, Any]  # where it stands, for people, and what it holds
_ROWS = 64  # of a Parquet file that are in memory at a time: their pictures are with them


class Unreadable:
    """The leaf of one timestep that could not be read; says why when it is taken as an array."""

    def __init__(self, reason: str):
        self.reason = reason

    def __len__(self) -> int:
        return 1

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        raise OpenGatoError(self.reason)


def words(value: Any, what: str) -> str:
    """A text with something in it. Raises ValueError, which says `what` it should have been."""
    if not isinstance(value, str):
        raise ValueError(f"{what} is {type(value).__name__}, not text")
    if not value.strip():
        raise ValueError(f"{what} is empty")
    return value.strip()


def text_lines(path: str) -> Iterator[Record]:
    """The lines of a file that may be compressed, bytes, but for empty ones."""
    with files.reading(path, "lines"), files.open_file(path, "infer") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield f"{path}, line {number}", line


def json_object(line: bytes) -> dict[str, Any]:
    """Of a line of JSON. Raises ValueError where it is none, or no object."""
    found = json.loads(line)
    if not isinstance(found, dict):
        raise ValueError(f"it is {type(found).__name__}, not an object")
    return found


def parquet_rows(path: str, columns: Callable[[list[str]], list[str]]) -> Iterator[Record]:
    """The rows of a Parquet file as dicts, of the columns that are chosen from those it has."""
    import pyarrow.parquet as parquet

    with files.reading(path, "Parquet"), files.open_file(path) as stream:
        file = parquet.ParquetFile(stream)
        chosen = columns(file.schema_arrow.names)
        first = 0
        for batch in file.iter_batches(_ROWS, columns=chosen):
            for number, row in enumerate(batch.to_pylist(), first):
                yield f"{path}, row {number}", row
            first += len(batch)


def one_of(path: str, names: list[str], wanted: Sequence[str]) -> str:
    """The first of the wanted columns that there is. Raises OpenGatoError with the file's name where there is none."""
    for name in wanted:
        if name in names:
            return name
    raise OpenGatoError(f"{path} has columns {', '.join(names)}: one of them must be called {' or '.join(wanted)}")


def read_records(
    paths: Sequence[str], task: str, read: Callable[[str], Iterator[Record]], parse: Callable[[Any, str], Iterable[Episode]]
) -> Iterator[Episode]:
    """The episodes of the records of all files; of a record that `parse` refuses, one that cannot be read."""
    for path in paths:
        for where, record in read(path):
            try:
                yield from list(parse(record, where))
            except (ValueError, KeyError, TypeError, IndexError, AttributeError, OpenGatoError) as error:
                said = f"no field {error}" if isinstance(error, KeyError) else str(error)
                broken = Unreadable(f"{where}: {said}")
                yield Episode(broken, broken, np.zeros(1, np.float32), task)


def record_dataset(
    name: str,
    task: str,
    observation_space: spaces.Space,
    paths: Sequence[str],
    read: Callable[[str], Iterator[Record]],
    parse: Callable[[Any, str], Iterable[Episode]],
) -> Stream:
    """A dataset whose action is text, of the records of files.

    Args:
        name: what tells it from others: its format, its files, and what else its episodes depend on.
        read: the records of a file. parse: the episodes of a record, which is told where it stands.
    """
    made = partial(read_records, list(paths), task, read, parse)
    return Stream(name, task, observation_space, text_space(), f"{name} {files.facts(paths)}", made)
