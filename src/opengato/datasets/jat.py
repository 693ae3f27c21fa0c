"""JAT's parquet files: a row an episode, with columns {continuous,discrete,image,text}_observations, {continuous,discrete}_actions,
rewards.

Entry t of a row's lists holds what was seen and what was then done. Fields are named like the columns, less "_observations" and "_actions".
Atari's pictures have four channels, the last four grey frames: the newest is taken, as the others were seen before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces

from opengato.datasets.columns import fingerprint, numbers, parquet_file, read_columns
from opengato.datasets.frames import Pictures, decompress
from opengato.datasets.inferred import TEXT, Inferred, field_space, nest, number_of, space_of, task_name
from opengato.episode import Episode
from opengato.errors import OpenGatoError

_SEEN = {f"{kind}_observations": kind for kind in ("continuous", "discrete", "image", "text")}
_DONE = {f"{kind}_actions": kind for kind in ("continuous", "discrete")}


def _files(path: Path) -> list[Path]:
    """The parquet files of a folder, of its training split where it has splits; or the file itself."""
    if path.is_file():
        return [path] if path.suffix == ".parquet" else []
    return sorted(path.glob("train-*.parquet")) or sorted(path.glob("*.parquet"))


def recognises(path: Path) -> bool:
    """Whether a path is such a file, or a folder of them."""
    files = _files(path)
    return bool(files) and bool(set(_DONE) & set(parquet_file(files[0]).schema_arrow.names))


def load_jat(path: Path) -> Inferred:
    """The episodes of a task, in a folder or a file. Raises OpenGatoError where there are none."""
    return Inferred(JAT(path))


class JAT:
    """The episodes of a task, a `Source`."""

    exact = False

    def __init__(self, path: Path):
        if not recognises(path):
            raise OpenGatoError(
                f"{path} has no episodes of JAT's: there is no parquet file with discrete_actions or continuous_actions in it"
            )
        self._paths = _files(path)
        self.task = f"jat/{task_name(path.resolve().name if path.is_dir() else path.stem)}"
        self.name, self.fingerprint = f"jat:{path.resolve()}", fingerprint(self._paths)
        self._counts = [parquet_file(file).metadata.num_rows for file in self._paths]
        here = parquet_file(self._paths[0]).schema_arrow.names
        if "rewards" not in here:
            raise OpenGatoError(f"{self._paths[0]} has no column 'rewards': it has {', '.join(here)}")
        self.unused = {key: "it is not of JAT's columns" for key in here if key not in {*_SEEN, *_DONE, "rewards"}}
        self._columns = [key for key in here if key in {*_SEEN, *_DONE, "rewards"} and key != "image_observations"]
        first = self._row(self._paths[0], 0)
        self._spaces = {key: self._space(key, first, here) for key in here if key in {*_SEEN, *_DONE}}
        self.observation_space = space_of({_SEEN[key]: space for key, space in self._spaces.items() if key in _SEEN})
        done = {_DONE[key]: space for key, space in self._spaces.items() if key in _DONE}
        self._one = len(done) == 1
        self.action_space = next(iter(done.values())) if self._one else space_of(done)

    def _space(self, key: str, first: Any, here: list[str]) -> spaces.Space:
        kind = {**_SEEN, **_DONE}[key]
        if kind == "text":
            return TEXT
        what = f"{key} of {self._paths[0]}"
        if kind == "image":
            length = len(first["rewards"][0].as_py() or ())
            blob = next(iter(_Frames(self._paths[0], 0, length)), None)
            return spaces.Box(0, 255, decompress(blob, what, stacked=True).shape, np.uint8)
        entry = first[key][0].as_py()
        shape = np.shape(entry[0]) if entry else ()
        found = field_space(np.float32 if kind == "continuous" else np.int64, shape)
        if isinstance(found, str):
            raise OpenGatoError(f"{what} cannot be read: {found}")
        return found

    def readers(self, start: int = 0) -> Iterator[Callable[[], Episode]]:
        for path, count in zip(self._paths, self._counts):
            for row in range(min(start, count), count):
                yield partial(self._episode, path, row)
            start = max(start - count, 0)

    def count(self) -> int:
        return sum(self._counts)

    def mark(self, count: int) -> str | None:
        return None  # a row is only known when it is read

    def _row(self, path: Path, row: int) -> Any:
        """One row less its pictures, as a table."""
        group, inside = _place(path, row)
        return _group(path, path.stat().st_mtime_ns, tuple(self._columns), group).slice(inside, 1)

    def _episode(self, path: Path, row: int) -> Episode:
        table = self._row(path, row)
        leaves: dict[str, Any] = {}
        rewards = numbers(table["rewards"].combine_chunks().flatten(), (), f"rewards of row {row} of {path}")
        for key, space in self._spaces.items():
            what = f"{key} of row {row} of {path}"
            if key == "image_observations":
                leaves[key] = Pictures(_Frames(path, row, len(rewards)), space.shape, what, stacked=True)  # type: ignore[arg-type]
                continue
            entries = table[key].combine_chunks()
            if entries.null_count:
                raise OpenGatoError(f"{what} is missing: drop the row")
            entries = entries.flatten()
            if key == "text_observations":
                leaves[key] = [str(text) for text in entries.to_pylist()]
            else:
                leaves[key] = number_of(numbers(entries, space.shape or (), what), space)
        done = {_DONE[key]: leaf for key, leaf in leaves.items() if key in _DONE}
        return Episode(
            nest({_SEEN[key]: leaf for key, leaf in leaves.items() if key in _SEEN}),
            next(iter(done.values())) if self._one else nest(done),
            rewards.astype(np.float32),
            self.task,
        )


def _place(path: Path, row: int) -> tuple[int, int]:
    """In which row group a row is, and where in it."""
    metadata = parquet_file(path).metadata
    for group in range(metadata.num_row_groups):
        if row < (rows := metadata.row_group(group).num_rows):
            return group, row
        row -= rows
    raise OpenGatoError(f"{path} has no row {row}: it has changed while it was read")


_kept: dict[tuple[Path, tuple[str, ...]], tuple[tuple[int, int], Any]] = {}


def _group(path: Path, changed: int, columns: tuple[str, ...], group: int) -> Any:
    """A row group; the last one of each file is kept, for the next row is in it too."""
    key = path, columns
    if _kept.get(key, ((0, -1), None))[0] != (changed, group):
        if len(_kept) >= 4:
            _kept.pop(next(iter(_kept)))
        _kept[key] = (changed, group), read_columns(path, columns, [group])
    return _kept[key][1]


@dataclass(frozen=True)
class _Frames(Sequence):
    """The compressed pictures of one row, of which there should be `length`, or some of them; read when the first is taken."""

    path: Path
    row: int
    length: int
    part: range | None = None

    @property
    def _inside(self) -> range:
        return range(self.length) if self.part is None else self.part

    def __len__(self) -> int:
        return len(self._inside)

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, slice):
            return _Frames(self.path, self.row, self.length, self._inside[key])
        return next(iter(_Frames(self.path, self.row, self.length, self._inside[key : key + 1])))

    def __iter__(self) -> Iterator[bytes | None]:
        group, inside = _place(self.path, self.row)
        table = _group(self.path, self.path.stat().st_mtime_ns, ("image_observations",), group)
        pictures = table["image_observations"].slice(inside, 1).combine_chunks().flatten()
        if len(pictures) != self.length:
            raise OpenGatoError(
                f"row {self.row} of {self.path} has {len(pictures)} pictures and {self.length} rewards: frames and rows disagree"
            )
        for index in self._inside:
            found = pictures[index].as_py()
            yield found["bytes"] if found else None
