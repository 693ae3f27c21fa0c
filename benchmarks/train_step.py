"""How much of a training step is matrix products: timesteps a second, and the step against its own floor.

    python benchmarks/train_step.py gato-79m swift-tiny swift-small [--seconds 30] [--compile] [--json]

The floor is measured on the same machine in the same run: every matrix product that a step executes (forward, backward, optimiser) is
recorded with its shapes and dtype, and those products alone are then run on random matrices. `share` is the time of the products over
the time of the whole step, which also has to make the batch, embed, normalise, attend, take the loss and update.

With --compile every preset is measured twice, as it is and with its blocks compiled. `first s` is the time of the first two steps, which
contain the compiling, and `losses` how far the compiled run's losses are from the other's, at most, over the steps that both made.

Data: episodes of two BabyAI levels and two Meta-World tasks, collected first (half a minute). Every preset trains on sequences of its own
context, as many as hold about 4,096 positions, with its own optimiser; the first two steps are not timed.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from opengato.collection import collect, dataset_id
from opengato.datasets.open import open_dataset
from opengato.domains import get_task
from opengato.mixture import Mixture
from opengato.model.config import preset
from opengato.tokens.text import TextTokenizer
from opengato.training.loop import TrainConfig, Trainer
from opengato.training.optimiser import PAPER, SWIFT
from opengato.training.train import make_model

TASKS = ("babyai/go-to-local", "babyai/pickup-loc", "metaworld/reach", "metaworld/drawer-close")
PRODUCTS = {
    torch.ops.aten.mm.default: (0, 1),
    torch.ops.aten.addmm.default: (1, 2),
    torch.ops.aten.bmm.default: (0, 1),
    torch.ops.aten.baddbmm.default: (1, 2),
}


class Products(TorchDispatchMode):
    """Counts the matrix products that run inside, by shapes and dtype."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: Counter[tuple[tuple[int, ...], tuple[int, ...], torch.dtype]] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in PRODUCTS:
            a, b = (args[i] for i in PRODUCTS[func])
            self.seen[tuple(a.shape), tuple(b.shape), a.dtype] += 1
        return func(*args, **(kwargs or {}))

    def flops(self) -> int:
        """Multiplications and additions."""
        return sum(2 * torch.Size(a).numel() * b[-1] * n for (a, b, _), n in self.seen.items())

    def seconds(self, device: torch.device, least: float = 0.02) -> float:
        """The time of these products alone."""
        total = 0.0
        for (a, b, dtype), count in self.seen.items():
            left, right = torch.randn(a, device=device).to(dtype), torch.randn(b, device=device).to(dtype)
            torch.matmul(left, right)
            runs, started = 0, now(device)
            while runs < 3 or now(device) - started < least:
                torch.matmul(left, right)
                runs += 1
            total += count * (now(device) - started) / runs
        return total


def now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def measure(name: str, datasets: list, seconds: float, folder: Path, compiled: bool) -> dict:
    """Train one preset for about `seconds`, and time its products."""
    config = preset(name)
    mixture = Mixture(datasets, {"babyai": 1.0, "metaworld": 1.0}, config.context, config.fold, seed=0)
    optimiser = PAPER if config.family == "gato" else SWIFT
    training = TrainConfig(steps=10_000, batch=max(1, 4096 // config.context), optimiser=optimiser, compile=compiled)
    trainer = Trainer(make_model(config, 0), mixture, training, folder / f"{name}-{compiled}")
    trainer.model.train()
    device = trainer.ranks.device
    started = now(device)
    losses = [trainer.train_step(trainer.batch(k)).loss for k in range(2)]
    first = now(device) - started
    with Products() as products:
        losses.append(trainer.train_step(trainer.batch(2)).loss)
    timesteps, positions, steps = 0, 0, 0
    started = now(device)
    while now(device) - started < seconds or not steps:
        done = trainer.train_step(trainer.batch(3 + steps))
        timesteps, positions, steps = timesteps + done.tally.timesteps, positions + done.tally.positions, steps + 1
        losses.append(done.loss)
    spent = now(device) - started
    floor = products.seconds(device)
    return {
        "preset": name,
        "compiled": compiled,
        "first_s": first,
        "losses": losses,
        "parameters": trainer.model.parameter_count(),
        "timesteps_per_s": timesteps / spent,
        "positions_per_s": positions / spent,
        "step_s": spent / steps,
        "products_s": floor,
        "share": floor / (spent / steps),
        "gflops_per_s": products.flops() / (spent / steps) / 1e9,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu, {torch.get_num_threads()} threads",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("presets", nargs="+")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        episodes = {t: 100 if t.startswith("babyai") else 10 for t in TASKS}
        collect([get_task(t) for t in TASKS], episodes, root / "data", progress=not arguments.json)
        tokenizer = TextTokenizer.load()
        datasets = [open_dataset(dataset_id(get_task(t)), tokenizer, root / "data", root / "cache") for t in TASKS]
        compiled = [False, True] if arguments.compile else [False]
        rows = [measure(name, datasets, arguments.seconds, root, c) for name in arguments.presets for c in compiled]
    if arguments.json:
        print(json.dumps(rows, indent=1))
        return
    print(
        f"{'preset':14}{'parameters':>14}{'timesteps/s':>14}{'positions/s':>14}{'s/step':>10}{'products s':>12}{'share':>8}{'GFLOP/s':>10}"
        f"{'first s':>10}{'losses':>10}"
    )
    for number, r in enumerate(rows):
        apart = f"{max(abs(a - b) for a, b in zip(r['losses'], rows[number - 1]['losses'])):10.4f}" if r["compiled"] else ""
        print(
            f"{r['preset']:14}{r['parameters']:14,}{r['timesteps_per_s']:14,.1f}{r['positions_per_s']:14,.0f}{r['step_s']:10.2f}"
            f"{r['products_s']:12.2f}{r['share']:8.0%}{r['gflops_per_s']:10.0f}{r['first_s']:10.1f}{apart}"
        )
    print(rows[0]["device"])


if __name__ == "__main__":
    main()
