"""What a demonstration before an episode is worth, and how far back an agent should see.

    python benchmarks/prompts.py CHECKPOINT [--tasks PATTERN …] [--episodes 10] [--every 1] [--folder runs/prompts] [--out FILE]

The same network at the same starts: after a demonstration of its task, after none, and after one of another task of the same spaces, where
the checkpoint has one; and, after none, with a memory of the last 64 or 16 timesteps that slides, and one that is emptied after so many
(section 2.5 of the paper: Transformer-XL's memory, or windows one after another). Scores between the random agent and the expert, each at
most 100, by domain. `--every` takes every so many-th of the tasks. A process of one thread for each task; rows that are done are kept.
"""

from __future__ import annotations

import argparse
import json
import random
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rows import run_rows, write_row

from opengato.checkpoint import Checkpoint
from opengato.domains import Task, get_task, match_tasks
from opengato.evaluation import agent
from opengato.evaluation.evaluate import score_of
from opengato.evaluation.rollout import rollout
from opengato.pretrained import agent_folder

MEMORIES = (64, 16)


class EmptiedActor(agent._EngineActor):
    """A checkpoint whose memory is emptied after so many timesteps of a slot."""

    timesteps = 0

    def reset(self, slot: int, seed: int) -> None:
        super().reset(slot, seed)
        self._seen = {**getattr(self, "_seen", {}), slot: 0}

    def plan(self, observations: dict[int, Any], steps: int) -> dict[int, list[Any]]:
        for slot in observations:
            if self._seen[slot] and self._seen[slot] % self.timesteps == 0:
                self._engine.memory.reset(slot)
            self._seen[slot] += 1
        return super().plan(observations, steps)


def stranger(checkpoint: Checkpoint, task: Task) -> str | None:
    """Another task of the same domain and layout that has a prompt, always the same one."""
    mine = checkpoint.layouts[task.id].to_json()
    others = sorted(
        name
        for name in checkpoint.prompts
        if name != task.id and name.split("/")[0] == task.domain and checkpoint.layouts[name].to_json() == mine
    )
    return random.Random(task.id).choice(others) if others else None


def run(folder: str, name: str, episodes: int, out: Path) -> None:
    """One row, in a process of its own."""
    torch.set_num_threads(1)
    checkpoint, task = Checkpoint.load(agent_folder(folder)), get_task(name)

    def measured(prompt: bool) -> float:
        """Score, at most 100."""
        score = score_of(task, rollout(checkpoint, task, episodes, prompt=prompt)).score
        return float("nan") if score is None else min(100.0, score)

    found = {"its own": measured(True), "none": measured(False)}
    if other := stranger(checkpoint, task):
        own = checkpoint.prompts[task.id]
        checkpoint.prompts[task.id] = checkpoint.prompts[other]
        found["another task's"] = measured(True)
        checkpoint.prompts[task.id] = own
    context, acts = checkpoint.model.config.context, agent._EngineActor
    for size in MEMORIES:
        checkpoint.model.config = replace(checkpoint.model.config, context=size)
        found[f"none, the last {size}"] = measured(False)
        checkpoint.model.config = replace(checkpoint.model.config, context=context)
        EmptiedActor.timesteps = size
        agent._EngineActor = EmptiedActor  # type: ignore[misc]
        found[f"none, emptied after {size}"] = measured(False)
        agent._EngineActor = acts  # type: ignore[misc]
    write_row({"task": task.id, "domain": task.domain, "episodes": episodes, "other": other, "scores": found}, out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("--tasks", nargs="+", help="default: all that the checkpoint has a demonstration of")
    parser.add_argument("--episodes", type=int, default=10)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=Path("runs/prompts"))
    parser.add_argument("--out", type=Path, help="JSON of all rows")
    parser.add_argument("--run", nargs=1, help=argparse.SUPPRESS)
    a = parser.parse_args()

    def path(name: str) -> Path:
        return a.folder / f"{a.episodes}" / f"{name.replace('/', '--')}.json"

    if a.run:
        run(a.checkpoint, a.run[0], a.episodes, path(a.run[0]))
        return
    known = sorted(Checkpoint.load(agent_folder(a.checkpoint)).prompts)
    wanted = {task.id for task in match_tasks(a.tasks)} if a.tasks else set(known)
    rows = [(name,) for name in known if name in wanted][:: a.every]
    done = run_rows(__file__, rows, path, ["--episodes", str(a.episodes), "--folder", str(a.folder)], [a.checkpoint])
    if a.out:
        lines = ",\n  ".join(json.dumps(row) for row in done)
        a.out.write_text(f'{{"checkpoint": "{a.checkpoint}", "episodes": {a.episodes}, "rows": [\n  {lines}\n]}}\n')
    domains = defaultdict(list)
    for row in done:
        domains[row["domain"]].append(row["scores"])
    columns = list(dict.fromkeys(name for row in done for name in row["scores"]))
    print("| domain | tasks | " + " | ".join(columns) + " |\n|---|---" + "|---" * len(columns) + "|")
    for domain, rows_of in [*sorted(domains.items()), ("all", [row["scores"] for row in done])]:
        cells = (np.nanmean([scores[c] for scores in rows_of if c in scores] or [np.nan]) for c in columns)
        print(f"| {domain} | {len(rows_of)} | " + " | ".join("" if np.isnan(cell) else f"{cell:.0f}" for cell in cells) + " |")


if __name__ == "__main__":
    main()
