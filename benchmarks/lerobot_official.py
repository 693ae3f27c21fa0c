"""How many training samples a second LeRobot's own loader draws; `lerobot_loader.py` runs this with a Python that has LeRobot.

    PYTHON benchmarks/lerobot_official.py FOLDER [--seconds 20] [--batch 32] [--backend pyav]

`LeRobotDataset` and PyTorch's `DataLoader` as `lerobot-train` has them (shuffled, pictures as bytes), of single timesteps, in this process
alone.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import lerobot
import torch
from lerobot.datasets.lerobot_dataset import LeRobotDataset


def measure(folder: Path, seconds: float, batch: int, backend: str | None) -> dict:
    dataset = LeRobotDataset("bench/camera", root=folder, video_backend=backend, return_uint8=True)
    loader = torch.utils.data.DataLoader(dataset, batch_size=batch, shuffle=True, num_workers=0)
    coming = iter(loader)
    picture = next(coming)["observation.images.front"]  # files are open now
    samples, began, used = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() < began + seconds:
        found = next(coming, None)
        if found is None:
            coming = iter(loader)
        else:
            samples += len(found["action"])
    wall, cpu = time.perf_counter() - began, time.process_time() - used
    return {
        "loader": f"lerobot {lerobot.__version__}, {backend or dataset._video_backend}",
        "picture": [*picture.shape[2:], picture.shape[1]],
        "samples_a_second": samples / wall,
        "samples_a_cpu_second": samples / cpu,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--backend", choices=["torchcodec", "pyav"])
    arguments = parser.parse_args()
    print(json.dumps(measure(arguments.folder, arguments.seconds, arguments.batch, arguments.backend)))
