"""Pictures and captions in Parquet files as Hugging Face's datasets have them: a column of {bytes, path}, a column of texts."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from opengato.datasets import captions, files
from opengato.datasets.dataset import Stream
from opengato.datasets.photographs import Picture
from opengato.datasets.reading import Reading
from opengato.datasets.records import one_of, parquet_rows, record_dataset, words
from opengato.episode import Episode

PATHS = "FILE.parquet[,…]"
IMAGES = ("image", "img", "jpg", "png", "webp", "picture")
CAPTIONS = ("caption", "captions", "text", "txt", "sentences", "title")


def open_hf(paths: Sequence[str], reading: Reading) -> Stream:
    """Of hf:FILE.parquet[,FILE], a pattern with *, or a folder; a row with several captions is as many episodes."""
    found = files.expand(paths, (".parquet",), f"hf:{PATHS}")
    task = f"captions/{files.title(paths[0])}"
    name = f"hf:{','.join(map(files.absolute, paths))} {reading.pictures}"
    parse = partial(_parse, reading.pictures.size, task)
    return record_dataset(name, task, captions.observation_space(reading.pictures), found, _rows, parse)


def _rows(path: str) -> Any:
    folder = path.rpartition("/")[0]
    for where, row in parquet_rows(path, lambda names: [one_of(path, names, IMAGES), one_of(path, names, CAPTIONS)]):
        image, said = row.values()
        yield where, (folder, image, said)


def picture_of(image: Any, folder: str) -> bytes | str:
    """What an image's cell holds: its bytes, or the path, from the folder, where they are. Raises ValueError where it holds neither."""
    if isinstance(image, bytes):
        return image
    if isinstance(image, dict) and isinstance(image.get("bytes"), bytes):
        return image["bytes"]
    if isinstance(image, dict) and image.get("path"):
        return files.join(folder, image["path"])
    raise ValueError("it has no picture")


def _parse(size: tuple[int, int], task: str, record: tuple[str, Any, Any], where: str) -> list[Episode]:
    folder, image, said = record
    picture = Picture((picture_of(image, folder),), size, where)
    texts = said if isinstance(said, list) else [said]
    texts = [text.get("raw") if isinstance(text, dict) else text for text in texts]  # of COCO's sentences
    if not texts:
        raise ValueError("it has no caption")
    return [captions.to_episode(picture, words(text, "its caption"), task, where) for text in texts]
