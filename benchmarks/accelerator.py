"""Training on a GPU: whether its losses are the processor's, what a step takes, what the loader lets through, both families in equal time.

    opengato tokenize DATA … --pack packed            # where the recordings are
    python benchmarks/accelerator.py packed/*.tokens [--parts agreement steps loop families] [--seconds 20] [--out FILE.json]

agreement: three steps of `swift-tiny` in float32 from the same weights on the same batches: loss and norm of the gradient on the processor,
on the GPU, and there with FlexAttention. steps: of batches that are made already, by preset, with and without compiled blocks; `first_s`
has the compiling. loop: the whole training with a process for each core but one. families: `gato-79m` with AdamW, `swift-d6` with Muon and
with AdamW, for so many seconds each, the rate falling to its end; the loss on episodes that are kept from training, by domain.

Weights of domains are those of the generalist. Without a GPU all of it runs on the processor.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from opengato.datasets.packed import open_packed
from opengato.datasets.store import TokenDataset
from opengato.generalist.plan import SHARES
from opengato.model.config import preset
from opengato.recipes import HELD_OUT, recipe
from opengato.tokens.text import TextTokenizer
from opengato.training.loop import Trainer
from opengato.training.train import make_model, make_trainer, weights_of_run

GPU = torch.cuda.is_available()
DEVICE = "cuda" if GPU else "cpu"
POSITIONS = {"swift": 32_768, "gato": 16_384} if GPU else {"swift": 2_048, "gato": 1_024}  # a step
ADAMW = {"kind": "adamw", "learning_rate": 1e-3, "weight_decay": 0.1}


def trainer(
    data: list[TokenDataset], model: str, *, device: str = DEVICE, optimiser: dict[str, Any] | None = None, **settings: Any
) -> Trainer:
    """A trainer on the generalist's mixture, in a folder of its own."""
    found = recipe(model)
    config = preset(model)
    settings = {"batch": POSITIONS[config.family] // config.context, "workers": 0, "seconds": 1000.0, "checkpoint_every": 1e9} | settings
    optimisers = replace(found.train.optimiser, **(optimiser or {}))
    training = replace(found.train, device=device, validate_every=10**6, optimiser=optimisers, **settings)
    chosen = replace(found, train=training, held_out=HELD_OUT, weights=SHARES, sampling=replace(found.sampling, validation_share=0.01))
    weights, _ = weights_of_run(None, None, chosen, data)
    return make_trainer(make_model(config, 0), data, weights, chosen, Path(tempfile.mkdtemp()))


def now() -> float:
    if GPU:
        torch.cuda.synchronize()
    return time.perf_counter()


def agreement(data: list[TokenDataset], _: float) -> dict[str, Any]:
    found = {}
    for name, device, flex in (("processor", "cpu", False), *((("gpu", "cuda", False), ("flex", "cuda", True)) if GPU else ())):
        run = trainer(data, "swift-tiny", device=device, batch=4, autocast=False)
        run.model.train()
        run.model.flex = flex
        steps = [run.train_step(run.batch(k)) for k in range(3)]
        found[name] = [(step.loss, step.norm) for step in steps]
    return found


def steps(data: list[TokenDataset], seconds: float) -> dict[str, Any]:
    found = {}
    for model, compiled in (("swift-tiny", False), ("swift-d6", False), ("swift-d6", True), ("gato-79m", False)):
        run = trainer(data, model, compile=compiled)
        run.model.train()
        batches = [[batch.pin_memory() if GPU else batch for batch in run.batch(k)] for k in range(3)]
        started = now()
        losses = [run.train_step(batch).loss for batch in batches]
        first = now() - started
        count, positions, started = 0, 0, now()
        while now() - started < seconds / 10 or count < 3:
            positions, count = positions + run.train_step(batches[count % 3]).tally.positions, count + 1
        spent = now() - started
        found[f"{model}{', compiled' * compiled}"] = {
            "step_ms": 1000 * spent / count,
            "positions_per_s": positions / spent,
            "first_s": first,
            "losses": losses,
            "gigabytes": torch.cuda.max_memory_allocated() / 1e9 if GPU else None,
        }
    return found


def trained(run: Trainer) -> dict[str, Any]:
    run.run(show=False)
    rows = [json.loads(line) for line in (run.folder / "log.jsonl").read_text().splitlines()]
    rates = rows[len(rows) // 2 :]
    return {
        "parameters": run.model.parameter_count(),
        "steps": run.step,
        "positions_per_s": sum(row["tokens_per_s"] for row in rates) / len(rates),
        "timesteps_per_s": sum(row["timesteps_per_s"] for row in rates) / len(rates),
        "waited": sum(row["waited"] for row in rates) / len(rates),
        **{name: value for name, value in rows[-1].items() if name.startswith("validation/")},
    }


def loop(data: list[TokenDataset], seconds: float) -> dict[str, Any]:
    return trained(trainer(data, "swift-d6", seconds=seconds, workers=max(1, (os.cpu_count() or 2) - 1)))


def families(data: list[TokenDataset], seconds: float) -> dict[str, Any]:
    arms: dict[str, Any] = {"gato-79m, AdamW": {"warmup": 50}, "swift-d6, Muon": {}, "swift-d6, AdamW": ADAMW}
    common: dict[str, Any] = {"seconds": seconds, "workers": max(1, (os.cpu_count() or 2) - 1)}
    return {name: trained(trainer(data, name.split(",")[0], optimiser=optimiser, **common)) for name, optimiser in arms.items()}


PARTS = {part.__name__: part for part in (agreement, steps, loop, families)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packed", nargs="+", type=Path)
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--out", type=Path)
    a = parser.parse_args()
    tokenizer = TextTokenizer.load()
    data = [open_packed(path).opened(tokenizer) for path in a.packed]
    found: dict[str, Any] = {"device": torch.cuda.get_device_name() if GPU else "cpu", "cores": os.cpu_count(), "torch": torch.__version__}
    for name in a.parts:
        found[name] = PARTS[name](data, a.seconds)
        print(name, json.dumps(found[name], indent=1), flush=True)
        if a.out:
            a.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
