"""The token store at the size of hundreds of tasks: what it takes on disk, in memory, in open files, and until a run starts.

    python benchmarks/store.py [files sizes recordings start captions build] [--data FOLDER] [--captions 300000] [--json FILE]

Each part runs in a process of its own:

* files: 600 datasets, tokenised, opened and drawn from by a process that may have 256 files open.
* sizes: bytes a timestep of games, 80×64 as Gato's agent sees them and 84×84 grey, beside PNG of the same frames; that they are lossless.
* recordings: bytes of 1,000 timesteps of games as Minari writes them, and recompressed without loss; what codecs take for a frame.
* start: from nothing but imports to the first batch of a run over 10⁹ tokens in 600 tasks: seconds, and memory of the process's own.
* captions: pictures of 64 px, all different (the shipped emoji, shifted and recoloured), tokenised: seconds, bytes, peak of memory.
* build: Meta-World's 50 tasks × 100 episodes (`opengato collect metaworld --episodes 100 --noise 0.15 --out FOLDER`) on all cores.
"""

from __future__ import annotations

import argparse
import colorsys
import io
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from gymnasium import spaces

from opengato.datasets.captions import ACTION_SPACE as CAPTION
from opengato.datasets.captions import OBSERVATION_SPACE as PICTURE
from opengato.datasets.captions import emoji, to_episode
from opengato.datasets.dataset import Stream
from opengato.datasets.store import TokenDataset
from opengato.datasets.tokenise import stored, tokenise
from opengato.episode import Episode
from opengato.mixture import Mixture, Sampling
from opengato.model.batch import collate
from opengato.model.config import preset
from opengato.tokens.spaces import text_space
from opengato.tokens.text import TextTokenizer


def generated(task: str, observation_space: spaces.Space, action_space: spaces.Space, read: Callable[[], Iterator[Episode]]) -> Stream:
    """A dataset of episodes that are made while they are read."""
    return Stream(f"generated {task}", task, observation_space, action_space, "generated", read)


def vectors(number: int, episodes: int) -> Stream:
    """39 numbers seen and 4 done, as in Meta-World: 44 tokens a timestep, 200 timesteps an episode."""
    task = f"vectors/{number}"

    def make() -> Iterator[Episode]:
        rng = np.random.default_rng(number)
        for _ in range(episodes):
            seen = rng.normal(size=(200, 39)).astype(np.float32)
            yield Episode(seen, rng.uniform(-1, 1, (200, 4)).astype(np.float32), np.ones(200, np.float32), task)

    return generated(task, spaces.Box(-np.inf, np.inf, (39,)), spaces.Box(-1, 1, (4,)), make)


def grids(number: int, episodes: int) -> Stream:
    """147 symbols and an instruction, as in BabyAI, 20 timesteps an episode."""
    task, words = (
        f"grids/{number}",
        "go to the red green blue grey ball box key door on your left then open".split(),
    )

    def make() -> Iterator[Episode]:
        rng = np.random.default_rng(number)
        for _ in range(episodes):
            mission = " ".join(rng.choice(words, rng.integers(4, 12)))
            seen = {"image": rng.integers(0, 11, (20, 7, 7, 3)), "mission": [mission] * 20}
            yield Episode(seen, rng.integers(0, 7, 20), np.ones(20, np.float32), task)

    seen = spaces.Dict(image=spaces.MultiDiscrete(np.full((7, 7, 3), 11)), mission=text_space())
    return generated(task, seen, spaces.Discrete(7), make)


def own_memory() -> float:
    """MiB of private dirty pages."""
    return sum(int(n) for n in re.findall(r"Private_Dirty:\s+(\d+)", Path("/proc/self/smaps_rollup").read_text())) / 1024


def first_batch(datasets: list[TokenDataset]) -> None:
    """What a run does before its first step."""
    config = preset("swift-tiny")
    mixture = Mixture(datasets, {d.domain: 1.0 for d in datasets}, config.context, config.fold, 0, Sampling())
    collate([mixture.sequence(n) for n in range(16)], config)


def files(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
    tokenizer = TextTokenizer.load()
    made = [vectors(n, 2) if n % 2 else grids(n, 4) for n in range(600)]
    begun = time.perf_counter()
    for dataset in made:
        tokenise(dataset, tokenizer, folder)
    built = time.perf_counter() - begun
    datasets = [data for dataset in made if (data := stored(dataset, tokenizer, folder)) is not None]
    for data in datasets:
        data.gather(np.arange(10))
    first_batch(datasets)
    return {"datasets": len(datasets), "limit": 256, "open": len(os.listdir("/proc/self/fd")), "tokenised_s": built}


def game_frames(name: str, count: int) -> np.ndarray:
    from opengato.domains import get_task

    env = get_task(name).make()
    observation, _ = env.reset(seed=0)
    rng, frames = np.random.default_rng(0), []
    while len(frames) < count:
        frames.append(np.array(observation))
        observation, _, terminated, truncated, _ = env.step(int(rng.integers(env.action_space.n)))
        if terminated or truncated:
            observation, _ = env.reset()
    return np.stack(frames)


def sizes(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    from PIL import Image

    from opengato.domains import tasks

    tokenizer, rng, rows = TextTokenizer.load(), np.random.default_rng(0), {}
    for name in (task for task in tasks() if task.startswith("atari/")):
        colour = game_frames(name, 2_000)
        grey = np.stack([np.asarray(Image.fromarray(frame).convert("L").resize((84, 84)))[..., None] for frame in colour])
        row = {}
        for kind, frames in (("80x64", colour), ("84x84_grey", grey)):
            task, space, png = f"{kind}/{name.split('/')[1]}", spaces.Box(0, 255, frames.shape[1:], np.uint8), 0
            acted, zeros = rng.integers(0, 18, len(frames)), np.zeros(len(frames), np.float32)
            made = [Episode(frames[a : a + 500], acted[a : a + 500], zeros[a : a + 500], task) for a in range(0, len(frames), 500)]
            before = bytes_of(folder)
            data = tokenise(generated(task, space, spaces.Discrete(18), lambda made=made: iter(made)), tokenizer, folder)
            for frame in frames:
                Image.fromarray(frame.squeeze()).save(buffer := io.BytesIO(), "PNG")
                png += len(buffer.getvalue())
            every = np.arange(len(frames))
            row[kind] = {
                "bytes_a_timestep": (bytes_of(folder) - before) / len(frames),
                "png_bytes_a_frame": png / len(frames),
                "different": float(len({frame.tobytes() for frame in frames}) / len(frames)),
                "lossless": bool((data.frames(every)[0] == frames).all()),
            }
        rows[name] = row
    return rows


def recordings(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    import pyarrow as pa

    from opengato.datasets import minari
    from opengato.domains import get_task

    codecs = {"lz4": pa.Codec("lz4_raw", compression_level=9), "zstd": pa.Codec("zstd", compression_level=3)}
    rows = {}
    for name in ("atari/freeway", "atari/pong", "atari/yars-revenge"):
        task, frames = get_task(name), game_frames(name, 1_001)
        made = Episode(frames[:-1], np.zeros(1_000, np.int64), np.zeros(1_000, np.float32), name)
        sizes = {}
        for label, compresses in (("as_minari_writes", False), ("recompressed", True)):
            with patch.object(minari, "recompress", minari.recompress if compresses else lambda path: None):
                minari.write_minari(task, folder / label / name, iter([(made, frames)]))
            sizes[label] = (folder / label / name / "data" / "main_data.hdf5").stat().st_size
        assert (minari.load_minari(folder / "recompressed" / name)[0].observations == made.observations).all()
        read = {}
        for codec, tool in codecs.items():
            blobs = [tool.compress(np.ascontiguousarray(frame).data.cast("B"), asbytes=True) for frame in frames]
            begun = time.perf_counter()
            for blob in blobs:
                tool.decompress(blob, decompressed_size=frames[0].nbytes)
            read[codec] = {"bytes": float(np.mean([len(b) for b in blobs])), "read_us": (time.perf_counter() - begun) / len(blobs) * 1e6}
        rows[name] = {"bytes": sizes, "frame": read}
    return rows


def bytes_of(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def start(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Tokenise in this process, start in another."""
    tokenizer, tokens = TextTokenizer.load(), 0
    begun = time.perf_counter()
    for number in range(600):
        data = tokenise(dataset_of_run(number), tokenizer, folder)
        tokens += data.sizes[data.timesteps]
    built = time.perf_counter() - begun
    code = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import store; store.started({str(folder)!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {"tokens": tokens, "tokenised_s": built, "bytes": bytes_of(folder), **json.loads(done.stdout)}


def dataset_of_run(number: int) -> Stream:
    return vectors(number, 190) if number % 3 else grids(number, 530)


def started(folder: str) -> None:
    tokenizer = TextTokenizer.load()
    before, begun = own_memory(), time.perf_counter()
    datasets = [data for n in range(600) if (data := stored(dataset_of_run(n), tokenizer, Path(folder))) is not None]
    opened = time.perf_counter() - begun
    first_batch(datasets)
    print(
        json.dumps({"tasks": len(datasets), "opened_s": opened, "first_batch_s": time.perf_counter() - begun, "mib": own_memory() - before})
    )


def captions(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    count, known = arguments.captions, [(image, name) for image, name, _ in emoji("all")]

    def make() -> Iterator[Episode]:
        rng = np.random.default_rng(0)
        for number in range(count):
            image, name = known[number % len(known)]
            matrix = np.array([[colorsys.hsv_to_rgb(h, 1, 1) for h in (0.0, 1 / 3, 2 / 3)]])[0]
            gain = rng.uniform(0.6, 1.0, 3)
            image = np.roll(image, rng.integers(-8, 9, 2), (0, 1))
            yield to_episode((image @ (matrix * gain)).astype(np.uint8)[None], f"{name}, number {number}", "captions/many")

    tokenizer, before = TextTokenizer.load(), own_memory()
    begun = time.perf_counter()
    for _ in zip(make(), range(2000)):
        pass
    making = (time.perf_counter() - begun) / 2000 * count
    begun = time.perf_counter()
    data = tokenise(generated("captions/many", PICTURE, CAPTION, make), tokenizer, folder)
    seconds = time.perf_counter() - begun - making
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    found = {"captions": len(data), "seconds": seconds, "peak_mib": peak, "before_mib": before, "bytes_a_caption": bytes_of(folder) / count}
    million = {"seconds": seconds * 1e6 / count, "bytes": bytes_of(folder) * 1e6 / count}
    return {**found, "a_million": million}


def build(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    from opengato.collection import dataset_id
    from opengato.datasets.open import open_datasets
    from opengato.domains import tasks

    names = [dataset_id(task) for task in tasks().values() if task.domain == "metaworld"]
    tokenizer = TextTokenizer.load()
    begun = time.perf_counter()
    datasets = open_datasets(names, tokenizer, arguments.data, folder)
    built = time.perf_counter() - begun
    begun = time.perf_counter()
    open_datasets(names, tokenizer, arguments.data, folder)
    opened = time.perf_counter() - begun
    counts = {"tasks": len(datasets), "episodes": sum(map(len, datasets)), "timesteps": sum(d.timesteps for d in datasets)}
    return {**counts, "tokenised_s": built, "opened_again_s": opened, "cores": os.cpu_count()}


PARTS = {part.__name__: part for part in (files, sizes, recordings, start, captions, build)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], default=[])
    parser.add_argument("--data", type=Path, default=Path("runs/store/data"))
    parser.add_argument("--captions", type=int, default=300_000)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.here:
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(PARTS[arguments.parts[0]](Path(folder), arguments)))
        return
    results = json.loads(arguments.json.read_text()) if arguments.json and arguments.json.is_file() else {}
    for part in arguments.parts or PARTS:
        options = ["--here", "--data", str(arguments.data), "--captions", str(arguments.captions)]
        done = subprocess.run([sys.executable, __file__, part, *options], stdout=subprocess.PIPE, text=True, check=True)
        results[part] = json.loads(done.stdout.splitlines()[-1])
        print(part, json.dumps(results[part], indent=1), flush=True)
        if arguments.json:
            arguments.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
