"""Success against seconds of learning: the network beside the simplest agents, on the same demonstrations, time, cores and starts.

    python benchmarks/learning.py metaworld/dial-turn metaworld/handle-pull metaworld/pick-place metaworld/assembly \
        --seconds 60 180 --seeds 0 1 2 --out benchmarks/results/learning-four.json
    python benchmarks/learning.py metaworld --seconds 60 240 1500 --threads 1 --agents swift-tiny lookup --out one.json
    python benchmarks/learning.py metaworld --seconds 60 240 1500 --threads 1 --agents mlp --out other.json

Agents are presets (with their recipe's training) and baselines (`opengato eval --baseline`): mlp, gru, cnn, lookup. Each row is trained
from nothing for so many seconds, with a schedule that ends there, on all cores, or on as many as `--threads` says, so that two agents can
learn beside each other. It is evaluated at the seeds of `opengato eval`: per cent of success where a task defines it, else the score
between the random agent and the expert, at most 100. Demonstrations are collected where the folder has none. Rows that are done are kept
in the JSON, so the same command goes on where it stopped. No default of `swift-*` should change without this table.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from opengato.baselines.train import train_baseline
from opengato.collection import collect, dataset_id
from opengato.datasets.open import open_dataset
from opengato.domains import Task, match_tasks
from opengato.evaluation.evaluate import evaluate
from opengato.model.config import preset
from opengato.recipes import RECIPES, Recipe, recipe
from opengato.tokens.text import TextTokenizer
from opengato.training.train import train

KINDS = ("mlp", "gru", "cnn", "lookup")


def recipe_of(name: str) -> Recipe:
    """A preset's recipe; a size that has none of its own takes swift-nano's."""
    return recipe(name) if name in RECIPES else replace(recipe("swift-nano"), model=name)


def learn(agent: str, names: list[str], seconds: float, seed: int, root: Path, folder: Path) -> dict[str, Any]:
    """Train an agent on datasets, see `open_dataset`, kept in `folder`; how many steps it made."""
    if agent in KINDS:
        tokenizer = TextTokenizer.load()
        baseline = train_baseline(agent, [open_dataset(name, tokenizer, root) for name in names], seconds, seed, folder, show=False)
        return {"steps": sum(baseline.facts["steps"])}
    chosen = recipe_of(agent)
    run = folder.with_suffix(".run")
    shutil.rmtree(run, ignore_errors=True)
    checkpoint = train(replace(chosen, train=replace(chosen.train, seconds=seconds, seed=seed)), names, run, root=root)
    os.replace(run / "checkpoint", folder)
    rows = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return {"steps": checkpoint.facts["steps"], "timesteps_per_s": sum(r["timesteps_per_s"] for r in rows) / len(rows)}


def measure(folder: Path, tasks: list[Task], episodes: int, workers: int) -> dict[str, float]:
    """Task -> per cent of success, or score, at most 100."""
    found = evaluate(folder, tasks, episodes, workers=workers, show=False)
    out = {}
    for score in found.scores:
        value = 100 * score.success if score.success is not None else score.score
        if value is not None:
            out[score.task] = min(100.0, value)
    return out


def row(agent: str, tasks: list[Task], seconds: float, seed: int, a: argparse.Namespace) -> dict[str, Any]:
    folder = a.folder / "learned" / f"{agent}-{seconds:g}s-{seed}-{len(tasks)}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(a.threads)
    facts = learn(agent, [dataset_id(task) for task in tasks], seconds, seed, a.folder / "data", folder)
    began = time.monotonic()
    by_task = measure(folder, tasks, a.episodes, a.threads)
    return {
        "agent": agent,
        "seconds": seconds,
        "seed": seed,
        **facts,
        "mean": sum(by_task.values()) / len(by_task),
        "evaluation_seconds": round(time.monotonic() - began),
        "tasks": by_task,
    }


def interval(values: list[float]) -> float:
    """Half of a 95% interval of the mean over seeds, by Student's t; NaN of one seed."""
    if len(values) < 2:
        return math.nan
    mean = sum(values) / len(values)
    deviation = math.sqrt(sum((v - mean) ** 2 for v in values) / (len(values) - 1))
    t = {2: 12.71, 3: 4.30, 4: 3.18, 5: 2.78}.get(len(values), 2.0)
    return t * deviation / math.sqrt(len(values))


def print_table(rows: list[dict[str, Any]]) -> None:
    """A line an agent and time: the mean over tasks and seeds, its interval, and the worst tasks."""
    print("| agent | seconds | steps | seeds | mean % | ± | worst tasks |\n|---|---|---|---|---|---|---|")
    for agent, seconds in dict.fromkeys((r["agent"], r["seconds"]) for r in sorted(rows, key=lambda r: (r["seconds"], r["agent"]))):
        same = [r for r in rows if (r["agent"], r["seconds"]) == (agent, seconds)]
        means = [r["mean"] for r in same]
        by_task = {task: sum(r["tasks"][task] for r in same) / len(same) for task in same[0]["tasks"]}
        worst = ", ".join(f"{task.split('/')[1]} {value:.0f}" for task, value in sorted(by_task.items(), key=lambda item: item[1])[:4])
        steps = sum(r["steps"] for r in same) / len(same)
        around = interval(means)
        spread = "" if math.isnan(around) else f"{around:.1f}"
        print(f"| {agent} | {seconds:g} | {steps:,.0f} | {len(same)} | {sum(means) / len(means):.1f} | {spread} | {worst} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="+")
    parser.add_argument("--agents", nargs="+", default=["swift-tiny", "mlp", "lookup"])
    parser.add_argument("--seconds", nargs="+", type=float, default=[60.0, 180.0])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--episodes", type=int, default=10, help="of evaluation, a task")
    parser.add_argument("--demonstrations", type=int, default=60, help="a task")
    parser.add_argument("--noise", type=float, default=0.15)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="of learning, and processes of evaluation")
    parser.add_argument("--folder", type=Path, default=Path("runs/learning"))
    parser.add_argument("--out", type=Path, help="JSON of the rows; default: in the folder")
    a = parser.parse_args()
    tasks = match_tasks(a.tasks)
    for agent in a.agents:
        if agent not in KINDS:
            preset(agent)  # stops at a name that is none
    missing = [task for task in tasks if not (a.folder / "data" / dataset_id(task)).is_dir()]
    if missing:
        collect(missing, a.demonstrations, a.folder / "data", noise=a.noise)
    out = a.out or a.folder / "learning.json"
    rows: list[dict[str, Any]] = json.loads(out.read_text())["rows"] if out.is_file() else []
    settings = {"tasks": [t.id for t in tasks], "episodes": a.episodes, "demonstrations": a.demonstrations, "noise": a.noise}
    for seconds in a.seconds:
        for seed in a.seeds:
            for agent in a.agents:
                if agent == "lookup" and (seconds, seed) != (a.seconds[0], a.seeds[0]):
                    continue  # it does not learn
                if any((r["agent"], r["seconds"], r["seed"]) == (agent, seconds, seed) for r in rows):
                    continue
                rows.append(row(agent, tasks, seconds, seed, a))
                out.parent.mkdir(parents=True, exist_ok=True)
                partial = out.with_suffix(".partial")
                partial.write_text(json.dumps({**settings, "threads": a.threads, "rows": rows}, indent=1))
                os.replace(partial, out)
                print_table(rows[-1:])
    print()
    print_table(rows)


if __name__ == "__main__":
    main()
