"""One run on five formats at once, and what it does in the simulators behind two of them.

    python benchmarks/five_formats.py [--seconds 180] [--episodes 20] [--folder runs/five-formats]

Experts' demonstrations of five tasks, each given away in a format of its own, as its users have them: Minari (BabyAI's go-to-obj),
LeRobotDataset 3.0 (Meta-World's window-close), D4RL's HDF5 (Meta-World's drawer-close), robomimic's HDF5 (DM Control's point mass), JAT's
parquet (DM Control's cart-pole). Three of them say nothing of spaces and bounds: `opengato train` infers them. The first two keep their
task's id, and are evaluated. The commands are printed as they are run.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet

from opengato.collection import dataset_id
from opengato.datasets.minari import load_minari
from opengato.domains import get_task
from opengato.episode import Episode, leaves


def numbers(episode: Episode) -> np.ndarray:
    """All that is observed, (T, C)."""
    return np.concatenate([np.reshape(leaf, (len(episode), -1)) for _, leaf in leaves(episode.observations)], 1)


def to_d4rl(episodes: list[Episode], path: Path) -> None:
    ends = np.concatenate([np.arange(len(e)) == len(e) - 1 for e in episodes])
    with h5py.File(path, "w") as file:
        file["observations"] = np.concatenate([numbers(e) for e in episodes]).astype(np.float32)
        file["actions"] = np.concatenate([e.actions for e in episodes])
        file["rewards"] = np.concatenate([e.rewards for e in episodes])
        file["terminals"], file["timeouts"] = np.zeros_like(ends), ends


def to_robomimic(episodes: list[Episode], path: Path) -> None:
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        data.attrs["env_args"] = json.dumps({"env_name": path.stem})
        for number, episode in enumerate(episodes):
            demo = data.create_group(f"demo_{number}")
            demo["actions"], demo["rewards"] = episode.actions, episode.rewards
            for name, leaf in leaves(episode.observations):
                demo[f"obs/{name}"] = leaf


def to_jat(episodes: list[Episode], path: Path) -> None:
    rows = {
        "continuous_observations": [numbers(e).astype(np.float32).tolist() for e in episodes],
        "continuous_actions": [np.asarray(e.actions, np.float32).tolist() for e in episodes],
        "rewards": [e.rewards.tolist() for e in episodes],
    }
    parquet.write_table(pa.table(rows), path)


# Task -> episodes, share of random actions, how it is written; None: the command line does.
SOURCES: dict[str, tuple[int, float, Callable[[list[Episode], Path], None] | None]] = {
    "babyai/go-to-obj": (600, 0.0, None),
    "metaworld/window-close": (60, 0.15, None),
    "metaworld/drawer-close": (60, 0.15, to_d4rl),
    "dm-control/point-mass-easy": (20, 0.2, to_robomimic),
    "dm-control/cartpole-balance": (12, 0.2, to_jat),
}
PLAYED = list(SOURCES)[:2]


def command(*arguments: object) -> None:
    words = [str(word) for word in arguments]
    print("opengato", *words, flush=True)
    subprocess.run([sys.executable, "-m", "opengato", *words], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=180.0)
    parser.add_argument("--episodes", type=int, default=20)
    parser.add_argument("--folder", type=Path, default=Path("runs/five-formats"))
    a = parser.parse_args()
    recorded = a.folder / "recorded"
    for task, (episodes, noise, _) in SOURCES.items():
        command("collect", task, "--episodes", episodes, "--noise", noise, "--out", recorded)
    lerobot = a.folder / "window_close"
    if not lerobot.exists():
        command("data", "convert", dataset_id(get_task(PLAYED[1])), lerobot, "--format", "lerobot", "--rate", 80, "--root", recorded)
    names = [dataset_id(get_task(PLAYED[0])), f"lerobot:{lerobot}"]
    for task, (_, _, write) in SOURCES.items():
        if write is not None:
            form, ending = write.__name__.removeprefix("to_"), "parquet" if write is to_jat else "hdf5"
            path = a.folder / f"{task.rpartition('/')[2]}.{ending}"
            write(list(load_minari(dataset_id(get_task(task)), recorded).episodes()), path)
            names.append(f"{form}:{path}")
    command("train", "swift-nano", "--data", *names, "--root", recorded, "--seconds", a.seconds, "--out", a.folder / "run")
    command("eval", a.folder / "run" / "checkpoint", "--tasks", *PLAYED, "--episodes", a.episodes, "--out", a.folder / "eval")


if __name__ == "__main__":
    main()
