"""Evaluate a checkpoint on tasks: rollouts at fixed seeds, scored against the stored references."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import torch

from opengato.checkpoint import Checkpoint
from opengato.domains import Task, match_tasks, tasks
from opengato.errors import OpenGatoError
from opengato.evaluation.rollout import BATCH, FIRST_SEED, Rollout, rollout
from opengato.evaluation.score import TaskScore, task_score
from opengato.workers import single_threaded, start_worker


def known_tasks(checkpoint: Checkpoint, patterns: list[str] | None) -> list[Task]:
    """The tasks that the patterns name, by default every task the checkpoint was trained on that has an environment."""
    if patterns:
        return match_tasks(patterns)
    known = [tasks()[name] for name in checkpoint.layouts if name in tasks()]
    if not known:
        raise OpenGatoError(f"this checkpoint knows no task with an environment, only {', '.join(checkpoint.layouts)}")
    return known


_checkpoint: Checkpoint  # of a worker process


def _start(folder: Path) -> None:
    global _checkpoint
    start_worker()
    torch.set_num_threads(1)
    _checkpoint = Checkpoint.load(folder)


def _run(task: str, seed: int, episodes: int, settings: dict[str, Any]) -> list[Rollout]:
    return rollout(_checkpoint, tasks()[task], episodes, seed=seed, **settings)


def evaluate(
    folder: Path,
    chosen: list[Task],
    episodes: int,
    *,
    batch: int = BATCH,
    temperature: float | None = None,
    prompt: bool = True,
    record: int = 0,
    workers: int | None = None,
    show: bool = True,
    finished: Callable[[TaskScore, list[Rollout]], None] | None = None,
) -> list[TaskScore]:
    """Score a checkpoint on each task over `episodes` episodes.

    Args:
        folder: of the checkpoint.
        batch, temperature, prompt, record: see `rollout`.
        workers: processes, default one a core. A job is a task and a batch of seeds; the scores do not depend on who runs it.
        finished: called with each task's score and rollouts as soon as they are there.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    references = {task.id: task.reference for task in chosen}  # a missing one stops here, before any work
    checkpoint = Checkpoint.load(folder)
    for task in chosen:
        if not task.available:
            task.make()  # says what to install
        checkpoint.layout(task.id, task.observation_space, task.action_space)
    del checkpoint
    settings: dict[str, Any] = {"batch": batch, "temperature": temperature, "prompt": prompt}
    done: dict[str, list[Rollout]] = {task.id: [] for task in chosen}
    scores: dict[str, TaskScore] = {}
    count = workers or os.cpu_count() or 1
    with (
        Progress(TextColumn("{task.description:32}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), disable=not show) as bar,
        single_threaded(),
        ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn"), initializer=_start, initargs=(folder,)) as pool,
    ):
        line = bar.add_task("evaluating", total=episodes * len(chosen))
        jobs: dict[Future[list[Rollout]], Task] = {}
        for task in chosen:
            for first in range(0, episodes, batch):
                recorded = max(0, min(record - first, batch))
                job = pool.submit(_run, task.id, FIRST_SEED + first, min(batch, episodes - first), {**settings, "record": recorded})
                jobs[job] = task
        try:
            for job in as_completed(jobs):
                task = jobs[job]
                rollouts = done[task.id]
                try:
                    rollouts += job.result()
                except BrokenProcessPool:  # one was killed, and with it all
                    raise OpenGatoError(
                        f"a worker process was killed while it evaluated {task.id!r}: is there memory for {count} of them? Try --workers 1"
                    ) from None
                bar.update(line, description=task.id, advance=len(job.result()))
                if len(rollouts) == episodes:
                    rollouts.sort(key=lambda r: r.seed)
                    returns, successes = [r.episode_return for r in rollouts], [r.success for r in rollouts]
                    scores[task.id] = task_score(task.id, returns, references[task.id].random, references[task.id].expert, successes)
                    if finished:
                        finished(scores[task.id], rollouts)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)  # an error or Ctrl-C must not wait for what has not begun
            raise
    return [scores[task.id] for task in chosen]


def print_scores(scores: list[TaskScore]) -> None:
    """A table on the terminal."""
    from rich.console import Console
    from rich.table import Table

    table = Table("task", "score %", "95% interval", "return", "random", "expert", "success", "n", box=None)
    for s in scores:
        table.add_row(
            s.task,
            f"{s.score:.1f}",
            f"{s.ci_low:.1f} … {s.ci_high:.1f}",
            f"{s.mean_return:.4g}",
            f"{s.random:.4g}",
            f"{s.expert:.4g}",
            "–" if s.success is None else f"{s.success:.0%}",
            str(s.n),
        )
    Console().print(table)
    print(f"mean score {sum(s.score for s in scores) / len(scores):.1f}% of the expert over {len(scores)} tasks")
