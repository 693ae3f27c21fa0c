"""Words, pictures and control in one network, and each alone, at equally many tokens of each: what joining them brings, and what it costs.

    opengato data build --out mix
    opengato collect babyai/go-to-local … metaworld/reach … --episodes 100 --root data
    python benchmarks/transfer.py --captions coco:mix/emoji/train.json,mix/emoji/images … --text text:mix/speeches/train.jsonl.gz …
        --control opengato/babyai/go-to-local-v0 … --root data [--positions 2e6] [--model swift-tiny] [--seeds 0] [--out FILE]

Trainings, each a process of its own on one core, as many at a time as there are cores: a network of each domain alone, so many positions
long; one of all three that sees as many of each; and each alone again in as many steps as that one takes, each a third as large, since
steps too teach. The same recipe, seed and data; a twentieth of every dataset's episodes, chosen by what they hold, is kept from all of
them. The table has the loss on those, in nats an answer's token or an action's number, and of control the mean over tasks of success, else
of the score, at most 100. Rows that are done are kept.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from rows import run_rows, write_row

from opengato.checkpoint import Checkpoint
from opengato.datasets.open import find_dataset
from opengato.datasets.reading import Reading
from opengato.domains import get_task
from opengato.evaluation.evaluate import score_of
from opengato.evaluation.rollout import rollout
from opengato.model.config import preset
from opengato.recipes import recipe
from opengato.training.train import train

DOMAINS = ("captions", "text", "control")
TOGETHER = "together"
OFTEN = "-often"  # alone, in as many steps as together
BATCH = 4096  # positions of a step


def run(what: str, seed: int, a: argparse.Namespace, out: Path) -> None:
    """One row, in a process of its own."""
    torch.set_num_threads(1)
    often = what.endswith(OFTEN)
    names = {domain: list(getattr(a, domain)) for domain in DOMAINS if what.removesuffix(OFTEN) in (domain, TOGETHER)}
    found = {name: find_dataset(name, Reading(a.root)).task for part in names.values() for name in part}
    weights: dict[str, float] = {}
    for part in names.values():  # each a share alike, whatever domains its tasks are of
        inside = sorted({found[name].split("/")[0] for name in part})
        weights |= dict.fromkeys(inside, 1 / len(inside))
    config = preset(a.model)
    chosen = recipe("swift-tiny" if a.model not in ("swift-nano", "swift-small") else a.model)
    batch = round(BATCH / config.context / (len(DOMAINS) if often else 1))
    steps = round(a.positions * len(names) / (batch * config.context))
    how = replace(chosen.train, steps=steps, batch=batch, seed=seed, workers=0, validate_every=10**9)
    sampling = replace(chosen.sampling, validation_share=0.05, size_power=0.5, shift=a.shift)
    folder = out.with_suffix(".run")
    every = [name for part in names.values() for name in part]
    settings = replace(chosen, model=a.model, train=how, sampling=sampling)
    train(settings, every, folder, weights=weights, model={"dropout": 0.1}, root=a.root, keep_held_out=True)
    last = json.loads((folder / "log.jsonl").read_text().splitlines()[-1])
    row = {
        "what": what,
        "seed": seed,
        "steps": steps,
        "held_out": {key.removeprefix("validation/loss/"): value for key, value in last.items() if key.startswith("validation/loss/")},
    }
    if "control" in names:
        agent, scores = Checkpoint.load(folder / "checkpoint"), {}
        for name in names["control"]:
            task = get_task(found[name])
            played = rollout(agent, task, a.episodes)
            won = [bool(r.success) for r in played if r.success is not None]
            scores[task.id] = 100 * float(np.mean(won)) if won else min(100.0, score_of(task, played).score)
        row["scores"] = scores
    write_row(row, out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for domain in DOMAINS:
        parser.add_argument(f"--{domain}", nargs="+", required=True)
    parser.add_argument("--root", type=Path)
    parser.add_argument("--model", default="swift-tiny")
    parser.add_argument("--positions", type=float, default=2e6, help="of each domain")
    parser.add_argument("--shift", type=int, default=4)
    parser.add_argument("--episodes", type=int, default=10)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--folder", type=Path, default=Path("runs/transfer"))
    parser.add_argument("--out", type=Path, help="JSON of all rows")
    parser.add_argument("--run", nargs=2, help=argparse.SUPPRESS)
    a = parser.parse_args()

    def path(what: str, seed: int) -> Path:
        return a.folder / f"{a.model}-{a.positions:g}-{what}-{seed}.json"

    if a.run:
        run(a.run[0], int(a.run[1]), a, path(a.run[0], int(a.run[1])))
        return
    options = [word for name in DOMAINS for word in (f"--{name}", *getattr(a, name))]
    for name in ("root", "model", "positions", "shift", "episodes", "folder"):
        if getattr(a, name) is not None:
            options += [f"--{name}", str(getattr(a, name))]
    rows = run_rows(
        __file__,
        [(what, seed) for seed in a.seeds for what in (TOGETHER, *DOMAINS, *(domain + OFTEN for domain in DOMAINS))],
        path,
        options,
    )
    if a.out:
        lines = ",\n  ".join(json.dumps(row) for row in rows)
        a.out.write_text(f'{{"model": "{a.model}", "positions": {a.positions:g}, "rows": [\n  {lines}\n]}}\n')
    print("| domain | | loss, by seed | mean score, by seed |\n|---|---|---|---|")
    domains = dict.fromkeys(domain for row in rows for domain in row["held_out"])
    for domain in domains:
        for kind, of in (("alone", DOMAINS), ("alone, as many steps", [d + OFTEN for d in DOMAINS]), ("together", [TOGETHER])):
            mine = [row for row in rows if row["what"] in of and domain in row["held_out"]]
            scores = [[score for task, score in row.get("scores", {}).items() if task.startswith(f"{domain}/")] for row in mine]
            cells = ", ".join(f"{row['held_out'][domain]:.3f}" for row in mine), ", ".join(f"{np.mean(of):.0f}%" for of in scores if of)
            print(f"| {domain} | {kind} | {cells[0]} | {cells[1]} |")


if __name__ == "__main__":
    main()
