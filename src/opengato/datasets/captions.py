"""Captions: one timestep, an image as observation, what it shows as action; and the named emoji that ship with the package."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces

from opengato.datasets.dataset import Stream
from opengato.datasets.photographs import image_space, read_image
from opengato.datasets.reading import Budget
from opengato.datasets.splits import in_split
from opengato.episode import Episode
from opengato.tokens.spaces import text_space

TASK = "captions/emoji"
OBSERVATION_SPACE = spaces.Dict(image=image_space(Budget()))
ACTION_SPACE = text_space()


def to_episode(image: Any, caption: str, task: str = TASK, picture: str = "") -> Episode:
    """An image, uint8 (1, height, width, 3) or a `Picture`, and its caption as an episode of one timestep.

    `picture`: which one it is, so that those who score captions find all that were said of it.
    """
    info = {"picture": picture} if picture else {}
    return Episode({"image": image}, [caption], np.zeros(1, np.float32), task, source="human", info=info)


def observation_space(budget: Budget) -> spaces.Dict:
    """Of captions of pictures within a budget."""
    return spaces.Dict(image=image_space(budget))


def _table_path() -> Path:
    return Path(str(resources.files("opengato.datasets") / "data" / "emoji.parquet"))


def fingerprint() -> str:
    """Changes with the shipped table."""
    return hashlib.sha256(_table_path().read_bytes()).hexdigest()


def emoji(split: str = "train") -> Iterator[tuple[np.ndarray, str, str]]:
    """The emoji that ship with the package (Noto Emoji): image uint8 (64, 64, 3), name, group; split "train", "test" or "all"."""
    import pyarrow.parquet as parquet

    for row in parquet.read_table(_table_path()).to_pylist():
        if in_split(row["name"], split):
            yield read_image(row["png"]), row["name"], row["group"]


def load_emoji(split: str = "train") -> Iterator[Episode]:
    """The named emoji as captions, see `emoji`."""
    for image, name, _ in emoji(split):
        yield to_episode(image[None], name)


def emoji_captions(split: str = "train") -> Stream:
    """The named emoji of a split as captions, see `emoji`."""
    name = f"{TASK} {split}"
    return Stream(name, TASK, OBSERVATION_SPACE, ACTION_SPACE, f"{name} {fingerprint()}", partial(load_emoji, split))
