"""Datasets as the token store has them, in a folder that travels: to train where neither recordings nor simulators are.

The folder has the store's form: an index for each dataset, DOMAIN--NAME.tokens, and `shards/`; with `tokenizer.model`, of whose ids its
texts are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from gymnasium import spaces

from opengato.atomic import replacing
from opengato.datasets.dataset import Dataset
from opengato.datasets.index import Index, index_path, shards_of
from opengato.datasets.shards import Shards
from opengato.datasets.store import TokenDataset
from opengato.episode import Episode
from opengato.errors import OpenGatoError
from opengato.tokens.layout import Layout
from opengato.tokens.text import TextTokenizer

SUFFIX, _TOKENIZER = ".tokens", "tokenizer.model"


def pack(datasets: Sequence[Dataset], tokenizer: TextTokenizer, folder: Path, root: Path | None = None) -> list[Path]:
    """Copy datasets that are in the token store into `folder`; the file that stands for each of them. What is there stays: it goes on.

    `root`: cache folder, default: the user's.

    Raises:
        OpenGatoError: where two are of one task, and where `folder` has other data of a task, or of another tokenizer.
    """
    paths = [folder / f"{dataset.task.replace('/', '--')}{SUFFIX}" for dataset in datasets]
    waiting = []
    for dataset, path in zip(datasets, paths, strict=True):
        there = Index.load(path)
        if paths.count(path) > 1 or (there is not None and there.fingerprint != dataset.fingerprint):
            what = "would be of two datasets" if paths.count(path) > 1 else "is there already, of other data"
            raise OpenGatoError(f"{path} {what}: pack into an empty folder, one dataset of a task")
        if there is None:
            waiting.append((dataset, path))
    folder.mkdir(parents=True, exist_ok=True)
    known = folder / _TOKENIZER
    if known.is_file() and known.read_bytes() != tokenizer.bytes:
        raise OpenGatoError(f"{known} is of another tokenizer: pack into an empty folder")
    with replacing(folder / _TOKENIZER) as file:
        file.write_bytes(tokenizer.bytes)
    store, shards = shards_of(root), Shards(folder / "shards")
    for dataset, path in waiting:
        index = Index.load(index_path(dataset, tokenizer, root))
        if index is None or not index.complete:
            raise OpenGatoError(f"dataset {dataset.name!r} is not in the token store: tokenize it first")
        for segment in index.segments:
            segment.arrays = shards.append({name: np.asarray(store.read(place)) for name, place in segment.arrays.items()})
        index.save(path)
    return paths


@dataclass(frozen=True)
class Packed:
    """A packed dataset: its tokens, without its episodes. Attributes as in `Dataset`; path: of its index."""

    path: Path
    index: Index

    @property
    def name(self) -> str:
        return self.index.name

    @property
    def task(self) -> str:
        return self.index.task

    @property
    def fingerprint(self) -> str:
        return self.index.fingerprint

    @cached_property
    def _layout(self) -> Layout:
        return Layout.from_json(self.index.spaces)

    @property
    def observation_space(self) -> spaces.Space:
        return self._layout.observation_space

    @property
    def action_space(self) -> spaces.Space:
        return self._layout.action_space

    def episodes(self, start: int = 0) -> Iterator[Episode]:
        raise OpenGatoError(f"{self.path} has tokens, not episodes: only training reads it; for anything else name what it was packed from")

    def count(self) -> int:
        return sum(segment.episodes for segment in self.index.segments)

    def mark(self, count: int) -> None:
        return None

    def opened(self, tokenizer: TextTokenizer) -> TokenDataset:
        """Its tokens. Raises OpenGatoError where they are of another tokenizer, or its shards are not whole."""
        file = self.path.parent / _TOKENIZER
        if not file.is_file() or file.read_bytes() != tokenizer.bytes:  # not parsed: a training opens hundreds
            raise OpenGatoError(f"{self.path} was packed with another tokenizer than that of the model: pack it anew from its recordings")
        if (missing := self._shards.missing(self.index.places())) is not None:
            raise OpenGatoError(f"{missing}, a part of {self.path}, is not there or cut short: copy the folder again")
        return TokenDataset(self.index, self._shards)

    def verify(self) -> None:
        """Read all of it. Raises OpenGatoError where it is not what was packed."""
        if (wrong := self._shards.damaged(self.index.places())) is not None:
            raise OpenGatoError(f"{wrong}, a part of {self.path}, is damaged: copy the folder again")

    @property
    def _shards(self) -> Shards:
        return Shards(self.path.parent / "shards")


def open_packed(path: Path) -> Packed:
    """A packed dataset. Raises OpenGatoError where there is none."""
    index = Index.load(path)
    if index is None:
        raise OpenGatoError(f"{path} is not there: name a file *{SUFFIX} that `opengato tokenize --pack` wrote")
    return Packed(path, index)


def recognises(path: Path) -> bool:
    """Whether a path is of a packed dataset."""
    return path.suffix == SUFFIX and path.is_file()
