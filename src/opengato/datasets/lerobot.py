"""LeRobotDataset, versions 3.0 and 2.1 (and 2.0): parquet, and pictures in it or in MP4 files.

A feature's name is its field's path: "observation.images.front" is observation["images"]["front"], as `robots.lerobot` has it; the task's
text is observation["task"]. Row t holds what was seen and what was then done, and "next.reward" what followed. Where `opengato data
convert` wrote the dataset, its spaces and tasks are as they were.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces

from opengato.datasets.columns import fingerprint, numbers, parquet_file, read_columns, read_json
from opengato.datasets.frames import Pictures
from opengato.datasets.inferred import TEXT, Inferred, field_space, nest, number_of, space_of, task_name
from opengato.datasets.lerobot_features import nested_spaces
from opengato.datasets.video import Clip
from opengato.episode import Episode
from opengato.errors import OpenGatoError
from opengato.tokens.nested import get_path
from opengato.tokens.spaces import from_json

SIDECAR = "meta/opengato.json"  # what LeRobot's own files have no place for; its library looks past it
_OWN = {"timestamp", "frame_index", "episode_index", "index", "task_index"}
_READ = {"next.reward", "next.done", "next.success", "next.terminated"}
_VERSIONS = ("v2.0", "v2.1", "v3.0")


def recognises(folder: Path) -> bool:
    """Whether a folder is such a dataset."""
    return (folder / "meta" / "info.json").is_file()


def load_lerobot(folder: Path) -> Inferred:
    """The dataset in a folder. Raises OpenGatoError where there is none, or it is of a version that is not known."""
    return Inferred(LeRobotFolder(folder))


@dataclass(frozen=True)
class Row:
    """Where an episode is.

    Attributes:
        index: its number in LeRobot's files. length: its timesteps. data: the parquet file.
        videos: of every feature that is one its file, and at which second of it the episode begins.
    """

    index: int
    length: int
    data: Path
    videos: dict[str, tuple[Path, float]]


class LeRobotFolder:
    """A LeRobotDataset in a folder, a `Source`."""

    def __init__(self, folder: Path):
        self._folder = folder
        if not recognises(folder):
            raise OpenGatoError(f"{folder} is no LeRobotDataset: it has no meta/info.json")
        self.info = info = read_json(folder / "meta" / "info.json")
        self.version = str(info.get("codebase_version"))
        if self.version not in _VERSIONS:
            raise OpenGatoError(
                f"{folder} is a LeRobotDataset of version {self.version}: known are {', '.join(_VERSIONS)}, convert it to v3.0"
            )
        self.rate = float(info["fps"])
        self._features: dict[str, dict[str, Any]] = info["features"]
        self._sidecar = read_json(folder / SIDECAR) if (folder / SIDECAR).is_file() else None
        self.exact = self._sidecar is not None
        self.task = str(self._sidecar["task"]) if self._sidecar else f"lerobot/{task_name(folder.resolve().name)}"
        self.name = f"lerobot:{folder.resolve()}"
        self._texts = self._read_tasks()
        self.rows = self._read_rows()
        files = {row.data for row in self.rows} | {path for row in self.rows for path, _ in row.videos.values()}
        if lost := sorted(path for path in files if not path.is_file()):
            raise OpenGatoError(f"{folder} lacks {lost[0]}, which an episode is in: fetch it again, with its videos")
        self.fingerprint = fingerprint([*files, *(path for path in (folder / "meta").rglob("*") if path.is_file())])
        self.unused: dict[str, str] = {}
        self._seen, self._done = self._fields()
        if not self._done:
            raise OpenGatoError(
                f"{folder} has no feature 'action' of numbers, so that nothing can be learned from it: it has {', '.join(self._features)}"
            )
        if self._sidecar:
            self.observation_space: spaces.Space = from_json(self._sidecar["observation_space"])
            self.action_space: spaces.Space = from_json(self._sidecar["action_space"])
        else:
            self.observation_space, self.action_space = (
                space_of({path: s for path, (_, s) in fields.items()}) for fields in (self._seen, self._done)
            )
        self._check_columns()

    # ---- what there is ----

    def _read_tasks(self) -> dict[int, str]:
        """The tasks' texts by their numbers."""
        if self.version == "v3.0":
            path = self._folder / "meta" / "tasks.parquet"
            if not path.is_file():
                raise OpenGatoError(f"{self._folder} lacks meta/tasks.parquet: fetch it again")
            table = parquet_file(path).read()
            named = [name for name in table.column_names if name != "task_index"]  # pandas' index: "task" or "__index_level_0__"
            return {int(row["task_index"]): str(row[named[0]]) for row in table.to_pylist()}
        return {int(line["task_index"]): str(line["task"]) for line in _read_lines(self._folder / "meta" / "tasks.jsonl")}

    def _read_rows(self) -> list[Row]:
        keys = [key for key, feature in self._features.items() if feature["dtype"] == "video"]
        rows = self._rows_of_files(keys) if self.version == "v3.0" else self._rows_of_episodes(keys)
        known: set[int] = set()
        for row in rows:
            if row.index in known:
                raise OpenGatoError(
                    f"{self._folder} lists episode {row.index} twice: its index is damaged, or two datasets were joined wrongly"
                )
            known.add(row.index)
        return sorted(rows, key=lambda row: row.index)

    def _rows_of_files(self, keys: list[str]) -> list[Row]:
        """Version 3: many episodes a file."""
        paths = sorted((self._folder / "meta" / "episodes").glob("*/*.parquet"))
        if not paths:
            raise OpenGatoError(f"{self._folder} lacks meta/episodes: fetch it again, or let its recording be finished")
        places = ["chunk_index", "file_index"]
        columns = ["episode_index", "length", *(f"data/{p}" for p in places)]
        columns += [f"videos/{key}/{p}" for key in keys for p in (*places, "from_timestamp")]
        rows = []
        for path in paths:
            for found in read_columns(path, columns).to_pylist():
                data = self._folder / self.info["data_path"].format(
                    chunk_index=found["data/chunk_index"], file_index=found["data/file_index"]
                )
                videos = {}
                for key in keys:
                    where = {p: found[f"videos/{key}/{p}"] for p in places}
                    if None not in where.values():
                        videos[key] = (
                            self._folder / self.info["video_path"].format(video_key=key, **where),
                            found[f"videos/{key}/from_timestamp"],
                        )
                rows.append(Row(found["episode_index"], found["length"], data, videos))
        return rows

    def _rows_of_episodes(self, keys: list[str]) -> list[Row]:
        """Versions 2: a file an episode."""
        rows = []
        for found in _read_lines(self._folder / "meta" / "episodes.jsonl"):
            index = found["episode_index"]
            where = {"episode_chunk": index // self.info["chunks_size"], "episode_index": index}
            videos = {key: (self._folder / self.info["video_path"].format(video_key=key, **where), 0.0) for key in keys}
            rows.append(Row(index, found["length"], self._folder / self.info["data_path"].format(**where), videos))
        return rows

    def _fields(self) -> tuple[dict[str, tuple[str, spaces.Space]], dict[str, tuple[str, spaces.Space]]]:
        """What is seen and what is done: path -> the feature's name and its space."""
        seen: dict[str, tuple[str, spaces.Space]] = {}
        done: dict[str, tuple[str, spaces.Space]] = {}
        if self._sidecar is not None:
            for side, found in (("observation", seen), ("action", done)):
                whole = nested_spaces(from_json(self._sidecar[f"{side}_space"]))
                found |= {path: (key, get_path(whole, path)) for path, key in self._sidecar["fields"][side].items()}
            return seen, done
        for key, feature in self._features.items():
            side, _, path = key.partition(".")
            if key in _OWN | _READ:
                continue
            if side not in ("observation", "action") or (side == "observation" and not path):
                self.unused[key] = "it is neither under 'observation' nor 'action'"
                continue
            space = self._space(feature)
            if isinstance(space, str):
                self.unused[key] = space
            else:
                (seen if side == "observation" else done)[path] = key, space
        if any(self._texts.values()) and "task" not in seen:
            seen["task"] = "task_index", TEXT
        return seen, done

    def _space(self, feature: dict[str, Any]) -> spaces.Space | str:
        shape = tuple(int(n) for n in feature["shape"])
        if feature["dtype"] in ("image", "video"):
            if (feature.get("info") or feature.get("video_info") or {}).get("video.is_depth_map"):
                return "it is a depth map"
            names = feature.get("names") or []
            first = next(iter(names), "")
            if str(first).startswith("channel") or (shape[0] in (1, 3) and shape[2] not in (1, 3)):
                shape = (shape[1], shape[2], shape[0])
            return field_space(np.uint8, (*shape[:2], 3) if feature["dtype"] == "video" else shape)
        if feature["dtype"] == "string":
            return TEXT
        return field_space(feature["dtype"], shape)

    def _check_columns(self) -> None:
        """That the first data file has what info.json announces, and nothing else."""
        if not self.rows:
            raise OpenGatoError(f"{self._folder} has no episodes")
        here = set(parquet_file(self.rows[0].data).schema_arrow.names)
        announced = {key for key, feature in self._features.items() if feature["dtype"] != "video"}
        for key in sorted(announced - here):
            raise OpenGatoError(f"feature {key!r} of {self._folder}/meta/info.json is no column of {self.rows[0].data}")
        for key in sorted(here - announced - {"task_index"}):
            raise OpenGatoError(
                f"column {key!r} of {self.rows[0].data} is no feature of {self._folder}/meta/info.json: name and describe it there"
            )

    # ---- reading ----

    def readers(self, start: int = 0) -> Iterator[Callable[[], Episode]]:
        for number, row in enumerate(self.rows[start:], start):
            yield partial(self._episode, number, row)

    def count(self) -> int:
        return len(self.rows)

    def mark(self, count: int) -> str | None:
        told = [(row.index, row.length) for row in self.rows[:count]]
        return hashlib.sha256(repr((told, self._texts)).encode()).hexdigest()[:16]

    def _episode(self, number: int, row: Row) -> Episode:
        stored = [key for key, feature in self._features.items() if feature["dtype"] not in ("video", "image") and key not in self.unused]
        file = _file(row.data, row.data.stat().st_mtime_ns, tuple(stored))
        first, stop = file.places.get(row.index, (0, 0))
        if stop - first != row.length:
            raise OpenGatoError(
                f"{row.data} has {stop - first} rows of episode {row.index} where its index says {row.length}: they disagree"
            )
        table = file.table.slice(first, row.length)
        in_order = numbers(table["frame_index"], (), "frame_index")
        if not np.array_equal(in_order, np.arange(row.length)):
            raise OpenGatoError(f"the rows of episode {row.index} in {row.data} are not in order, or are there twice")
        observations, actions = (
            {path: self._leaf(key, space, row, table, first) for path, (key, space) in fields.items()}
            for fields in (self._seen, self._done)
        )
        rewards = self._optional(table, "next.reward", row)
        success = self._optional(table, "next.success", row)
        done = self._optional(table, "next.done", row)
        noted = self._sidecar["episodes"][number] if self._sidecar else {}
        return Episode(
            self._nested(observations, self.observation_space),
            self._nested(actions, self.action_space),
            np.zeros(row.length, np.float32) if rewards is None else rewards.astype(np.float32),
            self.task,
            noted.get("source", "expert"),
            noted.get("success", None if success is None else bool(success.any())),
            noted.get("seed"),
            {"terminated": bool(done is not None and done[-1])},
        )

    def _nested(self, fields: dict[str, Any], space: spaces.Space) -> Any:
        if not self.exact:
            return nest(fields)

        def take(space: spaces.Space, path: str) -> Any:
            if isinstance(space, spaces.Dict):
                return {key: take(sub, f"{path}.{key}".lstrip(".")) for key, sub in space.spaces.items()}
            if isinstance(space, spaces.Tuple):
                return tuple(take(sub, f"{path}.{index}".lstrip(".")) for index, sub in enumerate(space.spaces))
            leaf = fields[path]
            if isinstance(leaf, np.ndarray):
                return leaf.astype(space.dtype).reshape(len(leaf), *(space.shape or ()))
            return leaf

        return take(space, "")

    def _leaf(self, key: str, space: spaces.Space, row: Row, table: Any, first: int) -> Any:
        what = f"feature {key!r} of episode {row.index} in {self._folder}"
        if key == "task_index":
            return [self._text(int(number)) for number in numbers(table[key], (), what)]
        kind = self._features[key]["dtype"]
        if kind == "video":
            if key not in row.videos:
                raise OpenGatoError(f"{what} has no video: drop the episode, or the feature from meta/info.json")
            path, begins = row.videos[key]
            times = begins + numbers(table["timestamp"], (), what).astype(np.float64)
            return Clip(path, times, 1 / self.rate, space.shape[:2])  # type: ignore[index, arg-type]
        if kind == "image":
            return Pictures(_Blobs(row.data, key, range(first, first + row.length), self._folder), space.shape, what)  # type: ignore[arg-type]
        if kind == "string":
            return [str(text) for text in table[key].to_pylist()]
        shape = tuple(int(n) for n in self._features[key]["shape"])
        return number_of(numbers(table[key], shape, what), space)

    def _text(self, number: int) -> str:
        if number not in self._texts:
            raise OpenGatoError(f"task {number} of {self._folder} has no text in its tasks: it has {len(self._texts)} of them")
        return self._texts[number]

    def _optional(self, table: Any, key: str, row: Row) -> np.ndarray | None:
        if key not in table.column_names:
            return None
        return numbers(table[key], (), f"feature {key!r} of episode {row.index} in {self._folder}")


@dataclass(frozen=True)
class _Blobs(Sequence):
    """Compressed pictures in some rows of a parquet file; read when they are taken, a row group at a time."""

    path: Path
    key: str
    rows: range
    folder: Path

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, key: Any) -> Any:
        rows = self.rows[key]
        return _Blobs(self.path, self.key, rows, self.folder) if isinstance(rows, range) else next(self._read(range(rows, rows + 1)))

    def __iter__(self) -> Iterator[bytes | Path | None]:
        return self._read(self.rows)

    def _read(self, rows: range) -> Iterator[bytes | Path | None]:
        metadata = parquet_file(self.path).metadata
        ends = np.cumsum([metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)])
        kept, column = -1, None
        for row in rows:
            group = int(np.searchsorted(ends, row, side="right"))
            if group != kept:
                kept, column = group, read_columns(self.path, [self.key], [group])[self.key]
            entry = column[row - (int(ends[group - 1]) if group else 0)].as_py()  # type: ignore[index]
            if entry and entry.get("bytes"):
                yield entry["bytes"]
            else:
                yield self.folder / entry["path"] if entry and entry.get("path") else None


@dataclass(frozen=True)
class _File:
    """Columns of a data file, and the rows [first, stop) of every episode in it."""

    table: Any
    places: dict[int, tuple[int, int]]


@lru_cache(maxsize=2)
def _file(path: Path, changed: int, columns: tuple[str, ...]) -> _File:
    """A data file less its pictures; `changed`: when it was, in nanoseconds."""
    table = read_columns(path, columns).combine_chunks()
    episodes = numbers(table["episode_index"], (), f"column 'episode_index' of {path}")
    edges = np.concatenate([[0], np.flatnonzero(np.diff(episodes)) + 1, [len(episodes)]]) if len(episodes) else np.zeros(1, np.int64)
    places: dict[int, tuple[int, int]] = {}
    for first, stop in zip(edges[:-1].tolist(), edges[1:].tolist()):
        if (index := int(episodes[first])) in places:
            raise OpenGatoError(f"episode {index} stands in {path} twice, or is torn apart: it was written wrongly")
        places[index] = first, stop
    return _File(table, places)


def _read_lines(path: Path) -> list[dict[str, Any]]:
    try:
        return [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise OpenGatoError(f"{path} cannot be read: {error}: fetch it again") from None
