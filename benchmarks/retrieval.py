"""Demonstrations retrieved by timestep (REGENT's way: Sridhar et al. 2024), with and without training on the task they are of.

    python benchmarks/retrieval.py [--seconds 60] [--episodes 10] [--seeds 0 1 2] [--folder runs/ablate] [--out FILE]

Meta-World, 60 demonstrations a task with 15% random actions, those of `ablate.py`. The agent sees, beside its observation, the four
timesteps of the task's demonstrations that look most alike: what was done, by how much hand, objects and goal differ, how far they are. In
training they are of other episodes. `swift-nano`, so many seconds of one core a row, success at the seeds of evaluation.

`fifty`: all tasks are trained on. `five held out`: ML45's test tasks are not, and their demonstrations are only looked at, by the network
or, in a row without one, by itself: the mean of the four actions. Rows that are done are kept.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from rows import run_rows, write_row

from opengato.collection import collect, dataset_id
from opengato.datasets.dataset import Stream
from opengato.datasets.minari import load_minari
from opengato.datasets.open import open_dataset
from opengato.datasets.store import TokenDataset
from opengato.datasets.tokenise import tokenise
from opengato.domains import Task, get_task
from opengato.domains.metaworld import NAMES
from opengato.domains.starts import evaluation_seeds
from opengato.episode import Episode
from opengato.evaluation.rollout import rollout
from opengato.layouts import new_layout
from opengato.recipes import recipe
from opengato.tokens.text import TextTokenizer
from opengato.training.train import best_prompts, make_checkpoint, make_model, make_trainer, preset

TASKS = [f"metaworld/{name}" for name in NAMES]
ML45_TEST = [f"metaworld/{name}" for name in ("bin-picking", "box-close", "door-lock", "door-unlock", "hand-insert")]
NEAREST = 4
NOW = np.r_[0:18, 36:39]  # the hand, the objects and the goal; the others are those of the step before
PARTS = ("fifty", "five held out")
ROWS = ["not seen", "seen", "averaged, no network"]


class Memory:
    """The demonstrations of one task, asked for the timesteps that look most like an observation."""

    def __init__(self, episodes: list[Episode]):
        self.seen = np.concatenate([e.observations for e in episodes])
        self.done = np.concatenate([e.actions for e in episodes])
        self.of = np.repeat(np.arange(len(episodes)), [len(e) for e in episodes])
        self.scale = 1 / np.maximum(self.seen.std(0), 1e-3)
        self.scaled = self.seen * self.scale
        self.squares = (self.scaled**2).sum(1)

    def nearest(self, observation: np.ndarray, episode: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Rows (NEAREST,) of other episodes than `episode`, the nearest first, and their distances a number."""
        scaled = observation * self.scale
        distances = self.squares - 2 * self.scaled @ scaled + (scaled**2).sum()
        if episode is not None:
            distances[self.of == episode] = np.inf
        rows = np.argpartition(distances, NEAREST)[:NEAREST]
        rows = rows[np.argsort(distances[rows], kind="stable")]
        return rows, np.sqrt(np.maximum(distances[rows], 0) / len(scaled))

    def with_nearest(self, observation: np.ndarray, episode: int | None = None) -> np.ndarray:
        """The observation, followed by what each of the nearest timesteps says."""
        rows, distances = self.nearest(observation, episode)
        differences = (self.seen[rows] - observation)[:, NOW]
        return np.concatenate([observation, np.column_stack([self.done[rows], differences, distances]).ravel()])


class Recalling(gym.ObservationWrapper):
    """An environment whose observation has what the memory says beside it."""

    def __init__(self, env: gym.Env, memory: Memory):
        super().__init__(env)
        self.memory, self.observation_space = memory, wider(env.observation_space)

    def observation(self, observation: np.ndarray) -> np.ndarray:
        return self.memory.with_nearest(observation)


def wider(space: spaces.Space) -> spaces.Box:
    """The space of `Memory.with_nearest`."""
    return spaces.Box(-np.inf, np.inf, (space.shape[0] + NEAREST * (4 + len(NOW) + 1),), np.float64)  # type: ignore[index,arg-type]


def recalling(task: Task, memory: Memory) -> Task:
    """The task with the memory in sight."""
    make = task.make_env
    return replace(task, observation_space=wider(task.observation_space), make_env=lambda: Recalling(make(), memory))


def demonstrations(task: Task, folder: Path) -> list[Episode]:
    return list(load_minari(dataset_id(task), folder / "data").episodes())


def open_seeing(name: str, folder: Path, tokenizer: TextTokenizer) -> TokenDataset:
    """The task's demonstrations, each timestep with its nearest of other episodes."""
    task, source = get_task(name), load_minari(dataset_id(get_task(name)), folder / "data")

    def read() -> Iterator[Episode]:
        memory = Memory(list(source.episodes()))
        for number, e in enumerate(source.episodes()):
            yield replace(e, observations=np.stack([memory.with_nearest(o, number) for o in np.asarray(e.observations)]))

    mark = f"{source.fingerprint}, {NEAREST} nearest"
    data = Stream(f"{source.name}, {NEAREST} nearest", task.id, wider(task.observation_space), task.action_space, mark, read)
    return tokenise(data, tokenizer, folder / "retrieval")


def open_as(name: str, seeing: bool, folder: Path, tokenizer: TextTokenizer) -> TokenDataset:
    if seeing:
        return open_seeing(name, folder, tokenizer)
    return open_dataset(dataset_id(get_task(name)), tokenizer, folder / "data", folder / "cache")


def averaged(task: Task, memory: Memory, episodes: int) -> float:
    """Success of the mean of the nearest actions."""
    won = []
    env = task.make_env()
    for seed in evaluation_seeds(task, episodes):
        observation, info = env.reset(seed=seed)
        ended = False
        while not ended:
            rows, _ = memory.nearest(observation)
            observation, _, terminated, truncated, info = env.step(memory.done[rows].mean(0).astype(np.float32))
            ended = terminated or truncated
        won.append(bool(info["success"]))
    return float(np.mean(won))


def run(name: str, part: str, seed: int, a: argparse.Namespace, out: Path) -> None:
    """One row, in a process of its own."""
    torch.set_num_threads(1)
    tokenizer = TextTokenizer.load()
    trained = TASKS if part == "fifty" else [t for t in TASKS if t not in ML45_TEST]
    played = TASKS if part == "fifty" else ML45_TEST
    found: dict[str, float] = {}
    steps = 0
    if name == ROWS[2]:
        for task in map(get_task, played):
            found[task.id] = 100 * averaged(task, Memory(demonstrations(task, a.folder)), a.episodes)
    else:
        seeing = name == ROWS[1]
        opened = {t: open_as(t, seeing, a.folder, tokenizer) for t in TASKS}
        chosen = recipe("swift-nano")
        chosen = replace(chosen, train=replace(chosen.train, seconds=a.seconds, seed=seed, checkpoint_every=1e9))
        data = [opened[t] for t in trained]
        trainer = make_trainer(make_model(preset("swift-nano"), seed), data, {"metaworld": 1.0}, chosen, out.with_suffix(".run"))
        trainer.run(show=False)
        steps = trainer.step
        agent = make_checkpoint(trainer, data, tokenizer)
        for t in set(played) - set(trained):  # as `opengato eval --demonstrations` would: numbers measured alike, one demonstration to read
            agent.layouts[t] = new_layout(agent.layouts, t, opened[t].layout.observation_space, opened[t].layout.action_space)
            agent.prompts |= best_prompts([opened[t]], agent.model.config)
        for task in map(get_task, played):
            made = recalling(task, Memory(demonstrations(task, a.folder))) if seeing else task
            found[task.id] = 100 * float(np.mean([bool(r.success) for r in rollout(agent, made, a.episodes)]))
    mean = float(np.mean(list(found.values())))
    write_row({"row": name, "part": part, "seed": seed, "steps": steps, "mean": mean, "tasks": found}, out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--episodes", type=int, default=10)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--folder", type=Path, default=Path("runs/ablate"))
    parser.add_argument("--out", type=Path, help="JSON of all rows")
    parser.add_argument("--run", nargs=3, help=argparse.SUPPRESS)
    a = parser.parse_args()

    def path(name: str, part: str, seed: int) -> Path:
        named = re.sub("[^a-z0-9]+", "-", f"{part} {name}")
        return a.folder / f"retrieval-{a.seconds:g}s-{a.episodes}" / f"{named}-{seed}.json"

    if a.run:
        name, part, seed = a.run
        run(name, part, int(seed), a, path(name, part, int(seed)))
        return
    tokenizer = TextTokenizer.load()
    missing = [get_task(t) for t in TASKS if not (a.folder / "data" / dataset_id(get_task(t))).is_dir()]
    if missing:
        collect(missing, 60, a.folder / "data", noise=0.15)
    for t in TASKS:  # tokenised once, not by two rows at a time
        for seeing in (False, True):
            open_as(t, seeing, a.folder, tokenizer)
    cells = [(name, part, seed) for seed in a.seeds for part in PARTS for name in ROWS if name != ROWS[2] or seed == a.seeds[0]]
    options = ["--seconds", str(a.seconds), "--episodes", str(a.episodes), "--folder", str(a.folder)]
    done = run_rows(__file__, cells, path, options)
    if a.out:
        lines = ",\n  ".join(json.dumps(row) for row in done)
        a.out.write_text(f'{{"seconds": {a.seconds}, "episodes": {a.episodes}, "rows": [\n  {lines}\n]}}\n')
    print("| nearest timesteps | " + " | ".join(PARTS) + " |\n|---" + "|---" * len(PARTS) + "|")
    for name in ROWS:
        means = [" ".join(f"{r['mean']:.0f}" for r in done if (r["row"], r["part"]) == (name, part)) for part in PARTS]
        print(f"| {name} | " + " | ".join(means) + " |")


if __name__ == "__main__":
    main()
