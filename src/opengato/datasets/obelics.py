"""Pages in OBELICS' format: Parquet files with two lists a page, images and texts, of which at each place one is empty."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from opengato.datasets import files, interleaved
from opengato.datasets.dataset import Stream
from opengato.datasets.hf import picture_of
from opengato.datasets.interleaved import Seen
from opengato.datasets.photographs import Folder
from opengato.datasets.reading import Reading
from opengato.datasets.records import Record, one_of, parquet_rows, record_dataset
from opengato.episode import Episode
from opengato.errors import OpenGatoError

PATHS = "FILE.parquet,IMAGES"


def open_obelics(paths: Sequence[str], reading: Reading) -> Stream:
    """Of obelics:FILE.parquet,IMAGES; the file may be a pattern with * or a folder of them.

    The images are addresses, and the folder has what was fetched from them, called as `photographs.Folder` says; or they are bytes,
    {bytes, path}, and need no folder. A page keeps those of its pictures that are there; one that has lost all of them cannot be read.
    """
    if len(paths) not in (1, 2):
        raise OpenGatoError(f"obelics has {len(paths)} paths: give obelics:{PATHS}")
    found = files.expand(paths[:1], (".parquet",), f"obelics:{PATHS}")
    task, size = f"pages/{files.title(paths[0])}", reading.pictures.size
    name = f"obelics:{','.join(map(files.absolute, paths))} {reading.pictures}"
    parse = partial(_parse, Folder(paths[1]) if len(paths) == 2 else None, size, task)
    return record_dataset(name, task, interleaved.observation_space(reading.pictures), found, _rows, parse)


def _rows(path: str) -> Iterator[Record]:
    return parquet_rows(path, lambda names: [one_of(path, names, ["images"]), one_of(path, names, ["texts"])])


def _parse(folder: Folder | None, size: tuple[int, int], task: str, row: dict[str, Any], where: str) -> list[Episode]:
    images, texts = row["images"], row["texts"]
    if len(images) != len(texts):
        raise ValueError(f"it has {len(images)} places for images and {len(texts)} for texts")
    parts: list[str | Seen] = []
    for image, text in zip(images, texts):
        if image is not None and (source := _source(image, folder)) is not None:
            parts.append(Seen(source))
        if text is not None:
            parts.append(text)
    count = sum(image is not None for image in images)
    if count and not any(isinstance(part, Seen) for part in parts):
        raise ValueError(f"none of its {count} pictures is {'in ' + folder.path if folder else 'in it: give obelics:' + PATHS}")
    return [interleaved.to_episode(parts, task, size, where)]


def _source(image: Any, folder: Folder | None) -> str | bytes | None:
    if isinstance(image, str):
        return folder.find(image) if folder else None
    return picture_of(image, folder.path if folder else "")
