"""Tokenised episodes, memory-mapped: only a cache, fingerprinted, safe to delete."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces

from opengato.checksum import checksum
from opengato.domains.starts import fingerprint as fingerprint_of_start
from opengato.episode import Episode, map_leaves
from opengato.errors import OpenGatoError
from opengato.tokens.encode import Encoded, encode
from opengato.tokens.layout import Layout
from opengato.tokens.statistics import Statistics
from opengato.tokens.text import TextTokenizer
from opengato.tokens.vocabulary import CONTINUOUS

VERSION = 5
_ARRAYS = ("tokens", "kinds", "local", "offsets", "patches", "boxes", "patch_offsets", "episodes", "returns", "sources", "starts")


def cache_root() -> Path:
    """$OPENGATO_CACHE, or opengato/ in the user's cache folder."""
    base = os.environ.get("OPENGATO_CACHE")
    return Path(base) if base else Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "opengato"


class TokenDataset:
    """The tokens of E episodes of one task, with T timesteps, N tokens and P patches in all.

    Attributes:
        task: the task's id. domain: its first part.
        layout: the task's layout, with the statistics of this data.
        tokens uint16 (N,), kinds uint8 (N,), local int16 (N,), offsets int64 (T + 1,): as in `Encoded`, episodes end to end.
        patches uint8 (P, 16, 16, 3), boxes uint8 (P, 4), patch_offsets int64 (T + 1,): the patches of every timestep.
        episodes int64 (E + 1,): the first timestep of every episode. returns float64 (E,). sources int64 (E,): index of the agent.
        starts uint64 (E,): the hash of the full starting state where the recorder left one, else of the first observation.
    """

    tokens: np.ndarray
    kinds: np.ndarray
    local: np.ndarray
    offsets: np.ndarray
    patches: np.ndarray
    boxes: np.ndarray
    patch_offsets: np.ndarray
    episodes: np.ndarray
    returns: np.ndarray
    sources: np.ndarray
    starts: np.ndarray

    def __init__(self, path: Path):
        meta = json.loads((path / "meta.json").read_text())
        self.path, self.task, self.source_names = path, meta["task"], meta["sources"]
        self.fingerprint = meta["fingerprint"]
        self.layout = Layout.from_json(meta)
        for name in _ARRAYS:
            setattr(self, name, np.load(path / f"{name}.npy", mmap_mode="r", allow_pickle=False))
        # The small index arrays are read for every sequence: plain memory is quicker than a map.
        for name in ("offsets", "patch_offsets", "episodes", "returns", "sources", "starts"):
            setattr(self, name, np.array(getattr(self, name)))
        self._all = Encoded(self.tokens, self.kinds, self.local, self.offsets, self.patches, self.boxes)
        self._all.patch_offsets = self.patch_offsets  # stored: to count them again would read all kinds

    @property
    def domain(self) -> str:
        return self.task.split("/")[0]

    def __len__(self) -> int:
        return len(self.returns)

    @cached_property
    def fingerprints(self) -> np.ndarray:
        """Hashes, uint64 (E,), of what each episode holds: of its tokens, their kinds and its patches."""
        found = np.empty(len(self), np.uint64)
        for number, (start, stop) in enumerate(zip(self.episodes[:-1], self.episodes[1:])):
            episode = self.gather(np.arange(start, stop))
            content = hashlib.blake2b(digest_size=8)
            for array in (episode.tokens, episode.kinds, episode.patches):
                content.update(np.ascontiguousarray(array).data)
            found[number] = int.from_bytes(content.digest(), "little")
        return found

    def in_validation(self, share: float) -> np.ndarray:
        """Which episodes, bool (E,), are of the `share` in [0, 1) that is kept from training to measure the loss on.

        An episode's own content decides, so that it stays where it is when others come or go, and copies of it stand on the same side.
        """
        if share <= 0:
            return np.zeros(len(self), bool)
        return self.fingerprints < np.uint64(share * 2**64)

    def gather(self, timesteps: np.ndarray) -> Encoded:
        """Any timesteps of the whole dataset, int64 (T,), in this order; as views where they are in a row."""
        return self._all.take(timesteps)


def cache_folder(task: str, tokenizer: TextTokenizer, fingerprint: str, root: Path | None = None) -> Path:
    """Where the tokens of this content are, or would be; they are there once it has a meta.json."""
    key = hashlib.sha256(f"{VERSION} {task} {fingerprint} {tokenizer.fingerprint}".encode()).hexdigest()[:16]
    return (root or cache_root()) / "tokens" / task.replace("/", "--") / key


def build_cache(
    task: str,
    observation_space: spaces.Space,
    action_space: spaces.Space,
    episodes: Iterable[Episode],
    tokenizer: TextTokenizer,
    fingerprint: str,
    root: Path | None = None,
) -> TokenDataset:
    """Tokenise episodes into the cache, or open what is there already.

    Args:
        fingerprint: names the content of `episodes`, which are read only where the cache has none of this fingerprint.
    Raises OpenGatoError where there are no episodes.
    """
    path = cache_folder(task, tokenizer, fingerprint, root)
    if (path / "meta.json").is_file():
        damaged = damaged_file(path)
        if damaged is None:
            return TokenDataset(path)
        print(f"{damaged} is damaged: building the cache of {task} anew", file=sys.stderr)
        shutil.rmtree(path)
    layout = Layout(observation_space, action_space)
    encoded: list[Encoded] = []
    returns, names, starts = [], [], []
    for episode in episodes:
        encoded.append(encode(layout, episode, tokenizer))
        returns.append(episode.episode_return)
        names.append(episode.source)
        starts.append(_start(episode))
    if not encoded:
        raise OpenGatoError(f"the dataset of task {task!r} has no episodes: collect some with `opengato collect {task}`")
    sources = sorted(set(names))
    arrays = {
        "tokens": np.concatenate([e.tokens for e in encoded]).astype(np.uint16),
        "kinds": np.concatenate([e.kinds for e in encoded]),
        "local": np.concatenate([e.local for e in encoded]),
        "offsets": _join([e.offsets for e in encoded]),
        "patches": np.concatenate([e.patches for e in encoded]),
        "boxes": np.concatenate([e.boxes for e in encoded]),
        "patch_offsets": _join([e.patch_offsets for e in encoded]),
        "episodes": np.concatenate([[0], np.cumsum([len(e) for e in encoded])]).astype(np.int64),
        "returns": np.array(returns, np.float64),
        "sources": np.array([sources.index(n) for n in names], np.int64),
        "starts": np.array(starts, np.uint64),
    }
    partial = path.with_name(f"{path.name}.partial-{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for name, array in arrays.items():
        np.save(partial / f"{name}.npy", array, allow_pickle=False)
    checksums = {name: checksum(partial / f"{name}.npy") for name in arrays}
    numbers = Statistics.of(arrays["tokens"][arrays["kinds"] == CONTINUOUS], layout.numbers)
    layout = layout.with_statistics(numbers)
    meta: dict[str, Any] = {"task": task, "sources": sources, "fingerprint": fingerprint, "checksums": checksums, **layout.to_json()}
    (partial / "meta.json").write_text(json.dumps(meta))
    try:
        os.replace(partial, path)
    except OSError:
        if not (path / "meta.json").is_file():
            raise
        shutil.rmtree(partial)  # another process was quicker
    return TokenDataset(path)


def _start(episode: Episode) -> int:
    if "start" in episode.info:
        return int(episode.info["start"], 16)
    return fingerprint_of_start(map_leaves(lambda leaf: leaf[0], episode.observations))


def damaged_file(path: Path) -> Path | None:
    """The first file of a cache folder that is not what was written, if there is one."""
    checksums = json.loads((path / "meta.json").read_text())["checksums"]
    files = {path / f"{name}.npy": value for name, value in checksums.items()}
    return next((file for file, value in files.items() if not file.is_file() or checksum(file) != value), None)


def _join(offsets: list[np.ndarray]) -> np.ndarray:
    """Per-episode offset arrays (each from 0) to one running array."""
    ends = np.cumsum([o[-1] for o in offsets])
    return np.concatenate([[0], *[o[1:] + (end - o[-1]) for o, end in zip(offsets, ends)]]).astype(np.int64)
