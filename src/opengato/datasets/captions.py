"""Captions: one timestep, an image as observation, what it shows as action."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces

from opengato.datasets.dataset import Stream
from opengato.episode import Episode
from opengato.errors import OpenGatoError
from opengato.tokens.spaces import text_space

TASK = "captions/emoji"
SIZE = 64
OBSERVATION_SPACE = spaces.Dict(image=spaces.Box(0, 255, (SIZE, SIZE, 3), np.uint8))
ACTION_SPACE = text_space()


def read_image(data: bytes | Path, size: int = SIZE) -> np.ndarray:
    """Any image, on white, fitted into a square: uint8 (size, size, 3)."""
    from PIL import Image, ImageOps

    try:
        file = Image.open(io.BytesIO(data) if isinstance(data, bytes) else data)
        file.draft("RGB", (4 * size, 4 * size))  # a photograph is decoded no larger than it will be looked at
        picture = file.convert("RGBA")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:  # SyntaxError: a broken PNG
        raise OpenGatoError(f"{data if isinstance(data, Path) else 'the data'} is no image that can be read: {error}") from None
    white = Image.new("RGBA", picture.size, "white")
    white.alpha_composite(picture)
    return np.asarray(ImageOps.pad(white.convert("RGB"), (size, size), color="white"))


@dataclass(frozen=True)
class Picture:
    """A picture in a file as the leaf of one timestep, uint8 (1, 64, 64, 3): read when it is taken as an array, and may fail then."""

    path: Path

    def __len__(self) -> int:
        return 1

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return read_image(self.path)[None]


def to_episode(image: Any, caption: str, task: str = TASK) -> Episode:
    """An image, uint8 (1, 64, 64, 3) or a `Picture`, and its caption as an episode of one timestep."""
    return Episode({"image": image}, [caption], np.zeros(1, np.float32), task, source="human")


def _table_path() -> Path:
    return Path(str(resources.files("opengato.datasets") / "data" / "emoji.parquet"))


def fingerprint() -> str:
    """Changes with the shipped table."""
    return hashlib.sha256(_table_path().read_bytes()).hexdigest()


def held_out(name: str) -> bool:
    """Whether a picture belongs to the test split: a fixed 5% by a hash of its name."""
    return int(hashlib.sha256(name.encode()).hexdigest(), 16) % 20 == 0


def emoji(split: str = "train") -> Iterator[tuple[np.ndarray, str, str]]:
    """The emoji that ship with the package (Noto Emoji): image uint8 (64, 64, 3), name, group; split "train", "test" or "all"."""
    import pyarrow.parquet as parquet

    for row in parquet.read_table(_table_path()).to_pylist():
        if split == "all" or held_out(row["name"]) == (split == "test"):
            yield read_image(row["png"]), row["name"], row["group"]


def load_emoji(split: str = "train") -> Iterator[Episode]:
    """The named emoji as captions, see `emoji`."""
    for image, name, _ in emoji(split):
        yield to_episode(image[None], name)


def emoji_captions(split: str = "train") -> Stream:
    """The named emoji of a split as captions, see `emoji`."""
    name = f"{TASK} {split}"
    return Stream(name, TASK, OBSERVATION_SPACE, ACTION_SPACE, f"{name} {fingerprint()}", partial(load_emoji, split))


class CocoCaptions:
    """Captions in the COCO format, a `Dataset`.

    Args:
        annotations: a JSON file with `images` and `annotations`. images: the folder of the image files; default: where the JSON is.
    """

    observation_space, action_space = OBSERVATION_SPACE, ACTION_SPACE

    def __init__(self, annotations: Path, images: Path | None = None):
        if not annotations.is_file():
            raise OpenGatoError(f"there is no file {annotations}: give COCO captions as coco:ANNOTATIONS.json,FOLDER_OF_IMAGES")
        self.annotations, self.images = annotations, images or annotations.parent
        self.task, self.name = f"captions/{annotations.stem}", f"coco:{annotations.resolve()},{self.images.resolve()}"
        facts = annotations.stat()
        self.fingerprint = f"{self.name} {facts.st_size} {facts.st_mtime_ns}"

    @cached_property
    def _pairs(self) -> list[tuple[str, str]]:
        """The file name and the caption of each."""
        data = json.loads(self.annotations.read_text())
        files = {image["id"]: image["file_name"] for image in data["images"]}
        pairs = []
        for annotation in data["annotations"]:
            if annotation["image_id"] not in files:
                raise OpenGatoError(
                    f"annotation {annotation['id']} of {self.annotations} names image {annotation['image_id']}, which is not listed in it"
                )
            pairs.append((files[annotation["image_id"]], annotation["caption"].strip()))
        return pairs

    def episodes(self, start: int = 0) -> Iterator[Episode]:
        """The pictures are read when they are looked at."""
        for file, caption in self._pairs[start:]:
            yield to_episode(Picture(self.images / file), caption, self.task)

    def count(self) -> int:
        return len(self._pairs)

    def mark(self, count: int) -> str:
        """The first captions, and what their pictures' files are called; a picture that has changed under its name is not noticed."""
        return hashlib.sha256(repr(self._pairs[:count]).encode()).hexdigest()[:16]
