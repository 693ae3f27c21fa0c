"""Fine-tuning to a task that the checkpoint has never seen, with few demonstrations: whole, by adapters, and against no pretraining.

    python benchmarks/finetune.py demo/checkpoint [--task metaworld/door-open] [--episodes 5 20 50] [--steps 300] [--json]

Each way trains as many steps on the same demonstrations of the task's expert and is scored on the same 20 episodes. "From scratch" has the
checkpoint's shape and fresh weights, and trains as it would be pretrained; the others train with AdamW at a constant rate, with
no weight decay and with dropout 0.1, as the paper does (section 5.2), at a rate for so few steps.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path

from opengato.checkpoint import Checkpoint
from opengato.collection import collect, dataset_id
from opengato.domains import get_task
from opengato.evaluation.evaluate import score_of
from opengato.evaluation.rollout import rollout
from opengato.recipes import FINETUNE
from opengato.training.optimiser import SWIFT
from opengato.training.train import finetune, make_model

SCORED_EPISODES = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--task", default="metaworld/door-open")
    parser.add_argument("--episodes", nargs="+", type=int, default=[5, 20, 50])
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--json", action="store_true")
    a = parser.parse_args()
    task = get_task(a.task)
    start = Checkpoint.load(a.checkpoint)
    if a.task in start.layouts:
        raise SystemExit(f"the checkpoint was trained on {a.task}: choose a task that it has not seen")
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        scratch = Checkpoint(make_model(start.model.config, 1), start.tokenizer, start.layouts)
        scratch.save(folder / "scratch")
        tuned = replace(FINETUNE.train, steps=a.steps, batch=16, optimiser=replace(FINETUNE.train.optimiser, learning_rate=a.rate))
        pretrained = replace(tuned, optimiser=SWIFT)
        ways = {
            "whole": (a.checkpoint, tuned, {}),
            "adapters of rank 8": (a.checkpoint, tuned, {"lora": 8}),
            "from scratch": (folder / "scratch", pretrained, {"dropout": 0.0}),
        }
        for episodes in sorted(a.episodes):
            root = folder / f"data-{episodes}"
            collect([task], {a.task: episodes}, root, noise={a.task: 0.15}, progress=not a.json)
            for way, (checkpoint, training, options) in ways.items():
                out = folder / f"{way}-{episodes}"
                done = finetune(checkpoint, replace(FINETUNE, train=training), [dataset_id(task)], out, root=root, **options)
                played = rollout(done, task, SCORED_EPISODES)
                rows.append({"demonstrations": episodes, "way": way, **score_of(task, played).to_json()})
    if a.json:
        print(json.dumps(rows, indent=1))
        return
    print(f"| {a.task}: demonstrations | {' | '.join(ways)} |")
    print("|---" * (len(ways) + 1) + "|")
    for episodes in sorted(a.episodes):
        found = [f"{r['score']:.0f}% (success {r['success']:.0%})" for r in rows if r["demonstrations"] == episodes]
        print(f"| {episodes} | {' | '.join(found)} |")


if __name__ == "__main__":
    main()
