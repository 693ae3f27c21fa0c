"""From experts to a report, in rounds: demonstrations first, then more of them, and corrections, where the agent falls short."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from opengato.atomic import write_text
from opengato.collection import collect, dataset_id
from opengato.console import notice
from opengato.datasets.minari import recorded_episodes
from opengato.datasets.open import SHIPPED
from opengato.domains import Task, get_task
from opengato.episode import is_relabelled
from opengato.errors import OpenGatoError
from opengato.generalist.plan import COLLECT, SHARES, Budget, Plan
from opengato.showcase import voice_of, word_scores
from opengato.stages import Clock, begun_with

_SOLVED = 90.0  # per cent of the expert: a task above it needs no more data
# A step's positions, or the recipe's if those are more: of hundreds of tasks a step should see many, and the optimiser's time, the same
# for a small step as for a large one, is then shared by more.
_POSITIONS = 4096


def generalist(
    plan: Plan,
    budget: Budget,
    out: Path,
    *,
    rounds: int = 1,
    recipe: str = "swift-tiny",
    data: Sequence[str] = tuple(SHIPPED),
    seed: int = 0,
    demonstrations_only: bool = False,
) -> dict[str, Any] | None:
    """Collect, train, evaluate and report; returns the last round's scores, as `out/round-N/scores.json` has them.

    The first round learns from demonstrations. Before every further one the tasks that are not solved get more of them, and where there
    are as many as the plan allows, the agent acts and the expert labels what it met; the same training then goes on with all there is,
    what is unsolved weighing more. What is finished is kept: an interrupted run goes on, and asked for more rounds it goes on from the
    last one.

    Args:
        plan, budget: of one round. recipe: of the model and its training. data: of words and pictures, as for `opengato train`.
        demonstrations_only: end with those of the last round that was asked for, to train elsewhere, and return None; a later round then
            needs the scores of the one before it, and has no corrections.

    Raises:
        OpenGatoError: where `out` was begun with other tasks, as another budget buys, or with other data, another recipe or seed.
    """
    if rounds < 1:
        raise OpenGatoError(f"rounds is {rounds}: give 1, for demonstrations alone, or more")
    tasks = [get_task(name) for name in plan.demonstrations]
    for task in tasks:
        if not task.available:
            task.make()  # says what to install
    out.mkdir(parents=True, exist_ok=True)
    begun_with(out / "plan.json", {"tasks": list(plan.demonstrations), "data": list(data), "recipe": recipe, "seed": seed})
    clock = Clock(out / "seconds.json")
    for number in range(rounds):
        folder = out / f"round-{number}"
        if (folder / "scores.json").is_file():
            continue
        before = out / f"round-{number - 1}" if number else None
        if demonstrations_only and number < rounds - 1:
            raise OpenGatoError(f"round {number + 1} needs the scores of the one before it: train and evaluate that one first")
        with clock(f"round {number}: collect"):
            if not (folder / "collected.json").is_file():
                if before is None:
                    _demonstrate(tasks, plan, budget, out / "data", seed)
                else:
                    _demonstrate_more(tasks, plan, budget, out / "data", before, number, seed, corrections=not demonstrations_only)
                write_text(folder / "collected.json", json.dumps({"hours": budget.hours, "cores": budget.cores}))
        if demonstrations_only:
            return None
        with clock(f"round {number}: train"):
            # Another seed every round: the same one would draw the same windows again.
            _train(tasks, plan, out, folder, before, seed + 1000 * number, recipe, data)
        with clock(f"round {number}: evaluate"):
            scores = _evaluate(tasks, plan, folder, seed)
        write_text(folder / "scores.json", json.dumps(scores | {"seconds": dict(clock.spent), "seed": seed, "model": recipe}, indent=1))
        _report(out, folder, recipe)
    found: dict[str, Any] = json.loads((out / f"round-{rounds - 1}" / "scores.json").read_text())
    return found


def _demonstrate(tasks: list[Task], plan: Plan, budget: Budget, data: Path, seed: int) -> None:
    """What the first round learns from."""
    collect(
        tasks,
        {task: d.episodes for task, d in plan.demonstrations.items()},
        data,
        workers=budget.cores,
        seed=1_000_000 * seed,
        noise={task: d.noise for task, d in plan.demonstrations.items()},
        time_budget_s={task: d.seconds for task, d in plan.demonstrations.items()},
    )


def _demonstrate_more(
    tasks: list[Task], plan: Plan, budget: Budget, data: Path, before: Path, number: int, seed: int, *, corrections: bool = True
) -> None:
    """What a later round learns from besides: of every unsolved task demonstrations, or corrections where there are enough of those."""
    from opengato.dagger import student_in
    from opengato.mixture.weights import by_gap

    scores = json.loads((before / "scores.json").read_text())
    most = {name: d.most for name, d in plan.demonstrations.items()}
    unsolved = [task for task in tasks if (scores["tasks"][task.id].get("score") or 0.0) < _SOLVED]
    enough = [task for task in unsolved if _demonstrated(task, data) >= most[task.id]]
    few = [task for task in unsolved if task not in enough]
    if not corrections:
        unsolved = few
    if not unsolved:
        notice("every task is solved, or has all its demonstrations: no more data")
        return
    gaps = by_gap(scores)
    level = budget.hours * 3600 * COLLECT * budget.cores / sum(gaps.get(task.id, 1.0) for task in unsolved)
    common: dict[str, Any] = {
        "out": data,
        "workers": budget.cores,
        "seed": 1_000_000 * seed,
        "time_budget_s": {task.id: level * gaps.get(task.id, 1.0) for task in unsolved},
    }
    if few:
        collect(few, most, noise={name: d.noise for name, d in plan.demonstrations.items()}, **common)
    if enough and corrections:
        collect(enough, most, student=student_in(before / "checkpoint", enough, round=number), **common)


def _demonstrated(task: Task, data: Path) -> int:
    """How many of a task's episodes are an expert's own."""
    return sum(not is_relabelled(by) for _, by, _ in recorded_episodes(data / dataset_id(task)))


def _train(
    tasks: list[Task], plan: Plan, out: Path, folder: Path, before: Path | None, seed: int, recipe_name: str, data: Sequence[str]
) -> None:
    from opengato.mixture.weights import by_gap
    from opengato.model.config import preset
    from opengato.recipes import HELD_OUT, recipe
    from opengato.training.train import train

    if (folder / "checkpoint" / "config.json").is_file():
        return
    ends = folder / "training.json"  # fixed once, so that an interrupted training ends where it would have
    if not ends.is_file():
        begun = json.loads((before / "training.json").read_text())["until"] if before else 0.0
        write_text(ends, json.dumps({"until": begun + plan.training}))
    chosen = recipe(recipe_name)
    until, batch = json.loads(ends.read_text())["until"], max(chosen.train.batch, _POSITIONS // preset(chosen.model).context)
    settings = replace(chosen.train, seed=seed, seconds=until, batch=batch, allow_changes=before is not None)
    chosen = replace(chosen, train=settings, weights=SHARES, held_out=HELD_OUT)
    gaps = by_gap(json.loads((before / "scores.json").read_text())) if before else None
    names = [dataset_id(task) for task in tasks]
    train(chosen, [*names, *data], out / "train", gaps=gaps, root=out / "data")
    (out / "train" / "checkpoint").replace(folder / "checkpoint")


def _evaluate(tasks: list[Task], plan: Plan, folder: Path, seed: int) -> dict[str, Any]:
    from opengato.checkpoint import Checkpoint
    from opengato.evaluation.evaluate import evaluate
    from opengato.evaluation.score import summarise
    from opengato.evaluation.words import held_out_nats

    found = evaluate(folder / "checkpoint", tasks, plan.rollouts, out=folder / "evaluation")
    agent = Checkpoint.load(folder / "checkpoint")
    return summarise(found.scores, found.unscored) | {
        "nats_a_token": held_out_nats(agent),
        "words": [asdict(row) for row in word_scores(agent, seed=seed)],
    }


def _report(out: Path, folder: Path, recipe_name: str) -> None:
    from opengato.checkpoint import Checkpoint
    from opengato.evaluation.language import Row
    from opengato.evaluation.report import write_report
    from opengato.evaluation.score import read_scores

    checkpoint = Checkpoint.load(folder / "checkpoint")
    found = json.loads((folder / "scores.json").read_text())
    write_report(
        out / "report.html",
        title="OpenGato, the generalist",
        scores=read_scores(found),
        losses=[json.loads(line) for line in (out / "train" / "log.jsonl").read_text().splitlines()],
        videos={},
        words=[Row(**row) for row in found["words"]],
        voices=[voice_of(checkpoint, "What it says", "Held-out pictures were never seen in training.")],
        facts={
            "model": f"{recipe_name}, {checkpoint.model.parameter_count():,} parameters, "
            f"{checkpoint.model.parameter_count(embeddings=False):,} outside the embeddings",
            "steps": str(checkpoint.facts.get("steps")),
            **{f"seconds of {stage}": f"{value:.0f}" for stage, value in found["seconds"].items()},
        },
    )
