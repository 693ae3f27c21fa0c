"""What a past is worth: the same network with its whole context and with the present timestep alone, beside agents with a memory and none.

    python benchmarks/memory.py --seconds 120 --out benchmarks/results/memory.json

Each task alone, on one core for so many seconds each. `swift-nano` acts with its context, after a demonstration besides, and, with the
same weights, with a context of one timestep; the GRU has a memory, the MLP has none. Per cent of success at the seeds
of `opengato eval`. Demonstrations are collected where the folder has none; rows that are done are kept.
"""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from learning import learn

from opengato.checkpoint import Checkpoint
from opengato.collection import collect, dataset_id
from opengato.domains import Task, match_tasks
from opengato.evaluation.agent import Agent, load_agent
from opengato.evaluation.rollout import rollout

# Demonstrations of each. In the mazes of BabyAI what is looked for is in another room, or a door is behind another.
TASKS = {
    "memory/t-maze": 400,
    "babyai/go-to-obj-maze-s4": 2000,
    "babyai/open-red-blue-doors": 2000,
}


def success(agent: Agent, task: Task, episodes: int, prompt: bool = False) -> float:
    """Per cent."""
    return 100 * float(np.mean([bool(r.success) for r in rollout(agent, task, episodes, prompt=prompt)]))


def run(task: Task, agent: str, seed: int, a: argparse.Namespace) -> dict[str, Any]:
    folder = a.folder / "learned" / f"{dataset_id(task).replace('/', '-')}-{agent}-{a.seconds:g}s-{seed}"
    facts = learn(agent, [dataset_id(task)], a.seconds, seed, a.folder / "data", folder)
    learned = load_agent(folder)
    found = {"acting": success(learned, task, a.episodes)}
    if isinstance(learned, Checkpoint):
        found["after a demonstration"] = success(learned, task, a.episodes, prompt=True)
        learned.model.config = replace(learned.model.config, context=1)
        found["the present alone"] = success(learned, task, a.episodes)
    return {"task": task.id, "agent": agent, "seed": seed, **facts, **found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", choices=list(TASKS), default=list(TASKS))
    parser.add_argument("--agents", nargs="+", default=["swift-nano", "gru", "mlp"])
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--episodes", type=int, default=50)
    parser.add_argument("--folder", type=Path, default=Path("runs/memory"))
    parser.add_argument("--out", type=Path, required=True, help="JSON of all rows")
    a = parser.parse_args()
    torch.set_num_threads(1)
    tasks = match_tasks(a.tasks)
    for task in tasks:
        if not (a.folder / "data" / dataset_id(task)).is_dir():
            collect([task], TASKS[task.id], a.folder / "data")
    rows: list[dict[str, Any]] = json.loads(a.out.read_text())["rows"] if a.out.is_file() else []
    for seed in a.seeds:
        for task in tasks:
            for agent in a.agents:
                if any((r["task"], r["agent"], r["seed"]) == (task.id, agent, seed) for r in rows):
                    continue
                rows.append(run(task, agent, seed, a))
                a.out.parent.mkdir(parents=True, exist_ok=True)
                partial = a.out.with_suffix(".partial")
                partial.write_text(json.dumps({"seconds": a.seconds, "episodes": a.episodes, "rows": rows}, indent=1))
                os.replace(partial, a.out)
                print(rows[-1])
    print("| task | agent | acting | after a demonstration | the present alone |\n|---|---|---|---|---|")
    for row in rows:
        cells = " | ".join(f"{row[way]:.0f}" if way in row else "" for way in ("acting", "after a demonstration", "the present alone"))
        print(f"| {row['task']} | {row['agent']} | {cells} |")


if __name__ == "__main__":
    main()
