"""What the token store has of one dataset: its segments, each some whole episodes, and where in the shards their arrays stand."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from opengato.atomic import write_text
from opengato.cache import cache_root
from opengato.datasets.dataset import Dataset
from opengato.datasets.shards import Place, Shards
from opengato.tokens.text import TextTokenizer

VERSION = 7
NAMED = 100  # samples that could not be read, of which the index says why


def store_folder(root: Path | None) -> Path:
    """The folder of the token store in a cache folder; default: the user's. Safe to delete."""
    return (root or cache_root()) / "tokens"


def index_path(dataset: Dataset, tokenizer: TextTokenizer, root: Path | None) -> Path:
    """Where the index of a dataset is, or would be."""
    key = hashlib.sha256(f"{VERSION} {dataset.name} {tokenizer.fingerprint}".encode()).hexdigest()[:16]
    return store_folder(root) / dataset.task.replace("/", "--") / f"{key}.json"


@dataclass
class Segment:
    """E episodes with T timesteps of F texts and I pictures each, S numbers of statistics, and P pictures that no segment before had.

    Attributes:
        arrays: where these stand in the shards:
            tokens uint16 (N,), lengths uint32 (T, F): as in `tokens.compact`, episodes end to end; lengths only where there are texts.
            pictures uint32 (T, I), blobs uint8 (B,), blob_ends int64 (P,), hashes uint64 (P,): only where there are pictures; their
                numbers count over all segments, those of this segment's own begin with `first_picture`.
            episodes uint32 (E,): their timesteps. returns float64 (E,). sources uint16 (E,): numbers in `sources`.
            starts uint64 (E,), contents uint64 (E,): hashes of where each begins and of all that it holds.
            mean float64 (S,), products float64 (S, S): see `Statistics`.
        read: how many of the dataset's episodes had been read at its end. mark: `Dataset.mark` of these.
    """

    arrays: dict[str, Place]
    episodes: int
    timesteps: int
    first_picture: int
    pictures: int
    sources: list[str]
    read: int
    mark: str | None

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "arrays": {name: place.to_json() for name, place in self.arrays.items()}}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Segment:
        return cls(**{**data, "arrays": {name: Place.from_json(place) for name, place in data["arrays"].items()}})


@dataclass
class Index:
    """What is stored of a dataset.

    Attributes:
        task, name, fingerprint: the dataset's. spaces: its two spaces as JSON. complete: whether all of it is stored.
        skipped: how many samples could not be read. reasons: of the first of them, which and why.
    """

    task: str
    name: str
    fingerprint: str
    spaces: dict[str, Any]
    complete: bool = False
    skipped: int = 0
    reasons: list[str] = field(default_factory=list)
    segments: list[Segment] = field(default_factory=list)

    @property
    def read(self) -> int:
        """How many of the dataset's episodes need not be read again."""
        return self.segments[-1].read if self.segments else 0

    def places(self) -> Iterator[Place]:
        """Of all arrays."""
        for segment in self.segments:
            yield from segment.arrays.values()

    def save(self, path: Path) -> None:
        """Write it, replaced atomically."""
        write_text(path, json.dumps({**vars(self), "segments": [segment.to_json() for segment in self.segments]}))

    @classmethod
    def load(cls, path: Path) -> Index | None:
        """What was saved, if anything was."""
        try:
            data = json.loads(path.read_text())
        except FileNotFoundError:
            return None
        return cls(**{**data, "segments": [Segment.from_json(segment) for segment in data["segments"]]})


def sweep(root: Path | None) -> None:
    """Delete the shards that no index names, but for those that are written to."""
    folder = store_folder(root)
    indices = [index for path in folder.glob("*/*.json") if (index := Index.load(path)) is not None]
    shards_of(root).sweep({place.shard for index in indices for place in index.places()})


def shards_of(root: Path | None) -> Shards:
    """Those of the store."""
    return Shards(store_folder(root) / "shards")
