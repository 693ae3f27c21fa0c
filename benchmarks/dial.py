"""One dial, one rate: held-out loss of swift models of several depths at several learning rates, after as many steps.

    python benchmarks/dial.py [--depths 2 3 4 6] [--factors 0.5 1 2 4] [--steps 300] [--folder runs/benchmarks] [--json]

A depth is so many blocks, 64 times as wide. Both rates (Muon's and the tables') are the recipe's times the factor. If rates transfer, the
lowest loss of every row stands in the same column. One core a run; rows that are done are kept.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import torch
from small_mixture import CONTROL, held_out_loss, open_data, train

from opengato.model.config import swift
from opengato.training.loop import TrainConfig
from opengato.training.optimiser import SWIFT

CONTEXT, BATCH = 128, 16


def run(depth: int, factor: float, steps: int, folder: Path, out: Path) -> None:
    """One cell, in a process of its own."""
    torch.set_num_threads(1)
    optimiser = replace(SWIFT, learning_rate=SWIFT.learning_rate * factor, table_learning_rate=SWIFT.table_learning_rate * factor)
    data = open_data(folder, CONTROL)
    with tempfile.TemporaryDirectory() as temporary:
        trainer, _ = train(data, swift(depth, CONTEXT), TrainConfig(steps=steps, batch=BATCH, optimiser=optimiser), Path(temporary))
    partial = out.with_suffix(".partial")
    partial.write_text(json.dumps({"depth": depth, "factor": factor, "loss": held_out_loss(trainer, data)}))
    os.replace(partial, out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--depths", nargs="+", type=int, default=[2, 3, 4, 6])
    parser.add_argument("--factors", nargs="+", type=float, default=[0.5, 1.0, 2.0, 4.0])
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--folder", type=Path, default=Path("runs/benchmarks"))
    parser.add_argument("--run", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true")
    a = parser.parse_args()
    cells = a.folder / f"dial-{a.steps}"

    def path(depth: int, factor: float) -> Path:
        return cells / f"{depth}-{factor:g}.json"

    if a.run:
        depth, factor = int(a.run[0]), float(a.run[1])
        run(depth, factor, a.steps, a.folder, path(depth, factor))
        return
    cells.mkdir(parents=True, exist_ok=True)
    open_data(a.folder, CONTROL)

    def start(cell: tuple[int, float]) -> None:
        if not path(*cell).is_file():
            options = ["--run", *map(str, cell), "--steps", str(a.steps), "--folder", str(a.folder)]
            environment = {**os.environ, "OMP_NUM_THREADS": "1"}
            subprocess.run([sys.executable, __file__, *options], env=environment, check=True)
        print(f"depth {cell[0]}, rates × {cell[1]:g}: {json.loads(path(*cell).read_text())['loss']['mean']:.3f}", file=sys.stderr)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(start, [(d, f) for d in sorted(a.depths, reverse=True) for f in a.factors]))
    rows = [json.loads(path(d, f).read_text()) for d in a.depths for f in a.factors]
    if a.json:
        print(json.dumps(rows, indent=1))
        return
    print(f"| depth | width | {' | '.join(f'rates × {f:g}' for f in a.factors)} |")
    print("|---" * (len(a.factors) + 2) + "|")
    for d in a.depths:
        losses = [f"{r['loss']['mean']:.3f}" for r in rows if r["depth"] == d]
        print(f"| {d} | {64 * d} | {' | '.join(losses)} |")


if __name__ == "__main__":
    main()
