"""Captions in Conceptual Captions' format: lines of a caption and an address, in either order, and the folder of what was fetched."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from opengato.datasets import captions, files
from opengato.datasets.dataset import Stream
from opengato.datasets.photographs import ENDINGS, Folder, Picture
from opengato.datasets.reading import Reading
from opengato.datasets.records import Record, record_dataset, text_lines, words
from opengato.episode import Episode
from opengato.errors import OpenGatoError

PATHS = "FILE.tsv,IMAGES"
_HEADS = {"caption", "title", "text", "url", "filepath", "image"}  # of a first line that names its columns


def open_conceptual(paths: Sequence[str], reading: Reading) -> Stream:
    """Of cc:FILE.tsv,IMAGES.

    A line has a caption and an address, CC3M's caption first, CC12M's last; or a file's name in place of the address. What was fetched
    from an address is a file of the folder, called as `photographs.Folder` says.
    """
    if len(paths) != 2:
        raise OpenGatoError(f"cc has {len(paths)} paths: give cc:{PATHS}")
    table, images = files.expand(paths[:1], (".tsv",), f"cc:{PATHS}"), paths[1]
    task = f"captions/{files.title(paths[0])}"
    name = f"cc:{files.absolute(paths[0])},{files.absolute(images)} {reading.pictures}"
    parse = partial(_parse, Folder(images), reading.pictures.size, task)
    return record_dataset(name, task, captions.observation_space(reading.pictures), table, _lines, parse)


def _lines(path: str) -> Iterator[Record]:
    for number, (where, line) in enumerate(text_lines(path)):
        if number or not {cell.strip().lower() for cell in line.decode(errors="replace").split("\t")} <= _HEADS:
            yield where, line


def _parse(folder: Folder, size: tuple[int, int], task: str, line: bytes, where: str) -> list[Episode]:
    cells = line.decode().rstrip("\r\n").split("\t")
    if len(cells) < 2:
        raise ValueError("there is no tab in it: a caption and an address have one between them")
    address, caption = (cells[0], cells[1]) if _is_place(cells[0]) and not _is_place(cells[1]) else (cells[1], cells[0])
    found = folder.find(address)
    if found is None:
        raise ValueError(f"there is no picture of {address} in {folder.path}")
    return [captions.to_episode(Picture((found,), size, where), words(caption, "its caption"), task, address)]


def _is_place(cell: str) -> bool:
    return "://" in cell or (" " not in cell and cell.lower().endswith(ENDINGS))
