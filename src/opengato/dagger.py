"""Rounds of corrections (DAgger, Ross et al. 2011): the student acts, the expert labels, the student learns from all there is."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from opengato.atomic import write_text
from opengato.collection import Acting, Student, collect, dataset_id
from opengato.domains import Task
from opengato.errors import OpenGatoError
from opengato.stages import begun_with


def _acting(folder: Path, task: Task, slots: int) -> Acting:
    import torch

    from opengato.evaluation.agent import Steady, load_agent

    torch.set_num_threads(1)  # collection runs one process a core
    return Steady(load_agent(folder), task, slots)


def student_in(folder: Path, tasks: Sequence[Task], beta: float = 0.0, round: int = 1) -> Student:
    """The agent in a folder, a checkpoint or a baseline, as who acts in `collect`.

    Raises OpenGatoError where there is none, and where it does not know one of the tasks.
    """
    from opengato.evaluation.agent import load_agent
    from opengato.evaluation.results import settings_of

    agent = load_agent(folder)
    for task in tasks:
        agent.layout(task.id, task.observation_space, task.action_space)
    # Of its files, and how often it yields: episodes of a round are all alike.
    return Student(partial(_acting, folder.absolute()), beta, round, f"{settings_of(folder)['agent'][:16]}-{beta:g}")


@dataclass(frozen=True)
class Rounds:
    """What is spent, and how.

    Attributes:
        rounds: of corrections, after the first training on demonstrations alone, which is round 0.
        demonstrations, corrections: episodes of each task, before the first round and in every round.
        seconds: of training, in every round, round 0 included.
        beta: chance of the expert's action, see `Student`.
        evaluation: episodes of each task after every round. budget: seconds after which no new round begins; None: no end but `rounds`.
        recipe: of the model and its training. seed: of everything random. workers: processes; None: one a core.
    """

    rounds: int = 3
    demonstrations: int = 100
    corrections: int = 50
    seconds: float = 300.0
    beta: float = 0.0
    evaluation: int = 50
    budget: float | None = None
    recipe: str = "swift-nano"
    seed: int = 0
    workers: int | None = None

    def __post_init__(self) -> None:
        for name in ("demonstrations", "corrections", "seconds", "evaluation"):
            if getattr(self, name) <= 0:
                raise OpenGatoError(f"{name} is {getattr(self, name)}: give more than 0")
        if self.rounds < 0:
            raise OpenGatoError(f"rounds is {self.rounds}: give 0, for demonstrations alone, or more")


def dagger(tasks: list[Task], plan: Rounds, out: Path, show: bool = True) -> list[dict[str, Any]]:
    """Collect, train, evaluate, again and again; returns what `out/round-N/result.json` says of every finished round.

    A round is a folder with the run, its `train/checkpoint`, and the evaluation; all episodes are in `out/data`. Every round's training
    begins with the weights of the last one, on demonstrations and all corrections so far. What is finished is not done again, and a
    training that was interrupted goes on; with more rounds or a larger budget the same folder is gone on with.

    Raises:
        OpenGatoError: where `out` was begun with another plan or other tasks.
    """
    out.mkdir(parents=True, exist_ok=True)
    # How long it goes on may change, and where it runs; nothing else.
    fixed = {k: v for k, v in vars(plan).items() if k not in ("rounds", "budget", "workers")} | {"tasks": [t.id for t in tasks]}
    begun_with(out / "plan.json", fixed)
    results: list[dict[str, Any]] = []
    for number in range(plan.rounds + 1):
        path = out / f"round-{number}" / "result.json"
        if not path.is_file():
            spent = sum(result["seconds"] for result in results)
            if results and plan.budget is not None and spent >= plan.budget:
                break
            write_text(path, json.dumps(_round(tasks, plan, out, number, show), indent=1))
        results.append(json.loads(path.read_text()))
    return results


def _round(tasks: list[Task], plan: Rounds, out: Path, number: int, show: bool) -> dict[str, Any]:
    """One round; each of its stages is kept once it is finished, with the seconds it took."""
    from opengato.evaluation.evaluate import evaluate

    folder, data = out / f"round-{number}", out / "data"
    before = out / f"round-{number - 1}" / "train" / "checkpoint"
    began = time.monotonic()
    if not (folder / "collected.json").is_file():
        student = student_in(before, tasks, plan.beta, number) if number else None
        episodes = plan.corrections if number else plan.demonstrations
        collect(tasks, episodes, data, workers=plan.workers, seed=1_000_000 * plan.seed, progress=show, student=student)
        write_text(folder / "collected.json", json.dumps({"seconds": time.monotonic() - began}, indent=1))
    checkpoint = folder / "train" / "checkpoint"
    began = time.monotonic()
    if not (folder / "trained.json").is_file():
        _train(tasks, plan, data, folder / "train", before if number else None, number)
        write_text(folder / "trained.json", json.dumps({"seconds": time.monotonic() - began}, indent=1))
    began = time.monotonic()
    found = evaluate(checkpoint, tasks, plan.evaluation, workers=plan.workers, out=folder / "evaluation", show=show)
    spent = {stage: json.loads((folder / f"{stage}.json").read_text())["seconds"] for stage in ("collected", "trained")}
    spent["evaluated"] = time.monotonic() - began
    return {
        "round": number,
        "scores": {score.task: score.to_json() for score in found.scores},
        "unscored": found.unscored,
        "stages": spent,
        "seconds": sum(spent.values()),
    }


def _train(tasks: list[Task], plan: Rounds, data: Path, out: Path, start: Path | None, number: int) -> None:
    from opengato.recipes import recipe
    from opengato.training.train import finetune, train

    chosen = recipe(plan.recipe)
    # Another seed every round: the same one would draw the same windows of the demonstrations again.
    settings = replace(chosen.train, seconds=plan.seconds, seed=plan.seed + 1000 * number)
    chosen, names = replace(chosen, train=settings), [dataset_id(task) for task in tasks]
    if start is None:
        train(chosen, names, out, root=data, keep_held_out=True)
    else:
        finetune(start, chosen, names, out, dropout=0.0, root=data)
