"""Arrays of many datasets in few large files, memory-mapped.

A shard is a plain concatenation of arrays; what lies where is written in the indices of those whose arrays they are. A shard is only ever
appended to, by one process at a time, so that what was written once stays where it is; what a killed process left unfinished nobody names.
"""

from __future__ import annotations

import fcntl
import math
import os
import secrets
import zlib
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import IO, Any

import numpy as np

from opengato.errors import OpenGatoError

FULL = 256 * 2**20  # bytes from which a shard is not appended to
_OPEN = 64  # shards that are mapped at a time: each holds a file open
_ALIGNED = 64  # bytes


@dataclass(frozen=True)
class Place:
    """Where an array stands: its shard's file name, the byte it begins at, its dtype and shape, and the CRC-32 of its bytes."""

    shard: str
    at: int
    dtype: str
    shape: tuple[int, ...]
    crc: int

    @cached_property
    def end(self) -> int:
        """The byte after its last."""
        return self.at + math.prod(self.shape) * np.dtype(self.dtype).itemsize

    def to_json(self) -> list[Any]:
        return [self.shard, self.at, self.dtype, list(self.shape), self.crc]

    @classmethod
    def from_json(cls, data: list[Any]) -> Place:
        shard, at, dtype, shape, crc = data
        return cls(shard, at, dtype, tuple(shape), crc)


class Shards:
    """The shards in a folder."""

    def __init__(self, folder: Path):
        self.folder, self._prefix = folder, f"{folder}{os.sep}"

    def read(self, place: Place) -> np.ndarray:
        """The array, read-only, of which only what is looked at is read."""
        raw = _maps.get(f"{self._prefix}{place.shard}", place.end)
        return raw[place.at : place.end].view(place.dtype).reshape(place.shape)

    def missing(self, places: Iterable[Place]) -> Path | None:
        """The first shard that is not there, or is too short for what should be in it, if there is one."""
        ends: dict[str, int] = {}
        for place in places:
            ends[place.shard] = max(ends.get(place.shard, 0), place.end)
        files = {self.folder / shard: end for shard, end in ends.items()}
        return next((file for file, end in files.items() if not file.is_file() or file.stat().st_size < end), None)

    def damaged(self, places: Iterable[Place]) -> Path | None:
        """The first shard in which an array is not what was written, if there is one; reads all of them."""
        places = list(places)
        wrong = (self.folder / place.shard for place in places if zlib.crc32(np.ascontiguousarray(self.read(place)).data) != place.crc)
        return self.missing(places) or next(wrong, None)

    def append(self, arrays: dict[str, np.ndarray]) -> dict[str, Place]:
        """Write arrays to a shard that has room and that nobody else writes to, and look whether they are there."""
        places = {}
        with self._writable() as file:
            shard, at = Path(file.name).name, file.seek(0, os.SEEK_END)
            for name, array in arrays.items():
                at += file.write(bytes(-at % _ALIGNED))
                data = np.ascontiguousarray(array).tobytes()
                places[name] = Place(shard, at, array.dtype.str, array.shape, zlib.crc32(data))
                at += file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if (damaged := self.damaged(places.values())) is not None:
            raise OpenGatoError(f"{damaged} does not hold what was just written to it: look at the disk of the cache folder")
        return places

    def sweep(self, named: set[str]) -> None:
        """Delete the shards that are not named, but for those that somebody writes to."""
        for path in self.folder.glob("*.shard"):
            if path.name not in named:
                with open(path, "ab") as file, suppress(BlockingIOError):
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    path.unlink()

    @contextmanager
    def _writable(self) -> Iterator[IO[bytes]]:
        """A shard that is not full, locked; a new one where there is none."""
        self.folder.mkdir(parents=True, exist_ok=True)
        there = sorted(path for path in self.folder.glob("*.shard") if path.stat().st_size < FULL)
        while True:
            # No name is used twice: what was there may still be mapped somewhere.
            with open(there.pop() if there else self.folder / f"{secrets.token_hex(8)}.shard", "ab") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:  # somebody writes to it
                    continue
                if os.fstat(file.fileno()).st_nlink:  # not swept away meanwhile
                    yield file
                    return


class _Maps:
    """The files that were read last, mapped."""

    def __init__(self) -> None:
        self._maps: OrderedDict[str, np.ndarray] = OrderedDict()
        self._lock = Lock()

    def get(self, path: str, end: int) -> np.ndarray:
        """The bytes of a file, at least up to `end`."""
        with self._lock:
            found = self._maps.get(path)
            if found is None or len(found) < end:  # or it has grown since
                found = np.asarray(np.memmap(path, np.uint8, "r"))
                self._maps[path] = found
            self._maps.move_to_end(path)
            while len(self._maps) > _OPEN:
                self._maps.popitem(last=False)
        return found


_maps = _Maps()
