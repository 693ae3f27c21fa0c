"""How many training samples a second the loader takes from a LeRobot video, beside LeRobot's own loader.

    python benchmarks/lerobot_loader.py --official PYTHON [FOLDER] [--key-frames 2 --crf 30] [--seconds 20] [--turns 3]

PYTHON is of an environment with `pip install "lerobot[dataset]"` (CPython 3.12). Both read one LeRobotDataset of a camera, 240×320 in
H.264, and 14 joints: FOLDER, or one that is made, by default with as many key frames and the CRF of LeRobot's own recorder (which writes
AV1). With `--key-frames 10 --crf 12`, as `opengato data convert` writes it, a sensor's noise is kept, and a frame that is drawn alone takes
more decoding.

Ours is the road of `opengato train`: tokenised once (`once`, with what this takes), then sequences of the mixture collated by the trainer's
loader in a thread, in batches of the preset's recipe. `single` draws single timesteps from all over the data, as the other loader does,
`long` windows of as many in a row as the context has room for; neither draws prompts. A sample is a timestep that is in the batch with its
whole picture: nothing is scaled down, here or there. All run one after the other, in turns, in one thread each, on the cores that this
process may use (`taskset -c 0` for one).

`ratio` is of each turn's samples a second to the official loader's in the same turn, and of a CPU second's, for a core that other work
shares. `pays_after` is how many passes over the data make up for tokenising it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from statistics import median
from unittest.mock import patch

import numpy as np
import torch
from gymnasium import spaces

from opengato.datasets.lerobot_writer import write_lerobot
from opengato.datasets.open import open_dataset
from opengato.datasets.store import TokenDataset
from opengato.datasets.video import VideoWriter
from opengato.episode import Episode
from opengato.mixture import Mixture, Sampling
from opengato.model.batch import collate
from opengato.model.config import preset
from opengato.recipes import RECIPES
from opengato.tokens.image import patch_grid
from opengato.tokens.text import TextTokenizer
from opengato.training.loader import load

JOINTS, LENGTH, SIZE, RATE = 14, 400, (240, 320), 50
WINDOWS = {"single": Sampling(prompt_share=0.0, short_share=1.0), "long": Sampling(prompt_share=0.0)}


def scene(way: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What a camera sees of joints (T, JOINTS) on their way: discs that move with them before uneven colours, with a sensor's noise."""
    rows, columns = np.indices(SIZE)
    wall = np.kron(rng.integers(40, 200, (SIZE[0] // 20, SIZE[1] // 20, 3)), np.ones((20, 20, 1))) + rng.normal(0, 8, (*SIZE, 3))
    noise = rng.normal(0, 4, (4, *SIZE, 3)).astype(np.int16)
    colours = rng.integers(0, 256, (3, 3))
    pictures = np.empty((len(way), *SIZE, 3), np.uint8)
    for t, joints in enumerate(way):
        picture = wall.astype(np.int16)
        for disc, colour in enumerate(colours):
            row, column = np.array(SIZE) * (0.5 + 0.4 * np.sin(joints[2 * disc : 2 * disc + 2]))
            picture[(rows - row) ** 2 + (columns - column) ** 2 < 30**2] = colour
        picture += np.roll(noise[rng.integers(len(noise))], tuple(rng.integers(SIZE)), (0, 1))
        pictures[t] = np.clip(picture, 0, 255)
    return pictures


def made(timesteps: int) -> Iterator[Episode]:
    for seed in range(timesteps // LENGTH):
        rng = np.random.default_rng(seed)
        way = np.cumsum(rng.normal(0, 0.02, (LENGTH + 1, JOINTS)), 0).astype(np.float32)
        seen = {"state": way[:-1], "images": {"front": scene(way[:-1], rng)}}
        yield Episode(seen, np.clip(way[1:], -1, 1), np.zeros(LENGTH, np.float32), "bench/camera")


def make(folder: Path, timesteps: int, key_frames: int, crf: int) -> None:
    class Recorder(VideoWriter):
        def __init__(self, *arguments: object):
            super().__init__(*arguments)  # type: ignore[arg-type]
            self._stream.codec_context.options = {"crf": str(crf), "g": str(key_frames)}

    front = spaces.Box(0, 255, (*SIZE, 3), np.uint8)
    seen = spaces.Dict(state=spaces.Box(-np.inf, np.inf, (JOINTS,), np.float32), images=spaces.Dict(front=front))
    with patch("opengato.datasets.lerobot_writer.VideoWriter", Recorder):
        write_lerobot(folder, made(timesteps), "bench/camera", seen, spaces.Box(-1, 1, (JOINTS,), np.float32), RATE, True)
    (folder / "meta" / "opengato.json").unlink()  # as if another program had recorded it


def once(folder: Path, cache: Path) -> tuple[TokenDataset, dict]:
    """The dataset in the store, and what it took to bring it there."""
    tokenizer = TextTokenizer.load()
    began, used = time.perf_counter(), time.process_time()
    data = open_dataset(f"lerobot:{folder}", tokenizer)
    seconds, cpu = time.perf_counter() - began, time.process_time() - used
    return data, {
        "loader": "once",
        "frames": data.timesteps,
        "seconds": round(seconds, 1),
        "frames_a_second": data.timesteps / seconds,
        "frames_a_cpu_second": data.timesteps / cpu,
        "stored_bytes_a_frame": size_of(cache) // data.timesteps,
        "video_bytes_a_frame": size_of(folder / "videos") // data.timesteps,
    }


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def ours(data: TokenDataset, name: str, windows: str, seconds: float) -> dict:
    config, count = preset(name), RECIPES[name].train.batch
    mixture = Mixture([data], {data.domain: 1.0}, config.context, config.fold, 0, WINDOWS[windows], chunk=config.chunk)
    picture = data.form.images[0].space.shape or ()
    patches = int(np.prod(patch_grid(*picture[:2])))
    with closing(
        load(lambda k: [collate([mixture.sequence(n) for n in range(count * k, count * (k + 1))], config)], 0, 10**9, 0)
    ) as coming:
        next(coming)
        samples, batches, began, used = 0, 0, time.perf_counter(), time.process_time()
        while time.perf_counter() < began + seconds:
            for batch in next(coming):
                if len(batch.patch_members) != batch.timesteps * patches:
                    raise SystemExit("a timestep lacks a part of its picture")
                samples, batches = samples + batch.timesteps, batches + 1
        wall, cpu = time.perf_counter() - began, time.process_time() - used
    return {
        "loader": windows,
        "picture": list(picture),
        "samples_a_batch": samples / batches,
        "samples_a_second": samples / wall,
        "samples_a_cpu_second": samples / cpu,
    }


def official(python: str, folder: Path, seconds: float, backend: str | None) -> dict:
    script = Path(__file__).with_name("lerobot_official.py")
    command = [python, str(script), str(folder), "--seconds", str(seconds), *(["--backend", backend] if backend else [])]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": ""}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{python} could not run {script.name}:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def ratios(rows: list[dict], first: dict, windows: str) -> dict:
    """Of each turn, this loader's samples to the official one's."""
    found: dict = {"ratio": windows}
    for per in ("samples_a_second", "samples_a_cpu_second"):
        mine = [row[per] for row in rows if row["loader"] == windows]
        theirs = [row[per] for row in rows if row["loader"].startswith("lerobot")]
        each = [a / b for a, b in zip(mine, theirs, strict=True)]
        found[per] = {"median": median(each), "least": min(each), "most": max(each)}
    # Of CPU seconds a sample: what tokenising takes, over what each pass saves.
    saved = 1 / median(theirs) - 1 / median(mine)
    found["pays_after"] = 1 / first["frames_a_cpu_second"] / saved if saved > 0 else None
    return found


def tell(row: dict) -> None:
    def rounded(value: object) -> object:
        if isinstance(value, dict):
            return {key: rounded(part) for key, part in value.items()}
        return float(f"{value:.3g}") if isinstance(value, float) and value < 100 else round(value) if isinstance(value, float) else value

    print(json.dumps(rounded(row)), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--official", required=True, metavar="PYTHON", help="of an environment with LeRobot")
    parser.add_argument("--backend", choices=["torchcodec", "pyav"], help="of LeRobot's videos; default: its own choice")
    parser.add_argument("--preset", default="swift-tiny", choices=sorted(RECIPES))
    parser.add_argument("--timesteps", type=int, default=4000)
    parser.add_argument("--key-frames", type=int, default=2, help="a key frame at every so many frames, of a dataset that is made")
    parser.add_argument("--crf", type=int, default=30, help="its quality: less is better")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each loader in each turn")
    parser.add_argument("--turns", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as root:
        if (folder := arguments.folder) is None:
            make(folder := Path(root) / "camera", arguments.timesteps, arguments.key_frames, arguments.crf)
        os.environ["OPENGATO_CACHE"] = str(cache := Path(root) / "cache")  # nothing of it is there already
        data, first = once(folder, cache)
        tell({"cores": len(os.sched_getaffinity(0)), "preset": arguments.preset} | first)
        rows = []
        for turn in range(arguments.turns):
            for row in (
                ours(data, arguments.preset, "single", arguments.seconds),
                official(arguments.official, folder, arguments.seconds, arguments.backend),
                ours(data, arguments.preset, "long", arguments.seconds),
            ):
                rows.append(row)
                tell({"turn": turn} | row)
    for windows in WINDOWS:
        tell(ratios(rows, first, windows))


if __name__ == "__main__":
    main()
