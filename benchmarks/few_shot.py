"""Few demonstrations of a task that was held out, from several starts: Figure 9 of the paper (section 5.2), at our size.

    python benchmarks/few_shot.py --tasks metaworld/assembly … --starts "all data=generalist" "adapters=generalist+8" "from scratch="
        [--model swift-tiny] [--demonstrations 1 5 20] [--subsets 0 1 2] [--steps 150] [--points 1] [--episodes 20]
        [--rate RATE [--kind adamw]] [--noise 0.15] [--folder runs/few-shot] [--out FILE]

A start is a name and a checkpoint that has not seen the tasks, with +RANK trained by adapters of that rank; nothing after the = is fresh
weights of `--model`. Other sensors, whose spaces no checkpoint has seen: a task of Meta-World with @now is without the timestep before,
with @fields that in fields with names; a cart-pole with @flat is one vector in the order of Gymnasium's; a level of BabyAI with @narrow
is seen in a view of 5×5 cells in place of 7×7. They are read as a space that the checkpoint knows, where `opengato finetune` would read
them so; not by a start that ends in @new. With --steps 0 nothing is trained: the agent is shown the demonstration.

Every row is a training of its own on one core, as many at a time as there are cores: a task, a start, so many demonstrations of one of
several disjoint sets, so many steps of 1,024 positions. What has learned already is trained as `opengato finetune` does, unless `--rate`
and `--kind` say otherwise; fresh weights by the recipe of `swift-tiny`, Muon. Scored on the same evaluation starts, at equally many steps
from one point to the next. The table has the score at the end and, as the paper reports it, the best of all points; per cent between the
random agent and the expert, at most 100, over the sets. Rows that are done are kept.
"""

from __future__ import annotations

import argparse
import copy
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from rows import run_rows, write_row

from opengato.checkpoint import Checkpoint
from opengato.collection import collect, dataset_id
from opengato.datasets.dataset import Dataset, Stream
from opengato.datasets.minari import load_minari
from opengato.datasets.reading import Reading
from opengato.datasets.tokenise import tokenise
from opengato.datasets.viewed import Viewed
from opengato.domains import Task, get_task
from opengato.episode import Episode, map_leaves
from opengato.evaluation.evaluate import score_of
from opengato.evaluation.rollout import rollout
from opengato.layouts import same_observed
from opengato.model.config import preset
from opengato.model.gato import Gato
from opengato.pretrained import agent_folder
from opengato.recipes import finetune_recipe, recipe
from opengato.tokens.text import TextTokenizer
from opengato.training.loop import Trainer
from opengato.training.lora import add_adapters, merge_adapters
from opengato.training.optimiser import SWIFT
from opengato.training.train import make_checkpoint, make_model, make_trainer
from opengato.views.find import described, find_view

POSITIONS = 1024  # of a step
AS_NEW = "@new"
# Two that the paper holds out, a level next to those trained on, and five whose spaces no task of the generalist's has.
TASKS = """metaworld/assembly dm-control/cartpole-swingup babyai/put-next-s6n3 metaworld/assembly@now metaworld/assembly@fields
dm-control/cartpole-swingup@flat babyai/put-next-s6n3@narrow gymnasium-mujoco/reacher""".split()


def _numbers(count: int) -> spaces.Box:
    return spaces.Box(-np.inf, np.inf, (count,), np.float64)  # type: ignore[arg-type]


class Paused(Trainer):
    """A training that can be looked at on its way: it runs until the step `until` of those that its rates are planned for."""

    until = 0

    @property
    def finished(self) -> bool:
        return self.step >= self.until


def recordings(folder: Path, subset: int, count: int) -> Path:
    """Where so many demonstrations of a set lie: the first of it, whatever the count."""
    return folder / "data" / f"{subset}-{count}"


def first_seed(subset: int) -> int:
    """Of a set's episodes, so that no two sets share one: `collect` passes over the seeds of evaluation, 100,000 to 199,999."""
    return 1_000_000 * subset


NOW = np.r_[0:18, 36:39]  # of an observation of Meta-World: the hand, the objects and the goal; the others are those of the step before
NEAR = (slice(1, 6), slice(2, 7))  # of a view of 7×7 that MiniGrid gives, what is two steps away from the agent or less, and four ahead


def _array(leaf: Any) -> Any:
    """A leaf that may be lazy, as an array; texts stay as they are."""
    return leaf if isinstance(leaf, list) else np.asarray(leaf)


def _fields(seen: np.ndarray) -> dict[str, np.ndarray]:
    return {"hand": seen[..., :4], "objects": seen[..., 4:18], "goal": seen[..., 36:]}


def _flat(seen: dict[str, np.ndarray]) -> np.ndarray:
    place, velocity = seen["position"], seen["velocity"]
    return np.concatenate([place[..., :1], velocity[..., :1], place[..., 1:], velocity[..., 1:]], -1)


def _narrow_space(space: spaces.Space) -> spaces.Space:
    assert isinstance(space, spaces.Dict) and isinstance(space["image"], spaces.MultiDiscrete)
    return spaces.Dict({**space.spaces, "image": spaces.MultiDiscrete(space["image"].nvec[NEAR])})


def _narrow(seen: dict[str, Any]) -> dict[str, Any]:
    return {**seen, "image": seen["image"][(..., *NEAR, slice(None))]}


# What is seen in place of an observation: the space, given the task's, and what becomes of observations, of one or of many timesteps.
SIGHTS: dict[str, tuple[Callable[[spaces.Space], spaces.Space], Callable[[Any], Any]]] = {
    "now": (lambda _: _numbers(21), lambda seen: seen[..., NOW]),
    "fields": (lambda _: spaces.Dict(hand=_numbers(4), objects=_numbers(14), goal=_numbers(3)), _fields),
    "flat": (lambda _: _numbers(5), _flat),
    "narrow": (_narrow_space, _narrow),
}


class Otherwise(gym.ObservationWrapper):
    """An environment seen by other sensors."""

    def __init__(self, env: gym.Env, sight: str):
        super().__init__(env)
        space, self.seen = SIGHTS[sight]
        self.observation_space = space(env.observation_space)

    def observation(self, observation: Any) -> Any:
        return self.seen(observation)


def find_as(name: str, reading: Reading) -> tuple[Task, Dataset]:
    """A task, as its name's sight has it, and its demonstrations."""
    plain, _, sight = name.partition("@")
    task = get_task(plain)
    source = load_minari(dataset_id(task), reading.root)
    if not sight:
        return task, source
    (space_of, see), make = SIGHTS[sight], task.make_env
    space = space_of(task.observation_space)

    def read() -> Iterator[Episode]:
        for episode in source.episodes():
            yield replace(episode, observations=see(map_leaves(_array, episode.observations)))

    data = Stream(f"{source.name} {sight}", task.id, space, task.action_space, f"{source.fingerprint} {sight}", read)
    return replace(task, observation_space=space, make_env=lambda: Otherwise(make(), sight)), data


def begin(start: str, model: str) -> tuple[Gato, Checkpoint | None, int]:
    """The network to train, the checkpoint that it is of, and the rank of its adapters, 0 where there are none."""
    if not start:
        return make_model(preset(model), 1), None, 0
    name, _, rank = start.removesuffix(AS_NEW).partition("+")
    known = Checkpoint.load(agent_folder(name))
    fresh = Gato(replace(known.model.config, dropout=0.1))
    fresh.load_state_dict(known.model.float().state_dict())
    if rank:
        add_adapters(fresh, int(rank))
    return fresh, known, int(rank or 0)


def run(name: str, start: str, count: int, subset: int, a: argparse.Namespace, out: Path) -> None:
    """One row, in a process of its own."""
    torch.set_num_threads(1)
    network, known, rank = begin(start, a.model)
    tokenizer = known.tokenizer if known is not None else TextTokenizer.load()
    task, dataset = find_as(name, Reading(recordings(a.folder, subset, count)))
    if known is not None and task.id in known.layouts:
        raise SystemExit(f"{start} was trained on {task.id}: name a checkpoint that has not seen it")
    chosen, found = recipe("swift-tiny"), None
    if known is not None:
        new = same_observed(known.layouts, task.observation_space) is None
        found = find_view(known, dataset) if new and not start.endswith(AS_NEW) else None
        chosen = finetune_recipe(network.config.family, rank > 0, new=new and found is None)
        if a.rate is not None:
            tables = a.rate * SWIFT.table_learning_rate / SWIFT.learning_rate  # of Muon alone
            rates = {"kind": a.kind, "learning_rate": a.rate, "table_learning_rate": tables}
            chosen = replace(chosen, train=replace(chosen.train, optimiser=replace(chosen.train.optimiser, **rates)))
    data = tokenise(Viewed(dataset, found.layout) if found is not None else dataset, tokenizer)
    batch = max(1, POSITIONS // network.config.context)
    how = replace(chosen.train, steps=a.steps, seconds=None, seed=subset, batch=batch, workers=0, checkpoint_every=1e9)
    layouts = known.layouts if known is not None else None
    chosen = replace(chosen, train=how)
    trainer = make_trainer(network, [data], {task.domain: 1.0}, chosen, out.with_suffix(".run"), layouts)
    trainer.__class__ = Paused
    assert isinstance(trainer, Paused)
    points = []
    for point in range(1, a.points + 1):
        trainer.until = a.steps * point // a.points
        trainer.run(show=False)
        agent = merged(make_checkpoint(trainer, [data], tokenizer), rank)
        if found is not None:
            agent.layouts = {task.id: found.layout}
        played = rollout(agent, task, a.episodes)
        score = score_of(task, played).score
        won = None if played[0].success is None else float(np.mean([bool(r.success) for r in played]))
        points.append({"seconds": trainer.elapsed, "steps": trainer.step, "score": score, "success": won})
    row = {"task": name, "start": start, "demonstrations": count, "subset": subset, "points": points}
    if found is not None:
        row |= {"read_as": found.like, "view": described(found.layout)}
    write_row(row, out)


def merged(agent: Checkpoint, rank: int) -> Checkpoint:
    """The agent with its adapters part of its matrices; what is trained keeps them apart."""
    if rank:
        agent = replace(agent, model=copy.deepcopy(agent.model))
        merge_adapters(agent.model)
    return agent


def summary(rows: list[dict[str, Any]], of: Any) -> str:
    """Mean and 95% interval over the sets of what `of` takes of a row's scores."""
    found = [min(100.0, of([p["score"] for p in row["points"]])) for row in rows]
    if len(found) < 2:
        return "".join(f"{x:.0f}" for x in found)
    half = {2: 12.71, 3: 4.30, 4: 3.18, 5: 2.78}.get(len(found), 2.0) * float(np.std(found, ddof=1)) / len(found) ** 0.5  # Student's t
    return f"{np.mean(found):.0f} ± {half:.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", default=TASKS)
    parser.add_argument("--starts", nargs="+", default=["all data=generalist", "from scratch="])
    parser.add_argument("--model", default="swift-tiny")
    parser.add_argument("--demonstrations", nargs="+", type=int, default=[1, 5, 20])
    parser.add_argument("--subsets", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--points", type=int, default=1)
    parser.add_argument("--episodes", type=int, default=20)
    parser.add_argument("--kind", choices=["adamw", "muon"], default="adamw")
    parser.add_argument("--rate", type=float)
    parser.add_argument("--noise", type=float, default=0.15)
    parser.add_argument("--folder", type=Path, default=Path("runs/few-shot"))
    parser.add_argument("--out", type=Path, help="JSON of all rows")
    parser.add_argument("--run", nargs=4, help=argparse.SUPPRESS)
    a = parser.parse_args()
    starts = dict(start.split("=", 1) for start in a.starts)

    def path(task: str, start: str, count: int, subset: int) -> Path:
        named = next(name for name, checkpoint in starts.items() if checkpoint == start).replace(" ", "-")
        rate = f"-{a.kind}-{a.rate:g}" if start and a.rate is not None else ""
        return a.folder / f"rows-{a.steps}-{a.episodes}" / f"{task.replace('/', '--')}-{named}{rate}-{count}-{subset}.json"

    if a.run:
        task, start, count, subset = a.run[0], a.run[1], int(a.run[2]), int(a.run[3])
        run(task, start, count, subset, a, path(task, start, count, subset))
        return
    plain = {task.partition("@")[0] for task in a.tasks}
    for subset in a.subsets:
        for count in a.demonstrations:
            collect(
                [get_task(t) for t in sorted(plain)], count, recordings(a.folder, subset, count), seed=first_seed(subset), noise=a.noise
            )
            for task in a.tasks:
                tokenise(find_as(task, Reading(recordings(a.folder, subset, count)))[1], TextTokenizer.load())
    named = ["steps", "points", "episodes", "kind", "rate", "model", "folder"]
    options = [word for name in named if getattr(a, name) is not None for word in (f"--{name}", str(getattr(a, name)))]
    options += ["--starts", *a.starts]
    cells = [(t, s, n, k) for k in a.subsets for t in a.tasks for n in a.demonstrations for s in starts.values()]
    rows = run_rows(__file__, cells, path, options)
    if a.out:
        lines = ",\n  ".join(json.dumps(row) for row in rows)
        how = json.dumps({"steps": a.steps, "episodes": a.episodes, "kind": a.kind, "rate": a.rate})
        a.out.write_text(f'{how[:-1]}, "rows": [\n  {lines}\n]}}\n')
    print(
        "| task | demonstrations |" + "".join(f" {name}: end | best |" for name in starts) + "\n|---|---" + "|---" * 2 * len(starts) + "|"
    )
    for task in a.tasks:
        for count in a.demonstrations:
            cells_of = ""
            for start in starts.values():
                same = [r for r in rows if (r["task"], r["demonstrations"], r["start"]) == (task, count, start)]
                cells_of += f" {summary(same, lambda s: s[-1])} | {summary(same, max)} |" if same else " | |"
            print(f"| {task} | {count} |{cells_of}")


if __name__ == "__main__":
    main()
