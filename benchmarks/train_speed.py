"""Timesteps a second in training, for several presets in one run, on real demonstrations.

    python benchmarks/train_speed.py gato-79m swift-tiny [--seconds 30] [--json]

Data: a few episodes of two BabyAI levels and two Meta-World tasks, collected first (about ten seconds).
Every preset trains on sequences of its
own context, as many as hold about 4,096 positions, with its own optimiser; the first two steps are not timed.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import torch

from opengato.collect import collect, dataset_id
from opengato.datasets.open import open_dataset
from opengato.domains import get_task
from opengato.mixture import Mixture
from opengato.model.config import preset
from opengato.tokens.text import TextTokenizer
from opengato.training.loop import TrainConfig, Trainer
from opengato.training.optimiser import PAPER, SWIFT
from opengato.training.train import make_model

TASKS = ("babyai/go-to-local", "babyai/pickup-loc", "metaworld/reach", "metaworld/drawer-close")


def measure(name: str, datasets: list, seconds: float, folder: Path) -> dict:
    """Train one preset for about `seconds` and count."""
    config = preset(name)
    mixture = Mixture(datasets, {"babyai": 1.0, "metaworld": 1.0}, config.context, config.fold, seed=0)
    batch = max(1, 4096 // config.context)
    trainer = Trainer(
        make_model(config, 0),
        mixture,
        TrainConfig(steps=10_000, batch=batch, optimiser=PAPER if config.family == "gato" else SWIFT),
        folder / name,
    )
    trainer.model.train()
    for k in range(2):
        trainer.train_step(trainer.batch(k))
    started, timesteps, positions, steps = time.perf_counter(), 0, 0, 0
    while time.perf_counter() - started < seconds:
        data = trainer.batch(2 + steps)
        trainer.train_step(data)
        timesteps, positions, steps = timesteps + data.timesteps, positions + int((data.segments >= 0).sum()), steps + 1
    spent = time.perf_counter() - started
    return {
        "preset": name,
        "parameters": trainer.model.parameter_count(),
        "timesteps_per_s": timesteps / spent,
        "positions_per_s": positions / spent,
        "seconds_per_step": spent / steps,
        "device": str(trainer.device),
        "threads": torch.get_num_threads(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("presets", nargs="+")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        collect(
            [get_task(t) for t in TASKS],
            {t: 100 if t.startswith("babyai") else 10 for t in TASKS},
            root / "data",
            progress=not arguments.json,
        )
        tokenizer = TextTokenizer.load()
        datasets = [open_dataset(dataset_id(get_task(t)), tokenizer, root / "data", root / "cache") for t in TASKS]
        rows = [measure(name, datasets, arguments.seconds, root) for name in arguments.presets]
    if arguments.json:
        print(json.dumps(rows, indent=1))
        return
    for row in rows:
        print(
            f"{row['preset']:12} {row['timesteps_per_s']:10,.0f} timesteps/s {row['positions_per_s']:10,.0f} positions/s "
            f"{row['seconds_per_step']:8.3f} s a step   {row['device']}, {row['threads']} threads"
        )


if __name__ == "__main__":
    main()
