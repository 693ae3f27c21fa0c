"""How long the survey of a million timesteps takes, and how fast frames of a LeRobot video are read.

    python benchmarks/formats.py survey            # a minute or so, 200 MB in a temporary folder
    python benchmarks/formats.py video [FOLDER]    # frames a second of a LeRobotDataset with videos; default: one that is made

`survey` writes a LeRobotDataset of 14 observed and 14 commanded joints, and a camera whose file is no video at all: that the survey ends
shows that none was decoded.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from gymnasium import spaces

from opengato.datasets.lerobot import load_lerobot
from opengato.datasets.lerobot_writer import write_lerobot
from opengato.datasets.survey import make
from opengato.datasets.video import Clip
from opengato.episode import Episode, leaves

JOINTS, LENGTH = 14, 400


def made(timesteps: int, size: tuple[int, int] | None) -> Iterator[Episode]:
    """Joints on smooth ways, with a camera of this size or without."""
    for seed in range(timesteps // LENGTH):
        rng = np.random.default_rng(seed)
        way = np.cumsum(rng.normal(0, 0.02, (LENGTH + 1, JOINTS)), 0).astype(np.float32)
        seen: dict = {"state": way[:-1]}
        if size:
            slope = np.add.outer(np.arange(size[0]), np.arange(size[1]))[None, :, :, None]
            seen["images"] = {"front": ((slope + 3 * np.arange(LENGTH)[:, None, None, None]) % 256 * np.ones(3)).astype(np.uint8)}
        yield Episode(seen, np.clip(way[1:], -1, 1), np.zeros(LENGTH, np.float32), "bench/joints")


def dataset(folder: Path, timesteps: int, size: tuple[int, int] | None) -> None:
    fields: dict = {"state": spaces.Box(-np.inf, np.inf, (JOINTS,), np.float32)}
    if size:
        fields["images"] = spaces.Dict(front=spaces.Box(0, 255, (*size, 3), np.uint8))
    write_lerobot(
        folder, made(timesteps, size), "bench/joints", spaces.Dict(fields), spaces.Box(-1, 1, (JOINTS,), np.float32), 50, bool(size)
    )
    (folder / "meta" / "opengato.json").unlink()  # so that its spaces are inferred


def with_a_camera_that_cannot_be_read(folder: Path) -> None:
    """A camera in the index, whose file is none."""
    import pyarrow as pa
    import pyarrow.parquet as parquet

    path = folder / "meta" / "info.json"
    info = json.loads(path.read_text())
    key = "observation.images.front"
    info["features"][key] = {"dtype": "video", "shape": [480, 640, 3], "names": ["height", "width", "channels"]}
    info["video_path"] = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
    path.write_text(json.dumps(info))
    index = folder / "meta" / "episodes" / "chunk-000" / "file-000.parquet"
    table = parquet.read_table(index)
    for name, value in (("chunk_index", 0), ("file_index", 0), ("from_timestamp", 0.0)):
        table = table.append_column(f"videos/{key}/{name}", pa.array([value] * len(table)))
    parquet.write_table(table, index)
    video = folder / "videos" / key / "chunk-000" / "file-000.mp4"
    video.parent.mkdir(parents=True)
    video.write_bytes(b"no video")


def survey(timesteps: int) -> None:
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root) / "joints"
        dataset(folder, timesteps, None)
        with_a_camera_that_cannot_be_read(folder)
        opened = load_lerobot(folder)
        began, used = time.perf_counter(), time.process_time()
        found = make(opened.episodes(), opened.source.observation_space, opened.source.action_space)
        print(
            json.dumps(
                {
                    "timesteps": found.timesteps,
                    "numbers": sum(len(column.low) for column in found.columns.values()),
                    "seconds": round(time.perf_counter() - began, 2),
                    "cpu_seconds": round(time.process_time() - used, 2),
                }
            )
        )


def video(folder: Path | None) -> None:
    with tempfile.TemporaryDirectory() as root:
        if folder is None:
            dataset(folder := Path(root) / "camera", 4 * LENGTH, (240, 320))
        frames, began, used = 0, time.perf_counter(), time.process_time()
        for episode in load_lerobot(folder).episodes():
            for _, leaf in leaves(episode.observations):
                frames += len(np.asarray(leaf)) if isinstance(leaf, Clip) else 0
        seconds, cpu = time.perf_counter() - began, time.process_time() - used
        print(json.dumps({"frames": frames, "frames_a_second": round(frames / seconds), "frames_a_cpu_second": round(frames / cpu)}))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["survey", "video"])
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--timesteps", type=int, default=1_000_000)
    arguments = parser.parse_args()
    survey(arguments.timesteps) if arguments.what == "survey" else video(arguments.folder)
