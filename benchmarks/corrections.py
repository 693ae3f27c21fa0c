"""Corrections against plain demonstrations, of equal episodes and equal training time: docs/corrections.md.

    OMP_NUM_THREADS=1 nice python benchmarks/corrections.py --out runs/corrections
    python benchmarks/corrections.py --out runs/corrections --gather

The first command runs what is not finished yet, one arm after the other on one core (--tasks and --seeds choose, so that several may run
beside one another); the second writes benchmarks/results/corrections.json and prints the table. What is missing is listed as missing.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from statistics import fmean
from typing import Any

from opengato.checkpoint import read_config
from opengato.dagger import Rounds, dagger
from opengato.domains import get_task

# Task -> episodes of every arm, and of its evaluation: as many as do not leave every arm knowing its episodes by heart (80 of BabyAI, an
# eighth of a second's training for each, do: a loss of 0.000, and scores of random agents).
TASKS = {
    "babyai/pickup-loc": (2000, 100),
    "babyai/go-to-local": (2000, 100),
    "metaworld/button-press-topdown": (40, 50),
    "dm-control/reacher-easy": (16, 20),
    "atari/freeway": (4, 4),
}
ARMS = {"demonstrations": 0, "one round": 1, "three rounds": 3}
RESULTS = Path(__file__).parent / "results" / "corrections.json"


def plan(task: str, arm: str, seed: int, seconds: float) -> Rounds:
    """An arm's share of the episodes and of the training goes to every part: the demonstrations, and each round."""
    (episodes, evaluation), parts = TASKS[task], ARMS[arm] + 1
    return Rounds(ARMS[arm], episodes // parts, episodes // parts, seconds / parts, evaluation=evaluation, seed=seed, workers=1)


def folder(out: Path, task: str, arm: str, seed: int) -> Path:
    return out / task.replace("/", "--") / arm.replace(" ", "-") / str(seed)


def gather(out: Path, seconds: float, seeds: list[int]) -> dict[str, Any]:
    """The raw results of every finished arm, and which are missing."""
    found, missing = [], []
    for task in TASKS:
        for arm, rounds in ARMS.items():
            for seed in seeds:
                done = [folder(out, task, arm, seed) / f"round-{number}" / "result.json" for number in range(rounds + 1)]
                if not done[-1].is_file():
                    missing.append({"task": task, "arm": arm, "seed": seed})
                    continue
                steps = [read_config(path.parent / "train" / "checkpoint")["facts"]["steps"] for path in done]
                rows = [json.loads(path.read_text()) for path in done]
                found.append({"task": task, "arm": arm, "seed": seed, "steps": steps, "rounds": rows})
    return {"seconds": seconds, "episodes": {task: n for task, (n, _) in TASKS.items()}, "results": found, "missing": missing}


def as_text(gathered: dict[str, Any]) -> str:
    """JSON with a line an arm: indented, its returns by seed are twenty thousand lines."""
    arms = ",\n".join(json.dumps(arm) for arm in gathered["results"])
    rest = json.dumps({name: value for name, value in gathered.items() if name != "results"})
    return f'{rest[:-1]}, "results": [\n{arms}\n]}}\n'


def table(gathered: dict[str, Any]) -> str:
    """Mean score of the last rounds, in per cent of the expert, and each seed's, with the steps that its training came to."""
    lines = ["| task | " + " | ".join(ARMS) + " |", "|---|" + "---|" * len(ARMS)]
    for task in TASKS:
        cells = []
        for arm in ARMS:
            rows = [r for r in gathered["results"] if (r["task"], r["arm"]) == (task, arm)]
            rows = [row for row in rows if task in row["rounds"][-1]["scores"]]
            scores = [row["rounds"][-1]["scores"][task]["score"] for row in rows]
            each = ", ".join(f"{score:.1f} after {sum(row['steps'])} steps" for score, row in zip(scores, rows))
            cells.append(f"{fmean(scores):.1f} ({each})" if scores else "missing")
        lines.append(f"| `{task}` | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("runs/corrections"))
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=list(TASKS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--seconds", type=float, default=80.0, help="of training, of every arm")
    parser.add_argument("--gather", action="store_true")
    chosen = parser.parse_args()
    if chosen.gather:
        gathered = gather(chosen.out, chosen.seconds, chosen.seeds)
        RESULTS.write_text(as_text(gathered))
        print(table(gathered))
        for lost in gathered["missing"]:
            print(f"missing: {lost['task']}, {lost['arm']}, seed {lost['seed']}")
        return
    for task in chosen.tasks:
        for seed in chosen.seeds:
            for arm in ARMS:
                where = folder(chosen.out, task, arm, seed)
                last = dagger([get_task(task)], plan(task, arm, seed, chosen.seconds), where, show=False)[-1]
                print(f"{task} {arm} seed {seed}: {last['scores'].get(task, {}).get('score')}", flush=True)


if __name__ == "__main__":
    main()
