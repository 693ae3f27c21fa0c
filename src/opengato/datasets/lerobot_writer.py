"""Episodes as a LeRobotDataset, version 3.0, that LeRobot's own library loads.

What its files have no place for, the exact spaces, the task's id, who acted and with which seed, stands in
`meta/opengato.json`.
"""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces

from opengato.datasets.lerobot import SIDECAR
from opengato.datasets.lerobot_features import feature_names, task_field
from opengato.datasets.survey import is_picture
from opengato.datasets.video import VideoWriter
from opengato.episode import Episode
from opengato.errors import OpenGatoError
from opengato.tokens.nested import get_path
from opengato.tokens.spaces import to_json

_DATA_BYTES, _VIDEO_BYTES = 100 * 2**20, 200 * 2**20  # a file that has so many is followed by another, as LeRobot has it
_CHUNK = 1000  # files a folder
_OWN = {"timestamp": "float32", "frame_index": "int64", "episode_index": "int64", "index": "int64", "task_index": "int64"}
_QUANTILES = {"q01": 0.01, "q10": 0.1, "q50": 0.5, "q90": 0.9, "q99": 0.99}


def write_lerobot(
    folder: Path,
    episodes: Iterable[Episode],
    task: str,
    observation_space: spaces.Space,
    action_space: spaces.Space,
    rate: float,
    video: bool,
) -> int:
    """Write episodes as the LeRobotDataset in `folder`, which must not be there; returns how many. A kill leaves nothing of that name.

    Args:
        task: the task's id. observation_space, action_space: the episodes'.
        rate: control ticks a second. video: pictures of three channels as MP4 files, which is not quite without loss; else as PNG.

    Raises OpenGatoError for actions in words, and what the episodes raise.
    """
    if folder.exists():
        raise OpenGatoError(f"{folder} is there already: give another folder")
    work = folder.parent / f".{folder.name}.new"
    shutil.rmtree(work, ignore_errors=True)
    writer = _Writer(work, task, observation_space, action_space, rate, video)
    for episode in episodes:
        writer.add(episode)
    count = writer.close()
    os.replace(work, folder)
    return count


def _features(space: spaces.Space, side: str, video: bool) -> dict[str, tuple[str, dict[str, Any]]]:
    """Of every field of a space, by its path, its feature's name and description; texts of kind "string"."""
    found: dict[str, tuple[str, dict[str, Any]]] = {}
    for path, (name, sub) in feature_names(space, side).items():
        shape: list[int] = list(sub.shape or ()) or [1]
        if isinstance(sub, spaces.Text):
            if side == "action":
                raise OpenGatoError("actions in words have no place in a LeRobotDataset: write --format minari")
            found[path] = name, {"dtype": "string", "shape": [1], "names": None}
        elif is_picture(sub):
            kind = "video" if video and shape[2] == 3 else "image"
            found[path] = name, {"dtype": kind, "shape": shape, "names": ["height", "width", "channels"]}
        else:
            dtype = str(sub.dtype) if np.issubdtype(sub.dtype, np.floating) else "int64"
            found[path] = name, {"dtype": dtype, "shape": shape, "names": None}
    return found


class _Writer:
    """Gathers episodes into files."""

    def __init__(self, root: Path, task: str, observation_space: spaces.Space, action_space: spaces.Space, rate: float, video: bool):
        self._root, self._task, self._rate = root, task, rate
        self._spaces = {"observation_space": to_json(observation_space), "action_space": to_json(action_space)}
        self._seen, self._done = _features(observation_space, "observation", video), _features(action_space, "action", video)
        self._said = task_field([path for path, (_, feature) in self._seen.items() if feature["dtype"] == "string"])
        if self._said is not None:
            self._seen[self._said] = "task_index", {}
        self._features = {name: feature for name, feature in (*self._seen.values(), *self._done.values()) if feature}
        self._features |= {"next.reward": _scalar("float32"), "next.done": _scalar("bool")}
        self._features |= {key: _scalar(kind) for key, kind in _OWN.items()}
        self._texts: dict[str, int] = {}
        self._index: list[dict[str, Any]] = []  # a row an episode
        self._notes: list[dict[str, Any]] = []
        self._waiting: list[Any] = []  # tables of episodes that are not written yet
        self._waiting_bytes = self._data_file = self._timesteps = 0
        self._videos = {name: _Videos(root, name, f, rate) for name, f in self._features.items() if f["dtype"] == "video"}
        self._tallies = {name: _Tally(feature) for name, feature in self._features.items() if feature["dtype"] != "string"}

    def add(self, episode: Episode) -> None:
        """Write one."""
        number, length = len(self._index), len(episode)
        texts = get_path(episode.observations, self._said) if self._said is not None else [self._task] * length
        columns: dict[str, Any] = {
            "timestamp": (np.arange(length) / self._rate).astype(np.float32),
            "frame_index": np.arange(length),
            "episode_index": np.full(length, number),
            "index": np.arange(self._timesteps, self._timesteps + length),
            "task_index": np.array([self._texts.setdefault(text, len(self._texts)) for text in texts]),
            "next.reward": episode.rewards,
            "next.done": np.arange(length) == length - 1,
        }
        places: dict[str, Any] = {}
        for nested, fields in ((episode.observations, self._seen), (episode.actions, self._done)):
            for path, (name, feature) in fields.items():
                if not feature:
                    continue
                leaf = get_path(nested, path)
                values: Any = list(leaf) if feature["dtype"] == "string" else np.asarray(leaf)
                if feature["dtype"] == "video":
                    places |= self._videos[name].add(values)
                    self._tallies[name].add(values)
                else:
                    columns[name] = values
        for name, values in columns.items():
            if name in self._tallies:
                self._tallies[name].add(np.asarray(values))
        self._waiting.append(self._table(columns))
        self._waiting_bytes += self._waiting[-1].nbytes
        self._index.append(
            {
                "episode_index": number,
                "tasks": list(dict.fromkeys(texts)),
                "length": length,
                "data/chunk_index": self._data_file // _CHUNK,
                "data/file_index": self._data_file % _CHUNK,
                "dataset_from_index": self._timesteps,
                "dataset_to_index": self._timesteps + length,
                **places,
                "meta/episodes/chunk_index": 0,
                "meta/episodes/file_index": 0,
            }
        )
        self._notes.append({"source": episode.source, "success": episode.success, "seed": episode.seed})
        self._timesteps += length
        if self._waiting_bytes >= _DATA_BYTES:
            self._write_data()

    def _table(self, columns: dict[str, Any]) -> Any:
        import pyarrow as pa

        return pa.table({name: _column(columns[name], feature) for name, feature in self._features.items() if feature["dtype"] != "video"})

    def _write_data(self) -> None:
        import pyarrow as pa
        import pyarrow.parquet as parquet

        path = self._root / _place("data/chunk-{:03d}/file-{:03d}.parquet", self._data_file)
        path.parent.mkdir(parents=True, exist_ok=True)
        with parquet.ParquetWriter(path, self._waiting[0].schema) as file:
            for table in (
                self._waiting if any(f["dtype"] == "image" for f in self._features.values()) else [pa.concat_tables(self._waiting)]
            ):
                file.write_table(table)  # pictures are found by their row group: one an episode
        self._waiting, self._waiting_bytes, self._data_file = [], 0, self._data_file + 1

    def close(self) -> int:
        """Write the rest; returns how many episodes there are."""
        import pyarrow as pa
        import pyarrow.parquet as parquet

        if not self._index:
            raise OpenGatoError("there are no episodes to write: the source is empty")
        if self._waiting:
            self._write_data()
        for video in self._videos.values():
            video.close()
        meta = self._root / "meta"
        (meta / "episodes" / "chunk-000").mkdir(parents=True)
        parquet.write_table(pa.Table.from_pylist(self._index), meta / "episodes" / "chunk-000" / "file-000.parquet")
        # LeRobot reads it by pandas, with the texts as its index.
        tasks = pa.table({"task_index": list(self._texts.values()), "task": list(self._texts)})
        described = {"task_index": ("int64", "int64"), "task": ("unicode", "object")}
        columns = [{"name": n, "field_name": n, "pandas_type": p, "numpy_type": t, "metadata": None} for n, (p, t) in described.items()]
        about = {"index_columns": ["task"], "columns": columns, "column_indexes": [], "pandas_version": "2.2.0"}
        parquet.write_table(tasks.replace_schema_metadata({"pandas": json.dumps(about)}), meta / "tasks.parquet")
        info = {
            "codebase_version": "v3.0",
            "robot_type": None,
            "total_episodes": len(self._index),
            "total_frames": self._timesteps,
            "total_tasks": len(self._texts),
            "chunks_size": _CHUNK,
            "data_files_size_in_mb": _DATA_BYTES // 2**20,
            "video_files_size_in_mb": _VIDEO_BYTES // 2**20,
            "fps": int(self._rate) if self._rate == int(self._rate) else self._rate,
            "splits": {"train": f"0:{len(self._index)}"},
            "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
            "video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4" if self._videos else None,
            "features": self._features,
        }
        fields = {
            side: {path: name for path, (name, _) in fields.items()}
            for side, fields in (("observation", self._seen), ("action", self._done))
        }
        for path, content in (
            (meta / "info.json", info),
            (meta / "stats.json", {name: tally.result() for name, tally in self._tallies.items()}),
            (self._root / SIDECAR, {"task": self._task, **self._spaces, "fields": fields, "episodes": self._notes}),
        ):
            path.write_text(json.dumps(content, indent=1, ensure_ascii=False))
        return len(self._index)


class _Videos:
    """One feature's video files, each of many episodes."""

    def __init__(self, root: Path, name: str, feature: dict[str, Any], rate: float):
        self._root, self._name, self._rate = root, name, rate
        self._size = feature["shape"][0], feature["shape"][1]
        feature["info"] = {
            "video.height": self._size[0],
            "video.width": self._size[1],
            "video.codec": "h264",
            "video.pix_fmt": "yuv420p",
            "video.is_depth_map": False,
            "video.fps": rate,
            "video.channels": 3,
            "has_audio": False,
        }
        self._number, self._writer = -1, None  # type: int, VideoWriter | None
        self._path = root

    def add(self, frames: np.ndarray) -> dict[str, Any]:
        """The frames of an episode; returns where they are, as the index has it."""
        if self._writer is None or (self._path.is_file() and self._path.stat().st_size >= _VIDEO_BYTES):
            self.close()
            self._number += 1
            self._path = self._root / "videos" / self._name / _place("chunk-{:03d}/file-{:03d}.mp4", self._number)
            self._writer = VideoWriter(self._path, self._rate, self._size)
        begins = self._writer.frames / self._rate
        for frame in frames:
            self._writer.add(frame)
        return {
            f"videos/{self._name}/chunk_index": self._number // _CHUNK,
            f"videos/{self._name}/file_index": self._number % _CHUNK,
            f"videos/{self._name}/from_timestamp": begins,
            f"videos/{self._name}/to_timestamp": self._writer.frames / self._rate,
        }

    def close(self) -> None:
        """Finish the file that is open, if one is."""
        if self._writer is not None:
            self._writer.close()


class _Tally:
    """The statistics that LeRobot keeps of a feature; pictures' are of values between 0 and 1, by channel."""

    def __init__(self, feature: dict[str, Any]):
        self._is_picture = feature["dtype"] in ("image", "video")
        self._counts = np.zeros((feature["shape"][-1], 256), np.int64)
        self._parts: list[np.ndarray] = []
        self._frames = 0

    def add(self, values: np.ndarray) -> None:
        """Of an episode, (T, …)."""
        self._frames += len(values)
        if self._is_picture:
            for channel in range(len(self._counts)):
                self._counts[channel] += np.bincount(values[..., channel].ravel(), minlength=256)
        else:
            self._parts.append(values.reshape(len(values), -1))

    def result(self) -> dict[str, Any]:
        """As LeRobot writes it."""
        if not self._is_picture:
            values = np.concatenate(self._parts).astype(np.float64)
            found = {"min": values.min(0), "max": values.max(0), "mean": values.mean(0), "std": values.std(0)}
            found |= {name: np.quantile(values, share, axis=0) for name, share in _QUANTILES.items()}
            return {**{name: value.tolist() for name, value in found.items()}, "count": [self._frames]}
        levels, share = np.arange(256) / 255, self._counts / self._counts.sum(1, keepdims=True)
        mean, below = share @ levels, share.cumsum(1)
        found = {"min": levels[(share > 0).argmax(1)], "max": levels[255 - (share[:, ::-1] > 0).argmax(1)], "mean": mean}
        found["std"] = np.sqrt(np.maximum(share @ levels**2 - mean**2, 0))
        found |= {name: levels[(below >= wanted).argmax(1)] for name, wanted in _QUANTILES.items()}
        return {**{name: value.reshape(-1, 1, 1).tolist() for name, value in found.items()}, "count": [self._frames]}


def _scalar(dtype: str) -> dict[str, Any]:
    return {"dtype": dtype, "shape": [1], "names": None}


def _place(pattern: str, number: int) -> str:
    return pattern.format(number // _CHUNK, number % _CHUNK)


def _column(values: Any, feature: dict[str, Any]) -> Any:
    """A feature of an episode as a column."""
    import pyarrow as pa

    if feature["dtype"] == "string":
        return pa.array(values, pa.string())
    if feature["dtype"] == "image":
        kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
        return pa.array([{"bytes": _png(frame), "path": f"frame-{t:06d}.png"} for t, frame in enumerate(values)], kind)
    flat = pa.array(np.ascontiguousarray(values).reshape(-1).astype(feature["dtype"]))
    if feature["shape"] == [1]:
        return flat
    for size in reversed(feature["shape"]):
        flat = pa.FixedSizeListArray.from_arrays(flat, size)
    return flat


def _png(frame: np.ndarray) -> bytes:
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(frame if frame.shape[2] == 3 else frame[..., 0]).save(out, "PNG")
    return out.getvalue()
