"""Pictures and captions in tar files as WebDataset has them and img2dataset writes them: 000000000.jpg, .txt and .json, in a row."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator, Sequence
from functools import partial

from opengato.datasets import captions, files
from opengato.datasets.dataset import Stream
from opengato.datasets.photographs import ENDINGS, Picture
from opengato.datasets.reading import Reading
from opengato.datasets.records import Record, record_dataset, words
from opengato.episode import Episode

PATHS = "FILE_OR_FOLDER[,…]"


def open_tars(paths: Sequence[str], reading: Reading) -> Stream:
    """Of tars:FILE[,FILE], a pattern with *, or a folder of .tar files; read from front to end, and never unpacked."""
    found = files.expand(paths, (".tar", ".tar.gz"), f"tars:{PATHS}")
    task = f"captions/{files.title(paths[0])}"
    name = f"tars:{','.join(map(files.absolute, paths))} {reading.pictures}"
    parse = partial(_parse, reading.pictures.size, task)
    return record_dataset(name, task, captions.observation_space(reading.pictures), found, samples, parse)


def samples(path: str) -> Iterator[Record]:
    """The samples of a tar: name -> bytes of the members that follow one another under one key, by what stands after the key's dot."""
    key = ""
    members: dict[str, bytes] = {}
    with files.reading(path, "a tar"), files.open_file(path) as stream, tarfile.open(fileobj=stream, mode="r|*") as tar:
        for member in tar:
            if not member.isfile():
                continue
            folder, slash, name = member.name.rpartition("/")
            stem, _, ending = name.partition(".")
            if folder + slash + stem != key and members:
                yield f"{path}, {key}", members
                members = {}
            key = folder + slash + stem
            content = tar.extractfile(member)
            assert content is not None  # it is a file
            members[f".{ending.lower()}"] = content.read()
    if members:
        yield f"{path}, {key}", members


def _parse(size: tuple[int, int], task: str, members: dict[str, bytes], where: str) -> list[Episode]:
    image = next((members[ending] for ending in ENDINGS if ending in members), None)
    facts = json.loads(members[".json"]) if ".json" in members else {}
    if image is None:
        raise ValueError(f"it has no picture ({facts.get('error_message') or facts.get('status') or 'only ' + ', '.join(sorted(members))})")
    said = members[".txt"].decode() if ".txt" in members else facts.get("caption")
    return [captions.to_episode(Picture((image,), size, where), words(said, "its caption"), task, where)]
