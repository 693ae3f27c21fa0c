"""How fast the mixture makes training sequences, how full they are, and that its memory stays flat.

    python benchmarks/loader.py [--presets gato-79m] [--sequences 100000] [--datasets 100] [--seconds 60] [--kinds vectors] [--workers 2]

Datasets of four kinds take turns: vectors (39 numbers, 4 actions), grids (147 symbols and an instruction), pictures (80×64) and text,
of generated content: only sizes matter here (the pictures are noise, which is read as it is). One thread, or `--workers` processes and a
thread that receives, make sequences and collate them in batches of 16, for the paper's form (1,024 tokens) and the folded one (512
positions). Memory is what the process holds of its own (private dirty pages): the token store is memory-mapped and shared, so that it does
not count, and does not grow with the number of datasets. `waiting` is the share of its time that a short training of each preset on all
datasets spends waiting for batches, which are made beside it.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
import time
from pathlib import Path

import numpy as np
from gymnasium import spaces

from opengato.datasets.dataset import Episodes
from opengato.datasets.store import TokenDataset
from opengato.datasets.tokenise import tokenise
from opengato.episode import Episode
from opengato.mixture import Mixture
from opengato.model.batch import collate
from opengato.model.config import ModelConfig, preset
from opengato.tokens.spaces import text_space
from opengato.tokens.text import TextTokenizer
from opengato.training.loader import load
from opengato.training.loop import TrainConfig, Trainer
from opengato.training.optimiser import PAPER, SWIFT
from opengato.training.train import make_model

KINDS = ("vectors", "grids", "pictures", "text")


def dataset(number: int, tokenizer: TextTokenizer, root: Path) -> TokenDataset:
    kind = KINDS[number % len(KINDS)]
    task, rng = f"{kind}/{number}", np.random.default_rng(number)

    def reward(steps: int) -> np.ndarray:
        return np.ones(steps, np.float32)

    if kind == "vectors":
        seen, done = spaces.Box(-np.inf, np.inf, (39,)), spaces.Box(-1, 1, (4,))
        episodes = [
            Episode(rng.normal(size=(200, 39)).astype(np.float32), rng.uniform(-1, 1, (200, 4)).astype(np.float32), reward(200), task)
            for _ in range(20)
        ]
    elif kind == "grids":
        seen, done = spaces.Dict(image=spaces.MultiDiscrete(np.full((7, 7, 3), 11)), mission=text_space()), spaces.Discrete(7)
        episodes = [
            Episode(
                {"image": rng.integers(0, 11, (20, 7, 7, 3)), "mission": ["go to the red ball"] * 20},
                rng.integers(0, 7, 20),
                reward(20),
                task,
            )
            for _ in range(100)
        ]
    elif kind == "pictures":
        seen, done = spaces.Box(0, 255, (80, 64, 3), np.uint8), spaces.Discrete(18)
        episodes = [
            Episode(rng.integers(0, 256, (100, 80, 64, 3), np.uint8), rng.integers(0, 18, 100), reward(100), task) for _ in range(5)
        ]
    else:
        seen, done = spaces.Dict({}), text_space()
        words = ["state", "of", "the", "union", "we", "have", "been", "and", "shall", "remain", "free"]
        episodes = [Episode({}, [" ".join(rng.choice(words, 700))], reward(1), task) for _ in range(20)]
    return tokenise(Episodes(task, seen, done, episodes, "1"), tokenizer, root)


def own_memory() -> float:
    """MiB of private dirty pages."""
    text = Path("/proc/self/smaps_rollup").read_text()
    return sum(int(n) for n in re.findall(r"Private_Dirty:\s+(\d+)", text)) / 1024


def measure(name: str, datasets: list[TokenDataset], sequences: int, workers: int) -> dict:
    config = preset(name)
    mixture = Mixture(datasets, dict.fromkeys({d.domain for d in datasets}, 1.0), config.context, config.fold, seed=0)
    if workers:
        return {
            "preset": name,
            "datasets": len(datasets),
            "workers": workers,
            "positions_per_s": by_processes(mixture, config, sequences, workers),
        }
    tokens = filled = positions = 0
    memory = []
    started = time.perf_counter()
    for first in range(0, sequences, 16):
        made = [mixture.sequence(n) for n in range(first, first + 16)]
        collate(made, config)
        for s in made:
            tokens, filled, positions = tokens + len(s.tokens), filled + int((s.segments >= 0).sum()), positions + len(s.segments)
        if (first // 16) % max(1, sequences // 160) == 0:
            memory.append(round(own_memory()))
    seconds = time.perf_counter() - started
    return {
        "preset": name,
        "datasets": len(datasets),
        "sequences": sequences,
        "tokens_per_s": tokens / seconds,
        "positions_per_s": positions / seconds,
        "padding": 1 - filled / positions,
        "memory_mib": memory,
    }


def by_processes(mixture: Mixture, config: ModelConfig, sequences: int, workers: int) -> float:
    """Positions/s, padding included, from the first batch that arrives on."""
    coming = load(lambda k: [collate([mixture.sequence(n) for n in range(16 * k, 16 * k + 16)], config)], 0, sequences // 16, workers)
    next(coming)
    started = time.perf_counter()
    batches = sum(1 for _ in coming)
    return batches * 16 * config.context / (time.perf_counter() - started)


def waiting(name: str, datasets: list[TokenDataset], seconds: float, workers: int, folder: Path) -> float:
    """The share of training that waits for data, after the first logged step."""
    config = preset(name)
    mixture = Mixture(datasets, dict.fromkeys({d.domain for d in datasets}, 1.0), config.context, config.fold, seed=0)
    optimiser = PAPER if config.family == "gato" else SWIFT
    batch = max(1, 4096 // config.context)
    training = TrainConfig(batch=batch, seconds=seconds, log_every=1, checkpoint_every=1e9, optimiser=optimiser, workers=workers)
    Trainer(make_model(config, 0), mixture, training, folder).run(show=False)
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()][1:]
    return float(np.average([r["waited"] for r in rows], weights=[1 / r["tokens_per_s"] for r in rows]))  # weighed by their time


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sequences", type=int, default=100_000)
    parser.add_argument("--datasets", type=int, default=100)
    parser.add_argument("--presets", nargs="+", default=["gato-79m", "swift-tiny"])
    parser.add_argument("--seconds", type=float, default=60.0, help="of training, to see how long it waits")
    parser.add_argument("--kinds", nargs="+", default=KINDS, choices=KINDS)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        tokenizer = TextTokenizer.load()
        datasets = [dataset(n, tokenizer, Path(folder)) for n in range(arguments.datasets) if KINDS[n % len(KINDS)] in arguments.kinds]
        few = datasets[: len(arguments.kinds)]
        rows, waits = [], {}
        for name in arguments.presets:
            for some in (few, datasets):
                rows.append(r := measure(name, some, arguments.sequences, arguments.workers))
                if arguments.workers and not arguments.json:
                    print(f"{name:12}{len(some):5} datasets {r['positions_per_s']:12,.0f} positions/s", flush=True)
                elif not arguments.json:
                    memory = " ".join(map(str, r["memory_mib"]))
                    print(
                        f"{name:12}{len(some):5} datasets {r['tokens_per_s']:12,.0f} tokens/s {r['positions_per_s']:12,.0f} positions/s "
                        f"padding {r['padding']:.2%}  own memory {memory} MiB",
                        flush=True,
                    )
            waits[name] = waiting(name, datasets, arguments.seconds, arguments.workers, Path(folder) / name)
            if not arguments.json:
                print(f"{name:12} waits for data {waits[name]:.2%} of training", flush=True)
    if arguments.json:
        print(json.dumps({"rows": rows, "waiting": waits}, indent=1))


if __name__ == "__main__":
    main()
