"""Each domain of the demo alone and all of them together: the network beside the simplest agents, same demonstrations, time and starts.

    opengato demo --out demo
    python benchmarks/domains.py demo --seconds 90 --out benchmarks/results/domains.json

Every agent learns a domain from the demo's demonstrations for so many seconds on one core, as many agents at a time as there are cores;
`together` is one network that learns all of them, each a share alike, for so many seconds a domain. Evaluated at the seeds of `opengato
eval`: per cent of success where a task defines it, else the score between the random agent and the expert, at most 100; captions by the
nats a token of held-out pictures. Rows that are done are kept in the folder, so the same command goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
from pathlib import Path
from typing import Any

import torch
from learning import interval, learn, measure
from rows import run_rows, write_row

from opengato.collection import dataset_id
from opengato.datasets.captions import TASK as CAPTIONS
from opengato.demo_mixture import DEMO_TASKS
from opengato.domains import Task, get_task
from opengato.evaluation.agent import load_agent
from opengato.evaluation.words import held_out_nats

# The simplest agents that see and do what a domain has.
SIMPLE = {
    "babyai": ["mlp", "gru", "lookup"],
    "metaworld": ["mlp", "lookup"],
    "dm-control": ["mlp", "lookup"],
    "atari": ["cnn"],
    "captions": ["cnn"],
}
TOGETHER = "together"


def tasks_of(domain: str) -> list[Task]:
    return [get_task(d.task) for d in DEMO_TASKS if domain in (TOGETHER, d.task.split("/")[0])]


def run(domain: str, agent: str, seed: int, seconds: float, episodes: int, demo: Path, out: Path) -> None:
    """One row, in a process of its own."""
    torch.set_num_threads(1)
    tasks = tasks_of(domain)
    names = [dataset_id(task) for task in tasks] + ([CAPTIONS] if domain in (TOGETHER, "captions") else [])
    folder = out.with_suffix("")
    shutil.rmtree(folder, ignore_errors=True)
    facts = learn(agent, names, seconds * (len(SIMPLE) if domain == TOGETHER else 1), seed, demo / "data", folder)
    by_task = measure(folder, tasks, episodes, 1) if tasks else {}
    row = {
        "domain": domain,
        "agent": agent,
        "seed": seed,
        **facts,
        "tasks": by_task,
        "nats": held_out_nats(load_agent(folder)).get(CAPTIONS),
    }
    write_row(row, out)


def mean(row: dict[str, Any], domain: str) -> float:
    """Of the domain's tasks: per cent, or nats of captions."""
    if domain == "captions":
        return row["nats"]
    values = [value for task, value in row["tasks"].items() if task.split("/")[0] == domain]
    return sum(values) / len(values)


def print_table(rows: list[dict[str, Any]], network: str) -> None:
    """A line a domain and agent: its mean over seeds, its interval, and its worst tasks."""
    print("| domain | agent | seeds | mean | ± | worst tasks |\n|---|---|---|---|---|---|")
    for domain, simple in SIMPLE.items():
        shown = [(network, domain, network), (f"{network}, together", TOGETHER, network), *((name, domain, name) for name in simple)]
        for label, trained_on, agent in shown:
            same = [row for row in rows if (row["domain"], row["agent"]) == (trained_on, agent)]
            if not same:
                continue
            means = [mean(row, domain) for row in same]
            tasks = [task for task in same[0]["tasks"] if task.split("/")[0] == domain]
            by_task = {task: sum(row["tasks"][task] for row in same) / len(same) for task in tasks}
            worst = ", ".join(f"{task.split('/')[1]} {value:.0f}" for task, value in sorted(by_task.items(), key=lambda item: item[1])[:3])
            around = interval(means)
            value = f"{sum(means) / len(means):.3f} nats" if domain == "captions" else f"{sum(means) / len(means):.1f}%"
            print(f"| {domain} | {label} | {len(same)} | {value} | {'' if math.isnan(around) else f'{around:.1f}'} | {worst} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("demo", type=Path, help="folder of a finished `opengato demo`")
    parser.add_argument("--network", default="swift-nano")
    parser.add_argument("--domains", nargs="+", choices=[*SIMPLE, TOGETHER], default=[TOGETHER, *SIMPLE])
    parser.add_argument("--seconds", type=float, default=90.0, help="of learning, a domain")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--episodes", type=int, default=10, help="of evaluation, a task")
    parser.add_argument("--folder", type=Path, default=Path("runs/domains"))
    parser.add_argument("--out", type=Path, required=True, help="JSON of all rows")
    parser.add_argument("--run", nargs=3, help=argparse.SUPPRESS)
    a = parser.parse_args()

    def path(domain: str, agent: str, seed: int) -> Path:
        return a.folder / f"{a.seconds:g}s-{a.episodes}" / f"{domain}-{agent}-{seed}.json"

    if a.run:
        domain, agent, seed = a.run
        run(domain, agent, int(seed), a.seconds, a.episodes, a.demo, path(domain, agent, int(seed)))
        return

    wanted = [(domain, agent, seed) for seed in a.seeds for domain in a.domains for agent in [a.network, *SIMPLE.get(domain, [])]]
    options = ["--seconds", str(a.seconds), "--episodes", str(a.episodes), "--folder", str(a.folder), "--out", str(a.out)]
    run_rows(__file__, wanted, path, options, [str(a.demo)])
    rows = [json.loads(file.read_text()) for file in sorted(path("", "", 0).parent.glob("*.json"))]
    a.out.parent.mkdir(parents=True, exist_ok=True)
    a.out.write_text(json.dumps({"seconds": a.seconds, "episodes": a.episodes, "rows": rows}, indent=1))
    print_table(rows, a.network)


if __name__ == "__main__":
    main()
