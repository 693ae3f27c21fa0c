"""Columns of parquet files as arrays."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from opengato.errors import OpenGatoError


def read_json(path: Path) -> Any:
    """The content of a JSON file. Raises OpenGatoError where there is none, or it is none."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise OpenGatoError(f"{path} cannot be read: {error}: fetch it again") from None


def fingerprint(files: Iterable[Path]) -> str:
    """Changes with the names, sizes or times of files, which are not read."""
    facts = [(str(file), (found := file.stat()).st_size, found.st_mtime_ns) for file in sorted(files)]
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]


@lru_cache(maxsize=4)
def _parquet_file(path: Path, changed: int) -> Any:
    import pyarrow.parquet as parquet

    return parquet.ParquetFile(path, memory_map=True)


def parquet_file(path: Path) -> Any:
    """An open parquet file. Raises OpenGatoError where it is none, or is cut short."""
    import pyarrow as pa

    try:
        return _parquet_file(path, path.stat().st_mtime_ns)
    except (OSError, pa.ArrowInvalid) as error:
        raise OpenGatoError(f"{path} is no parquet file that can be read, or is cut short: {error}: fetch it again") from None


def read_columns(path: Path, columns: Sequence[str], groups: Sequence[int] | None = None) -> Any:
    """Some columns as a table; of some row groups, or of all. Raises OpenGatoError for one that is not there, and for damage."""
    import pyarrow as pa

    file = parquet_file(path)
    if missing := sorted(set(columns) - set(file.schema_arrow.names)):
        raise OpenGatoError(f"{path} has no column {missing[0]!r}: it has {', '.join(file.schema_arrow.names)}")
    try:
        return file.read(columns=list(columns)) if groups is None else file.read_row_groups(list(groups), columns=list(columns))
    except (OSError, pa.ArrowInvalid) as error:
        raise OpenGatoError(f"{path} is damaged: {error}: fetch it again") from None


def numbers(column: Any, shape: tuple[int, ...], what: str) -> np.ndarray:
    """A column of numbers or of (nested) lists of them, as an array (rows, *shape).

    Args:
        what: it is, for errors: raises OpenGatoError where an entry is missing, or the rows have another shape.
    """
    import pyarrow as pa

    rows = len(column)
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    while True:
        if isinstance(array.type, pa.ExtensionType):
            array = array.storage
        if array.null_count:
            raise OpenGatoError(f"{what} lacks {array.null_count} of its values: drop these episodes or repair them")
        if not pa.types.is_list(array.type) and not pa.types.is_fixed_size_list(array.type) and not pa.types.is_large_list(array.type):
            break
        array = array.flatten()
    flat = array.to_numpy(zero_copy_only=False)
    if len(flat) != rows * int(np.prod(shape)):
        raise OpenGatoError(
            f"{what} has {len(flat)} numbers in {rows} rows, where its shape is {shape}: the data and its description disagree"
        )
    return flat.reshape(rows, *shape)
