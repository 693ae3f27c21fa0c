"""What `swift-*` is made of, one part changed at a time: held-out loss and score after equal wall time on a fixed small mixture.

    python benchmarks/ablate.py [--seconds 100] [--episodes 10] [--folder runs/benchmarks] [--only NAME …] [--json]

Every variant is `swift-nano` but for what its row says, trained for so many seconds on one core, as many variants at a time as there are
cores. The mixture is `small_mixture.py`: six control tasks of three domains that are scored, and, for what concerns pictures, Freeway and
captions, that are not. Loss is nats a number of the experts' own actions in held-out episodes. Rows that are done are kept; the first three
differ in their seed only and show how far chance goes.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from small_mixture import CONTROL, PICTURES, held_out_loss, open_data, scores, train

from opengato.model import attention, embedding, gato
from opengato.model.config import ModelConfig, preset
from opengato.model.losses import cross_entropy
from opengato.tokens.fold import PAPER, Fold
from opengato.tokens.vocabulary import ACTION_TEXT, IS_TARGET
from opengato.training.loop import TrainConfig
from opengato.training.optimiser import SWIFT

POSITIONS = 1024  # a step


class OrderedFold(Fold):
    """Every number of a control action takes a position, as the words of an answer do."""

    def positions(self, kinds: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return super().positions(np.where(kinds >= IS_TARGET, ACTION_TEXT, kinds), offsets)


def table_rows() -> None:
    embedding.BIN_START = 10**9  # no token is a bin


def hard_targets() -> None:
    gato.soft_cross_entropy = lambda scores, targets: cross_entropy(scores, targets)


def reading(fold: Callable[[ModelConfig], Fold]) -> Callable[[], None]:
    def patch() -> None:
        ModelConfig.fold = property(fold)  # type: ignore[assignment,method-assign]
        ModelConfig.reads_actions = property(lambda config: True)  # type: ignore[assignment,method-assign]

    return patch


def relative() -> None:
    gato.RotaryAttention = attention.RelativeAttention  # type: ignore[misc,assignment]


@dataclass(frozen=True)
class Variant:
    """What one row changes: fields of the model and of the optimiser, the share of prompts, the seed, the data, or code."""

    model: dict[str, Any] = field(default_factory=dict)
    optimiser: dict[str, Any] = field(default_factory=dict)
    prompts: float = 0.25
    seed: int = 0
    pictures: bool = False
    patch: Callable[[], None] = lambda: None


VARIANTS = {
    "swift-nano": Variant(),
    "another seed": Variant(seed=1),
    "a third seed": Variant(seed=2),
    "values as rows of a table": Variant(patch=table_rows),
    "targets one bin wide": Variant(patch=hard_targets),
    "actions in order, read back": Variant(patch=reading(lambda config: OrderedFold(config.patches_per_position))),
    "a position a token (the paper's stream)": Variant({"context": 1024}, patch=reading(lambda config: PAPER)),
    "set network 128 wide": Variant({"set_width": 128}),
    "set network 512 wide": Variant({"set_width": 512}),
    "relative attention": Variant(patch=relative),
    "AdamW, rate 1e-3": Variant(optimiser={"kind": "adamw", "learning_rate": 1e-3}),
    "AdamW, rate 3e-3": Variant(optimiser={"kind": "adamw", "learning_rate": 3e-3}),
    "Muon's rate halved": Variant(optimiser={"learning_rate": SWIFT.learning_rate / 2}),
    "Muon's rate doubled": Variant(optimiser={"learning_rate": SWIFT.learning_rate * 2}),
    "tables' rate halved": Variant(optimiser={"table_learning_rate": SWIFT.table_learning_rate / 2}),
    "tables' rate doubled": Variant(optimiser={"table_learning_rate": SWIFT.table_learning_rate * 2}),
    "window of 32 positions": Variant({"context": 32}),
    "window of 512 positions": Variant({"context": 512}),
    "no prompts": Variant(prompts=0.0),
    "half of the windows prompted": Variant(prompts=0.5),
    "pictures": Variant(pictures=True),
    "pictures, another seed": Variant(pictures=True, seed=1),
    "pictures, 1 patch a position": Variant({"patches_per_position": 1}, pictures=True),
    "pictures, 4 patches a position": Variant({"patches_per_position": 4}, pictures=True),
    "pictures, 8 patches a position": Variant({"patches_per_position": 8}, pictures=True),
    "pictures, 20 patches a position": Variant({"patches_per_position": 20}, pictures=True),
}


def run(name: str, seconds: float, episodes: int, folder: Path, out: Path) -> None:
    """One row, in a process of its own."""
    variant = VARIANTS[name]
    torch.set_num_threads(1)
    variant.patch()
    config = replace(preset("swift-nano"), **variant.model)
    optimiser = replace(SWIFT, **variant.optimiser)
    training = TrainConfig(batch=max(1, POSITIONS // config.context), seconds=seconds, seed=variant.seed, optimiser=optimiser)
    data = open_data(folder, PICTURES if variant.pictures else CONTROL)
    trainer, row = train(data, config, training, out.with_suffix(".run"), variant.prompts)
    result = {
        "variant": name,
        **row,
        "parameters": trainer.model.parameter_count(),
        "loss": held_out_loss(trainer, data),
        "score": None if variant.pictures else scores(trainer, data, episodes, CONTROL, prompt=variant.prompts > 0),
    }
    partial = out.with_suffix(".partial")
    partial.write_text(json.dumps(result))
    os.replace(partial, out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=100.0)
    parser.add_argument("--episodes", type=int, default=10)
    parser.add_argument("--folder", type=Path, default=Path("runs/benchmarks"))
    parser.add_argument("--only", nargs="+", choices=list(VARIANTS), default=list(VARIANTS))
    parser.add_argument("--run", help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true")
    a = parser.parse_args()
    folder = a.folder / f"ablate-{a.seconds:g}s-{a.episodes}"

    def path(name: str) -> Path:
        return folder / f"{re.sub('[^a-z0-9]+', '-', name.lower())}.json"

    if a.run:
        run(a.run, a.seconds, a.episodes, a.folder, path(a.run))
        return
    folder.mkdir(parents=True, exist_ok=True)
    open_data(a.folder, CONTROL + PICTURES)

    def start(name: str) -> None:
        if path(name).is_file():
            return
        options = ["--seconds", str(a.seconds), "--episodes", str(a.episodes), "--folder", str(a.folder)]
        with open(path(name).with_suffix(".txt"), "w") as log:
            environment = {**os.environ, "OMP_NUM_THREADS": "1"}
            subprocess.run([sys.executable, __file__, "--run", name, *options], stdout=log, stderr=log, env=environment, check=False)
        print(f"{name}: {'done' if path(name).is_file() else 'failed, see ' + log.name}", file=sys.stderr)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(start, a.only))
    done = [json.loads(path(name).read_text()) for name in a.only if path(name).is_file()]
    if a.json:
        print(json.dumps(done, indent=1))
        return
    for rows, which in (([r for r in done if r["score"]], "score"), ([r for r in done if not r["score"]], None)):
        if not rows:
            continue
        domains = list(rows[0]["loss"])
        print(f"\n| variant | timesteps/s | {' | '.join(f'loss {d}' for d in domains)} |{' score |' if which else ''}")
        print("|---" * (len(domains) + 2 + bool(which)) + "|")
        for r in rows:
            losses = " | ".join(f"{r['loss'][d]:.2f}" for d in domains)
            print(f"| {r['variant']} | {r['timesteps_per_s']:,.0f} | {losses} |" + (f" {r['score']['mean']:.0f} |" if which else ""))


if __name__ == "__main__":
    main()
