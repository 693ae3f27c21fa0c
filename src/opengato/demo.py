"""The whole road in one command: experts, episodes, tokens, one network, rollouts, scores, report."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from opengato.atomic import write_text
from opengato.collection import collect, dataset_id
from opengato.demo_mixture import DEMO_DATA, DEMO_EVALUATION_EPISODES, DEMO_MODEL, DEMO_TASKS, DEMO_WEIGHTS
from opengato.domains import get_task
from opengato.errors import OpenGatoError
from opengato.showcase import voice_of
from opengato.stages import Clock

_REPORT_SECONDS = 25.0
_COLLECT_SHARE, _EVALUATE_SHARE = 0.28, 0.12  # of the whole time; training has the rest


def demo(minutes: float, out: Path, seed: int = 0) -> dict[str, Any]:
    """Collect, train, evaluate and report within `minutes` on two cores; finished stages in `out` are kept.

    Returns what is written to scores.json.
    """
    from opengato.checkpoint import Checkpoint
    from opengato.evaluation.score import summarise

    started = time.monotonic()
    out.mkdir(parents=True, exist_ok=True)
    tasks = [get_task(d.task) for d in DEMO_TASKS]
    for task in tasks:
        if not task.available:
            raise OpenGatoError(f'the demo needs {task.requires!r}, which is not installed: pip install "opengato[demo]"')
    seconds = Clock(out / "seconds.json")
    total = minutes * 60
    with seconds("collect"):
        _collect(out, total * _COLLECT_SHARE, minutes / 15, seed)
    left = total - seconds.spent["collect"] - total * _EVALUATE_SHARE - _REPORT_SECONDS
    with seconds("train"):
        _train(out, max(left, 30.0), seed)
    with seconds("evaluate"):
        scores, unscored = _evaluate(out, max(DEMO_EVALUATION_EPISODES, round(DEMO_EVALUATION_EPISODES * minutes / 15)))
    with seconds("report"):
        summary = {**summarise(scores, unscored), "seconds": {**seconds.spent}, "minutes": minutes, "seed": seed, "model": DEMO_MODEL}
        write_text(out / "scores.json", json.dumps(summary, indent=1))
        _report(Checkpoint.load(out / "checkpoint"), out, scores, unscored, minutes, seconds.spent)
    print(
        f"\nmean score {summary['mean_score']:.1f}% of the expert over {len(scores)} control tasks, "
        f"{(time.monotonic() - started) / 60:.1f} minutes\n{out / 'report.html'}"
    )
    return summary


def _collect(out: Path, seconds: float, scale: float, seed: int) -> None:
    done = out / "data" / "collected.json"
    if done.is_file():
        return
    # The tasks' own allowances are for two cores and 15 minutes; a slower machine or a shorter demo gets its share of them.
    cores = os.cpu_count() or 1
    allowance = min(1.0, seconds * cores / (scale * sum(d.seconds for d in DEMO_TASKS)))
    collect(
        [get_task(d.task) for d in DEMO_TASKS],
        {d.task: max(4, round(d.episodes * scale)) for d in DEMO_TASKS},
        out / "data",
        seed=seed,
        noise={d.task: d.noise for d in DEMO_TASKS},
        time_budget_s={d.task: d.seconds * scale * allowance for d in DEMO_TASKS},
    )
    write_text(done, json.dumps({"scale": scale}))


def _train(out: Path, seconds: float, seed: int) -> None:
    from opengato.datasets.open import open_datasets
    from opengato.model.config import preset
    from opengato.recipes import recipe
    from opengato.tokens.text import TextTokenizer
    from opengato.training.train import make_checkpoint, make_model, make_trainer

    started = time.monotonic()
    tokenizer = TextTokenizer.load()
    names = [dataset_id(get_task(d.task)) for d in DEMO_TASKS]
    datasets = open_datasets([*names, *DEMO_DATA], tokenizer, out / "data", out / "cache")
    plan = out / "train" / "seconds.json"
    if not plan.is_file():  # fixed once, so that an interrupted run ends where it would have
        plan.parent.mkdir(exist_ok=True)
        write_text(plan, json.dumps(max(seconds - (time.monotonic() - started), 20.0)))
    chosen = recipe(DEMO_MODEL)
    chosen = replace(chosen, train=replace(chosen.train, seed=seed, seconds=json.loads(plan.read_text())))
    trainer = make_trainer(make_model(preset(chosen.model), seed), datasets, DEMO_WEIGHTS, chosen, out / "train")
    if not trainer.finished:
        trainer.run()
    if not (out / "checkpoint" / "config.json").is_file():
        trainer.model.eval()
        make_checkpoint(trainer, datasets, tokenizer).save(out / "checkpoint")


def _evaluate(out: Path, episodes: int) -> tuple[list[Any], dict[str, dict[int, str]]]:
    from opengato.evaluation.evaluate import evaluate
    from opengato.evaluation.score import TaskScore
    from opengato.evaluation.video import encode_mp4

    folder = out / "evaluation"
    folder.mkdir(exist_ok=True)

    def path(task: str) -> Path:
        return folder / f"{task.replace('/', '--')}.json"

    def keep(score: TaskScore, rollouts: list[Any]) -> None:
        if rollouts[0].frames:
            path(score.task).with_suffix(".mp4").write_bytes(encode_mp4(rollouts[0].frames, 20))
        write_text(path(score.task), json.dumps(score.to_json()))

    waiting = [get_task(d.task) for d in DEMO_TASKS if not path(d.task).is_file()]
    unscored = {}
    if waiting:
        unscored = evaluate(out / "checkpoint", waiting[::-1], episodes, record=1, out=folder / "episodes", finished=keep).unscored
    scored = [d.task for d in DEMO_TASKS if d.task not in unscored]
    return [TaskScore.from_json(task, json.loads(path(task).read_text())) for task in scored], unscored


def _report(
    checkpoint: Any, out: Path, scores: list[Any], unscored: dict[str, dict[int, str]], minutes: float, seconds: dict[str, float]
) -> None:
    from opengato.evaluation.report import write_report

    losses = [json.loads(line) for line in (out / "train" / "log.jsonl").read_text().splitlines()]
    videos = {d.task: path.read_bytes() for d in DEMO_TASKS if (path := out / "evaluation" / f"{d.task.replace('/', '--')}.mp4").is_file()}
    facts = {
        "model": f"{DEMO_MODEL}, {checkpoint.model.parameter_count():,} parameters, "
        f"{checkpoint.model.parameter_count(embeddings=False):,} outside the embeddings",
        "command": f"opengato demo --minutes {minutes:g} --out {out.name}",
        "steps": str(checkpoint.facts.get("steps")),
        "timesteps a second in training": f"{np.mean([r['timesteps_per_s'] for r in losses]):,.0f}",
        **{f"seconds to {stage}": f"{value:.0f}" for stage, value in seconds.items()},
        "prompting": f"every episode begins with {checkpoint.model.config.moments} moments of a demonstration of its task",
        "text": "State of the Union addresses; dialogue: chit-chat between two people; captions: Noto Emoji and their names",
    }
    write_report(
        out / "report.html",
        title="OpenGato demo",
        scores=scores,
        unscored=unscored,
        losses=losses,
        videos=videos,
        voices=[
            voice_of(checkpoint, "What it says", "Pictures that are held out were never seen in training."),
        ],
        facts=facts,
    )
