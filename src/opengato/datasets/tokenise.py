"""A dataset into the token store: segment by segment, so that it goes on where it stopped, and as little as it can is read again."""

from __future__ import annotations

import fcntl
import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from opengato.console import notice
from opengato.datasets.dataset import Dataset
from opengato.datasets.index import NAMED, Index, Segment, index_path, shards_of, sweep
from opengato.datasets.packed import Packed
from opengato.datasets.pictures import Album
from opengato.datasets.shards import Shards
from opengato.datasets.store import TokenDataset
from opengato.domains.starts import fingerprint as fingerprint_of_start
from opengato.episode import Episode, map_leaves
from opengato.errors import OpenGatoError
from opengato.tokens.compact import Compact, Form, compact, is_stored
from opengato.tokens.layout import Layout
from opengato.tokens.statistics import Statistics
from opengato.tokens.text import TextTokenizer
from opengato.tokens.vocabulary import CONTINUOUS

_BYTES, _SECONDS = 64 * 2**20, 30.0  # a segment ends when it has so many, or took so long: more than that is never lost
_UNREADABLE = (OpenGatoError, OSError, ValueError)  # what reading a damaged sample raises


def stored(dataset: Dataset, tokenizer: TextTokenizer, root: Path | None = None) -> TokenDataset | None:
    """The dataset as the store has it, or a packed one; None where the store lacks it, or a part of it."""
    if isinstance(dataset, Packed):
        return dataset.opened(tokenizer)
    index = Index.load(index_path(dataset, tokenizer, root))
    if index is None or not index.complete or index.fingerprint != dataset.fingerprint:
        return None
    shards = shards_of(root)
    return TokenDataset(index, shards) if shards.missing(index.places()) is None else None


def tokenise(
    dataset: Dataset, tokenizer: TextTokenizer, root: Path | None = None, skip_bad: float = 0.0, seen: Callable[[int], Any] | None = None
) -> TokenDataset:
    """The dataset as the store has it, after what the store lacks of it was tokenised.

    Args:
        tokenizer: of its texts. root: cache folder; default: the user's.
        skip_bad: up to this share of the samples may be damaged, as a truncated picture or a number that is none, and is left out.
        seen: is told now and then how many episodes have been read.

    Raises:
        OpenGatoError: of a sample that cannot be encoded, where more than `skip_bad` of them cannot; where there are no episodes.
    """
    found = stored(dataset, tokenizer, root)
    if found is not None:
        return found
    path, shards = index_path(dataset, tokenizer, root), shards_of(root)
    path.parent.mkdir(parents=True, exist_ok=True)
    with _alone(path):
        found = stored(dataset, tokenizer, root)  # by somebody who was quicker
        if found is not None:
            return found
        layout = Layout(dataset.observation_space, dataset.action_space)
        before, replaced = Index.load(path), False
        index = Index(dataset.task, dataset.name, dataset.fingerprint, layout.spaces_json())
        if before is not None:
            index.segments = _kept(before, index, dataset, layout, tokenizer, shards)
            replaced = len(index.segments) < len(before.segments)
            if not replaced:
                index.skipped, index.reasons = before.skipped, before.reasons
        _add(dataset, index, layout, tokenizer, shards, path, skip_bad, seen or _nobody)
        if replaced:
            sweep(root)
    return TokenDataset(index, shards)


def damaged(dataset: Dataset, tokenizer: TextTokenizer, root: Path | None = None) -> Path | None:
    """The first shard that does not hold what was written of this dataset, if there is one; reads all of it.

    The dataset is then tokenised anew when it is next opened. Raises OpenGatoError where a packed one is damaged.
    """
    if isinstance(dataset, Packed):
        dataset.verify()
        return None
    path, shards = index_path(dataset, tokenizer, root), shards_of(root)
    index = Index.load(path)
    wrong = None if index is None else shards.damaged(index.places())
    if wrong is not None:
        path.unlink()
    return wrong


def _nobody(_: int) -> None:
    pass


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """One process at a time builds a dataset."""
    with open(path.with_suffix(".lock"), "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _kept(before: Index, now: Index, dataset: Dataset, layout: Layout, tokenizer: TextTokenizer, shards: Shards) -> list[Segment]:
    """The first segments that are still right: all, or, of a dataset that has changed, those whose episodes it begins with."""
    kept: list[Segment] = []
    for segment in before.segments:
        if (missing := shards.missing(segment.arrays.values())) is not None:
            notice(f"{missing} is damaged: tokenising {dataset.name} anew from episode {kept[-1].read if kept else 0} on")
            missing.unlink(missing_ok=True)  # nothing may be appended to it: other datasets would take that for theirs
            break
        kept.append(segment)
    if before.fingerprint == now.fingerprint:
        return kept
    if before.spaces != now.spaces or before.skipped or (dataset.count() or 0) <= before.read:  # not only longer than before
        return []
    while kept and not (kept[-1].mark is not None and kept[-1].mark == dataset.mark(kept[-1].read)):
        kept.pop()
    for number, segment in enumerate(kept):  # marks are cheap: one episode of each is also looked at
        last = next(dataset.episodes(segment.read - 1))
        if _contents(compact(layout, _loaded(last), tokenizer)) != int(shards.read(segment.arrays["contents"])[-1]):
            return kept[:number]
    return kept


def _add(
    dataset: Dataset,
    index: Index,
    layout: Layout,
    tokenizer: TextTokenizer,
    shards: Shards,
    path: Path,
    skip_bad: float,
    seen: Callable[[int], Any],
) -> None:
    """Tokenise what the index lacks, and save it after every segment."""
    writer = _Writer(index, layout, shards)
    began, read = time.monotonic(), index.read
    for read, episode in enumerate(dataset.episodes(index.read), index.read + 1):
        try:
            episode = _loaded(episode)
            writer.add(episode, compact(layout, episode, tokenizer))
        except _UNREADABLE as error:
            if not skip_bad:
                raise
            index.skipped += 1
            if len(index.reasons) < NAMED:
                index.reasons.append(f"episode {read - 1}: {error}")
        if writer.nbytes >= _BYTES or time.monotonic() - began >= _SECONDS:
            _check_share(index, read, skip_bad)
            writer.write(read, dataset.mark(read))
            index.save(path)
            began = time.monotonic()
        seen(read)
    _check_share(index, read, skip_bad)
    writer.write(read, dataset.mark(read))
    if not index.segments:
        raise OpenGatoError(f"the dataset of task {index.task!r} has no episodes: collect some with `opengato collect {index.task}`")
    index.complete = True
    index.save(path)
    if index.skipped:
        notice(f"{dataset.name}: {index.skipped} of {read} samples cannot be read and are left out; {index.reasons[0]}")


def _check_share(index: Index, read: int, skip_bad: float) -> None:
    if index.skipped > skip_bad * read:
        raise OpenGatoError(
            f"{index.name}: {index.skipped} of {read} samples cannot be read, more than a share of {skip_bad:g} (--skip-bad); "
            f"{index.reasons[0]}"
        )


def _loaded(episode: Episode) -> Episode:
    """With every leaf in memory: a list of strings or an array."""
    observations, actions = (
        map_leaves(lambda leaf: leaf if isinstance(leaf, list) else np.asarray(leaf), nested)
        for nested in (episode.observations, episode.actions)
    )
    return Episode(observations, actions, episode.rewards, episode.task, episode.source, episode.success, episode.seed, episode.info)


class _Writer:
    """Gathers episodes into a segment, and writes it."""

    def __init__(self, index: Index, layout: Layout, shards: Shards):
        self._index, self._shards, self._layout, self._form = index, shards, layout, Form(layout)
        known = [np.array(shards.read(s.arrays["hashes"])) for s in index.segments if "hashes" in s.arrays]
        self._album = Album(np.concatenate([np.zeros(0, np.uint64), *known]))
        self._begin()

    def _begin(self) -> None:
        self.nbytes = 0
        self._parts: list[Compact] = []
        self._pictures: list[np.ndarray] = []
        self._columns: dict[str, list[Any]] = {name: [] for name in ("episodes", "returns", "sources", "starts", "contents")}

    def add(self, episode: Episode, part: Compact) -> None:
        """Take an episode."""
        known = len(self._album.blobs)
        pictures, hashes = _number(part, self._album)
        self.nbytes += part.tokens.nbytes + part.lengths.nbytes + pictures.nbytes + sum(map(len, self._album.blobs[known:]))
        part.frames.clear()  # they are in the album
        self._parts.append(part)
        self._pictures.append(pictures)
        row = (len(episode), episode.episode_return, episode.source, _start(episode), _digest(part, hashes))
        for column, value in zip(self._columns.values(), row):
            column.append(value)

    def write(self, read: int, mark: str | None) -> None:
        """Append what was gathered to a shard and to the index, if there is anything."""
        if not self._parts:
            return
        columns, form, album = self._columns, self._form, self._album
        sources = sorted(set(columns["sources"]))
        tokens, lengths = (np.concatenate([getattr(part, name) for part in self._parts]) for name in ("tokens", "lengths"))
        statistics = Statistics.of(_numbers(tokens, lengths, form), self._layout.numbers)
        arrays = {
            "tokens": tokens,
            "episodes": np.array(columns["episodes"], np.uint32),
            "returns": np.array(columns["returns"], np.float64),
            "sources": np.array([sources.index(name) for name in columns["sources"]], np.uint16),
            "starts": np.array(columns["starts"], np.uint64),
            "contents": np.array(columns["contents"], np.uint64),
            "mean": statistics.mean,
            "products": statistics.products,
        }
        if len(form.texts):
            arrays["lengths"] = lengths
        if form.images:
            arrays["pictures"] = np.concatenate(self._pictures)
            arrays["blobs"] = np.frombuffer(b"".join(album.blobs), np.uint8)
            arrays["blob_ends"] = np.cumsum([len(blob) for blob in album.blobs], dtype=np.int64)
            arrays["hashes"] = np.array(album.hashes, np.uint64)
        first = sum(segment.pictures for segment in self._index.segments)
        timesteps = int(arrays["episodes"].sum())
        self._index.segments.append(
            Segment(self._shards.append(arrays), len(self._parts), timesteps, first, len(album.blobs), sources, read, mark)
        )
        album.clear()
        self._begin()


def _number(part: Compact, album: Album) -> tuple[np.ndarray, bytes]:
    """The numbers of an episode's pictures, uint32 (T, I), and their hashes."""
    if not part.frames:
        return np.zeros((len(part.lengths), 0), np.uint32), b""
    found = np.array([[album.add(frames[t]) for frames in part.frames] for t in range(len(part.lengths))], np.uint64)
    return found[..., 0].astype(np.uint32), found[..., 1].tobytes()


def _contents(part: Compact) -> int:
    """The hash of all that an episode holds."""
    return _digest(part, _number(part, Album(np.zeros(0, np.uint64)))[1])


def _digest(part: Compact, pictures: bytes) -> int:
    content = hashlib.blake2b(digest_size=8)
    for data in (part.tokens.tobytes(), part.lengths.tobytes(), pictures):
        content.update(data)
    return int.from_bytes(content.digest(), "little")


def _numbers(tokens: np.ndarray, lengths: np.ndarray, form: Form) -> np.ndarray:
    """The tokens, of those that are stored, that are observed numbers."""
    counts = form.parts(lengths)
    kinds = np.repeat(np.tile(form.kinds, len(counts)), counts.ravel())
    kinds = kinds[is_stored(kinds)]
    return tokens[np.resize(kinds, len(tokens)) == CONTINUOUS]


def _start(episode: Episode) -> int:
    if "start" in episode.info:
        return int(episode.info["start"], 16)
    return fingerprint_of_start(map_leaves(lambda leaf: leaf[0], episode.observations))
