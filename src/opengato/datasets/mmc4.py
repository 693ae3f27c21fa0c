"""Pages in MMC4's format: lines of JSON with the sentences of a page, and which of them each of its pictures stands before."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from opengato.datasets import files, interleaved
from opengato.datasets.dataset import Stream
from opengato.datasets.interleaved import Seen
from opengato.datasets.photographs import Folder
from opengato.datasets.reading import Reading
from opengato.datasets.records import json_object, record_dataset, text_lines
from opengato.episode import Episode
from opengato.errors import OpenGatoError

PATHS = "FILE.jsonl,IMAGES"


def open_mmc4(paths: Sequence[str], reading: Reading) -> Stream:
    """Of mmc4:FILE.jsonl,IMAGES; the file may be compressed, or be a pattern with * or a folder of them.

    A page keeps those of its pictures that are in the folder; one that has lost all of them cannot be read.
    """
    if len(paths) != 2:
        raise OpenGatoError(f"mmc4 has {len(paths)} paths: give mmc4:{PATHS}")
    found = files.expand(paths[:1], (".jsonl", ".jsonl.gz", ".jsonl.zip"), f"mmc4:{PATHS}")
    task, size = f"pages/{files.title(paths[0])}", reading.pictures.size
    name = f"mmc4:{','.join(map(files.absolute, paths))} {reading.pictures}"
    parse = partial(_parse, Folder(paths[1]), size, task)
    return record_dataset(name, task, interleaved.observation_space(reading.pictures), found, text_lines, parse)


def _parse(folder: Folder, size: tuple[int, int], task: str, line: bytes, where: str) -> list[Episode]:
    page = json_object(line)
    sentences = list(page["text_list"])
    before: dict[int, list[Seen]] = {}
    there = [(image, folder.find(image["image_name"])) for image in page["image_info"]]
    for image, path in there:
        index = image["matched_text_index"]
        if not 0 <= index < len(sentences):
            raise ValueError(f"picture {image['image_name']} stands before sentence {index} of {len(sentences)}")
        if path is not None:
            before.setdefault(index, []).append(Seen(path))
    if there and not before:
        raise ValueError(f"none of its {len(there)} pictures is in {folder.path}")
    parts = [part for number, sentence in enumerate(sentences) for part in (*before.get(number, []), sentence)]
    return [interleaved.to_episode(parts, task, size, where)]
