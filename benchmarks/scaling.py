"""How deep for how long: held-out loss and scores of three depths of swift after several times, the law through them, and what it says.

    python benchmarks/scaling.py --data NAME … [--root FOLDER] [--depths 2 4 8] [--minutes 2 6 18] [--seeds 0] [--tasks TASK …]
        [--episodes 10] [--folder runs/scaling] [--out FILE] [--hours 1 10 100]

Every row is a training of its own, from the start to the end of its rates, of one depth for so many minutes on one core, as many rows at a
time as there are cores; the same data, of which one in fifty episodes is held out. The law is that of Hoffmann et al. (2022),
`opengato.training.hours.Law`, over parameters outside the embeddings; a position's seconds are a line over the parameters. Rows of fewer
than 100 steps are not fitted. The depth for so many hours is the one whose loss it says is the lowest. Rows that are done are kept.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rows import run_rows, write_row
from scipy.optimize import least_squares

from opengato.datasets.reading import Reading
from opengato.domains import get_task, match_tasks
from opengato.evaluation.evaluate import score_of
from opengato.evaluation.rollout import rollout
from opengato.model.config import swift
from opengato.recipes import recipe
from opengato.training.hours import POSITIONS, Law, Pace, best_depth, parameters
from opengato.training.train import finish, make_model, make_trainer, open_all, weights_of_run

PAPER = (79e6, 364e6, 1.18e9)  # parameters of Figure 8's networks
STEEPEST = 0.5  # power of the size, as others found at most: these rows, of minutes, fit larger ones better, and tell little of the end
FEWEST = 100  # steps of a row that is fitted: half of fewer would be the warm-up
KEPT = 0.02  # share of the episodes that is held out


def run(depth: int, minutes: float, seed: int, a: argparse.Namespace, out: Path) -> None:
    """One row, in a process of its own."""
    torch.set_num_threads(1)
    chosen, config = recipe("swift-tiny"), swift(depth)
    sampling = replace(chosen.sampling, validation_share=KEPT, size_power=0.5)
    training = replace(chosen.train, seconds=60 * minutes, seed=seed, batch=max(1, POSITIONS // config.context), checkpoint_every=60.0)
    training = replace(training, workers=0, validate_every=10**9, validation_batches=a.validation_batches)
    chosen = replace(chosen, train=training, sampling=sampling)
    datasets, tokenizer = open_all(a.data, "cpu", Reading(a.root))
    weights, _ = weights_of_run(None, None, replace(chosen, weights={}), datasets)
    trainer = make_trainer(make_model(config, seed), datasets, weights, chosen, out.with_suffix(".run"))
    checkpoint = finish(trainer, datasets, tokenizer, out.with_suffix(".run"))
    losses = trainer.validate()
    scores = {}
    for task in match_tasks(a.tasks) if a.tasks else []:
        score = score_of(task, rollout(checkpoint, get_task(task.id), a.episodes)).score
        scores[task.id] = float("nan") if score is None else min(100.0, score)
    row = {"depth": depth, "minutes": minutes, "seed": seed, "parameters": parameters(depth)}
    row |= {"positions": trainer.step * training.batch * config.context, "seconds": trainer.elapsed}
    domains = sorted({data.domain for data in datasets})
    row["losses"] = {domain: losses[f"validation/loss/{domain}"] for domain in domains if f"validation/loss/{domain}" in losses}
    row["loss"] = float(np.mean(list(row["losses"].values())))  # every domain alike
    write_row(row | {"scores": scores, "score": float(np.mean(list(scores.values()))) if scores else None}, out)


def fitted(rows: list[dict[str, Any]], steepest: float) -> tuple[Law, float]:
    """The law through the rows' losses by the least squares of their logarithms, from several beginnings, and how far off it is.

    `steepest`: the largest power of the size that it may have.
    """
    size, seen, loss = (np.array([row[name] for row in rows], float) for name in ("parameters", "positions", "loss"))

    def law(p: np.ndarray) -> Law:
        return Law(p[0], np.exp(p[1]), p[2], np.exp(p[3]), p[4])

    best = None
    low, high = [0.0, -12.0, 0.05, -12.0, 0.05], [loss.min(), 5.0, steepest, 5.0, 2.0]
    for floor in (0.3, 0.6, 0.9):
        for power in (0.2, 0.9 * steepest):
            start = [floor * loss.min(), -2.0, power, -1.0, 0.5]
            found = least_squares(lambda p: [np.log(law(p).loss(n, d) / x) for n, d, x in zip(size, seen, loss)], start, bounds=(low, high))
            if best is None or found.cost < best.cost:
                best = found
    assert best is not None
    return Law(*(float(x) for x in vars(law(best.x)).values())), float(np.sqrt(2 * best.cost / len(rows)))


def pace_of(rows: list[dict[str, Any]]) -> Pace:
    """The line through the rows' seconds a position."""
    each, least = np.polyfit([row["parameters"] for row in rows], [row["seconds"] / row["positions"] for row in rows], 1)
    return Pace(float(least), float(each))


def wanted(law: Law, size: float) -> float:
    """The positions after which so many parameters are the best for their arithmetic, parameters times positions."""
    millions = (law.seen_power * law.seen / (law.size_power * law.size) * (size / 1e6) ** law.size_power) ** (1 / law.seen_power)
    return 1e6 * millions


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", required=True)
    parser.add_argument("--root", type=Path)
    parser.add_argument("--depths", nargs="+", type=int, default=[2, 4, 8])
    parser.add_argument("--minutes", nargs="+", type=float, default=[2.0, 6.0, 18.0])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--tasks", nargs="*", default=[])
    parser.add_argument("--episodes", type=int, default=10)
    parser.add_argument("--validation-batches", type=int, default=32)
    parser.add_argument("--folder", type=Path, default=Path("runs/scaling"))
    parser.add_argument("--hours", nargs="+", type=float, default=[0.1, 0.25, 0.5, 1.0, 3.0, 10.0, 100.0])
    parser.add_argument("--out", type=Path, help="JSON of all rows and the law")
    parser.add_argument("--run", nargs=3, help=argparse.SUPPRESS)
    a = parser.parse_args()

    def path(depth: int, minutes: float, seed: int) -> Path:
        return a.folder / f"{depth}-{minutes:g}-{seed}.json"

    if a.run:
        depth, minutes, seed = int(a.run[0]), float(a.run[1]), int(a.run[2])
        run(depth, minutes, seed, a, path(depth, minutes, seed))
        return
    open_all(a.data, "cpu", Reading(a.root))  # tokenised once, not by two rows at a time
    options = ["--data", *a.data, *(["--root", str(a.root)] if a.root else []), "--tasks", *a.tasks, "--episodes", str(a.episodes)]
    options += ["--validation-batches", str(a.validation_batches), "--folder", str(a.folder)]
    # The longest first, so that none ends alone.
    cells = sorted(((d, m, s) for s in a.seeds for m in a.minutes for d in a.depths), key=lambda cell: -cell[1])
    rows = sorted(run_rows(__file__, cells, path, options), key=lambda row: (row["depth"], row["minutes"], row["seed"]))
    print("| depth | parameters | minutes | positions | loss | score % |\n|---|---|---|---|---|---|")
    for row in rows:
        score = "" if row["score"] is None else f"{row['score']:.0f}"
        print(f"| {row['depth']} | {row['parameters']:,} | {row['minutes']:g} | {row['positions']:,} | {row['loss']:.3f} | {score} |")
    found: dict[str, Any] = {}
    long = [row for row in rows if row["positions"] >= FEWEST * POSITIONS]
    if len(long) >= 6:
        (law, off), pace = fitted(long, STEEPEST), pace_of(long)
        found = {"law": asdict(law), "relative_error": off, "pace": asdict(pace)}
        print(json.dumps(found))
        for hours in a.hours:
            depth = best_depth(hours, pace, law)
            loss = law.loss(parameters(depth), pace.positions(parameters(depth), 3600 * hours))
            print(f"{hours:g} hours of a core: swift-d{depth}, {parameters(depth):,} parameters, loss {loss:.3f}")
        for steepest in (0.3, 1.0, 2.0):  # what else fits
            other, error = fitted(long, steepest)
            print(f"powers up to {steepest:g}: {error:.2%} off, depths {[best_depth(h, pace, other) for h in a.hours]}")
        for size in PAPER:
            print(f"{size:,.0f} parameters are the best size after {wanted(law, size):.3g} positions")
    if a.out:
        lines = ",\n  ".join(json.dumps(row) for row in rows)
        a.out.write_text(f'{{"rows": [\n  {lines}\n],\n "found": {json.dumps(found)}}}\n')


if __name__ == "__main__":
    main()
