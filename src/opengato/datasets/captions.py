"""Captions: one timestep, an image as observation, what it shows as action."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import numpy as np
from gymnasium import spaces

from opengato.episode import Episode
from opengato.errors import OpenGatoError
from opengato.tokens.spaces import text_space

TASK = "captions/emoji"
SIZE = 64
OBSERVATION_SPACE = spaces.Dict(image=spaces.Box(0, 255, (SIZE, SIZE, 3), np.uint8))
ACTION_SPACE = text_space()


def read_image(data: bytes | Path, size: int = SIZE) -> np.ndarray:
    """Any image, on white, fitted into a square: uint8 (size, size, 3)."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        file = Image.open(io.BytesIO(data) if isinstance(data, bytes) else data)
        file.draft("RGB", (4 * size, 4 * size))  # a photograph is decoded no larger than it will be looked at
        picture = file.convert("RGBA")
    except (FileNotFoundError, UnidentifiedImageError) as error:
        raise OpenGatoError(f"{data if isinstance(data, Path) else 'the data'} is no image that can be read: {error}") from None
    white = Image.new("RGBA", picture.size, "white")
    white.alpha_composite(picture)
    return np.asarray(ImageOps.pad(white.convert("RGB"), (size, size), color="white"))


def to_episode(image: np.ndarray, caption: str) -> Episode:
    """An image, uint8 (64, 64, 3), and its caption as an episode of one timestep."""
    return Episode({"image": image[None]}, [caption], np.zeros(1, np.float32), TASK, source="human")


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
        yield to_episode(image, name)


def load_coco_captions(annotations: Path, images: Path) -> Iterator[Episode]:
    """Captions in the COCO format: a JSON file with `images` and `annotations`, and the folder of the image files."""
    data = json.loads(annotations.read_text())
    files = {image["id"]: image["file_name"] for image in data["images"]}
    for annotation in data["annotations"]:
        if annotation["image_id"] not in files:
            raise OpenGatoError(
                f"annotation {annotation['id']} of {annotations} names image {annotation['image_id']}, which is not listed in it"
            )
        yield to_episode(read_image(images / files[annotation["image_id"]]), annotation["caption"].strip())
