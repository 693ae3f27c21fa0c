"""What a demonstration before an episode is worth, and how far back an agent should see.

    python benchmarks/prompts.py CHECKPOINT [--tasks PATTERN …] [--root FOLDER] [--episodes 10] [--every 1] [--folder runs/prompts]
        [--out FILE]

The same network at the same starts: after a demonstration of its task, after none, and after one of another task of the same spaces, where
the checkpoint has one; and, after none, with a memory of the last 64 or 16 timesteps that slides, and one that is emptied after so many
(section 2.5 of the paper: Transformer-XL's memory, or windows one after another). Where `--root` has demonstrations of a task, also after
the one of them that begins most like the episode: retrieved, as by REGENT (Sridhar et al. 2024), but once an episode. Scores between the
random agent and the expert, each at most 100, by domain.
`--every` takes every so many-th of the tasks. A process of one thread for each task; rows that are done are kept.
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
from opengato.collection import dataset_id
from opengato.datasets.open import open_dataset
from opengato.datasets.store import TokenDataset
from opengato.domains import Task, get_task, match_tasks
from opengato.episode import stack
from opengato.evaluation import agent
from opengato.evaluation.evaluate import score_of
from opengato.evaluation.rollout import rollout
from opengato.model.prompt import crop_prompt
from opengato.pretrained import agent_folder
from opengato.tokens.encode import Encoded, encode_timesteps
from opengato.tokens.layout import Layout
from opengato.tokens.statistics import decorrelate
from opengato.tokens.vocabulary import CONTINUOUS, IS_TARGET

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


def said(encoded: Encoded, layout: Layout) -> tuple[np.ndarray, set[tuple[int, ...]]]:
    """One timestep's observed numbers in units of their own, and all else that is observed: kind, place, rank and token of each."""
    seen = encoded.kinds < IS_TARGET
    numbers = encoded.kinds == CONTINUOUS
    columns = (encoded.kinds, encoded.local, np.arange(len(encoded.kinds)), encoded.tokens)
    others = {tuple(map(int, row)) for row in zip(*(column[seen & ~numbers] for column in columns))}
    return decorrelate(encoded.tokens[numbers], layout.statistics), others


class RetrievingActor(agent._EngineActor):
    """A checkpoint that reads, before each episode, the demonstration whose first observation is the nearest to its own."""

    data: TokenDataset

    def __init__(self, *arguments: Any, **options: Any):
        super().__init__(*arguments, **options)
        first = self.data.episodes[:-1]
        self._begins = [said(self.data.gather(np.array([at])), self._layout) for at in first]
        self._new: set[int] = set()

    def reset(self, slot: int, seed: int) -> None:
        super().reset(slot, seed)
        self._new.add(slot)

    def plan(self, observations: dict[int, Any], steps: int) -> dict[int, list[Any]]:
        for slot in self._new & set(observations):
            seen = encode_timesteps(self._layout, self._engine.tokenizer, stack([observations[slot]]), None, 1)
            numbers, others = said(seen, self._layout)
            apart = [float(((numbers - n) ** 2).sum()) + len(others ^ o) for n, o in self._begins]
            nearest = int(np.argmin(apart))
            shown = self.data.gather(np.arange(self.data.episodes[nearest], self.data.episodes[nearest + 1]))
            self._engine._slot(slot).prompt = crop_prompt(shown, self._engine.model.config)
            self._new.discard(slot)
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


def run(folder: str, name: str, episodes: int, root: Path | None, out: Path) -> None:
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
    if root is not None and (root / dataset_id(task)).is_dir():
        RetrievingActor.data = open_dataset(dataset_id(task), checkpoint.tokenizer, root)
        agent._EngineActor = RetrievingActor  # type: ignore[misc]
        found["the one that begins alike"] = measured(False)
        agent._EngineActor = acts  # type: ignore[misc]
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
    parser.add_argument("--root", type=Path, help="folder of Minari datasets")
    parser.add_argument("--episodes", type=int, default=10)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=Path("runs/prompts"))
    parser.add_argument("--out", type=Path, help="JSON of all rows")
    parser.add_argument("--run", nargs=1, help=argparse.SUPPRESS)
    a = parser.parse_args()

    def path(name: str) -> Path:
        return a.folder / f"{a.episodes}" / f"{name.replace('/', '--')}.json"

    if a.run:
        run(a.checkpoint, a.run[0], a.episodes, a.root, path(a.run[0]))
        return
    known = sorted(Checkpoint.load(agent_folder(a.checkpoint)).prompts)
    wanted = {task.id for task in match_tasks(a.tasks)} if a.tasks else set(known)
    rows = [(name,) for name in known if name in wanted][:: a.every]
    options = ["--episodes", str(a.episodes), "--folder", str(a.folder), *(["--root", str(a.root)] if a.root else [])]
    done = run_rows(__file__, rows, path, options, [a.checkpoint])
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
