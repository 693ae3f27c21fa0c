"""Evaluate an agent on tasks: rollouts at fixed seeds, scored against the stored references."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from opengato.domains import Task, match_tasks, tasks
from opengato.domains.task import reference_scores
from opengato.errors import OpenGatoError
from opengato.evaluation.agent import Agent, agent_files, load_agent
from opengato.evaluation.rollout import BATCH, FIRST_SEED, Rollout, rollouts
from opengato.evaluation.score import TaskScore, describe_failures, number, scored, task_score
from opengato.jobs import TIMEOUT_S, Job, Workers
from opengato.model.precision import Precision


def known_tasks(agent: Agent, patterns: list[str] | None) -> list[Task]:
    """The tasks that the patterns name, by default every task the agent was trained on that has an environment."""
    if patterns:
        return match_tasks(patterns)
    known = [tasks()[name] for name in agent.layouts if name in tasks()]
    if not known:
        raise OpenGatoError(f"this checkpoint knows no task with an environment, only {', '.join(agent.layouts)}")
    return known


_agent: Agent  # of a worker process


def _start(folder: Path, precision: Precision) -> None:
    global _agent
    torch.set_num_threads(1)
    _agent = load_agent(folder, precision)


def _start_from(files: dict[str, bytes], precision: Precision) -> None:
    """On another machine: the agent has travelled, and is a folder for as long as it takes to load it."""
    with tempfile.TemporaryDirectory(prefix="opengato-") as folder:
        for name, content in files.items():
            (Path(folder) / name).write_bytes(content)
        _start(Path(folder), precision)


def _work(task: Task, settings: dict[str, Any], seeds: tuple[int, ...]) -> Iterator[Any]:
    return rollouts(_agent, task, seeds, **settings)


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found.

    Attributes:
        scores: of every task with a finished episode, in the order they were asked for.
        unscored: task -> (seed -> reason) of those where every episode failed.
    """

    scores: list[TaskScore]
    unscored: dict[str, dict[int, str]]


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
    timeout_s: float = TIMEOUT_S,
    ray: str | None = None,
    precision: Precision = "float32",
    show: bool = True,
    finished: Callable[[TaskScore, list[Rollout]], None] | None = None,
) -> Evaluation:
    """Score an agent on each task over `episodes` episodes at fixed seeds.

    An episode whose simulator raises, takes too long or takes its process down is tried once more, alone. Then its seed is reported as
    failed, and the score is that of the others. A task without stored references gets its return and success, and no score.

    Args:
        folder: of a checkpoint or a baseline.
        batch: environments stepped together in a process. temperature, prompt: see `rollouts`.
        record: keep frames of this many episodes of each task, from the first seed.
        workers: processes; default: one a core, of this machine or the cluster.
        timeout_s: what an episode may take; a process in which for as long no simulator finished a step is killed.
        ray: the address of a Ray cluster to run on, to which the agent is sent.
        precision: of the weights; with fewer bits than they were trained with, results may depend on the batch.
        finished: called with each task's score and rollouts, by seed, as soon as they are there.

    Raises:
        OpenGatoError: before any work, where a task is unknown to the agent or is not installed.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    if episodes < 1 or batch < 1:
        raise OpenGatoError(f"episodes is {episodes} and batch {batch}: ask for 1 or more of each")
    references = {task.id: task.reference if task.id in reference_scores() else None for task in chosen}
    agent = load_agent(folder)
    for task in chosen:
        if not task.available:
            task.make()  # says what to install
        agent.layout(task.id, task.observation_space, task.action_space)
    del agent
    seeds = range(FIRST_SEED, FIRST_SEED + episodes)
    settings = {"temperature": temperature, "prompt": prompt, "record": tuple(seeds[:record]), "timeout_s": timeout_s}
    batches = [tuple(seeds[first : first + batch]) for first in range(0, episodes, batch)]
    jobs = (Job(task.id, (task, settings), part) for task in chosen for part in batches)
    start = partial(_start, folder, precision)
    if ray is not None:
        start = partial(_start_from, {path.name: path.read_bytes() for path in agent_files(folder)}, precision)
    done: dict[str, list[Rollout]] = {task.id: [] for task in chosen}
    failed: dict[str, dict[int, str]] = {task.id: {} for task in chosen}
    scores: dict[str, TaskScore] = {}
    with (
        Progress(TextColumn("{task.description:32}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), disable=not show) as bar,
        Workers(workers, start, timeout_s, ray) as pool,
    ):
        line = bar.add_task("evaluating", total=episodes * len(chosen))
        for result in pool.run(_work, lambda: next(jobs, None)):
            task_id = str(result.name)
            if result.failure is None:
                done[task_id].append(result.value)
            else:
                failed[task_id][result.seed] = result.failure
            bar.update(line, description=task_id, advance=1)
            rollouts_done = done[task_id]
            if rollouts_done and len(rollouts_done) + len(failed[task_id]) == episodes:
                rollouts_done.sort(key=lambda r: r.seed)
                returns, successes = [r.episode_return for r in rollouts_done], [r.success for r in rollouts_done]
                reference = references[task_id]
                random, expert = (reference.random, reference.expert) if reference else (None, None)
                scores[task_id] = task_score(task_id, returns, random, expert, successes, failed[task_id])
                if finished:
                    finished(scores[task_id], rollouts_done)
    unscored = {task.id: failed[task.id] for task in chosen if task.id not in scores}
    return Evaluation([scores[task.id] for task in chosen if task.id in scores], unscored)


def print_scores(evaluation: Evaluation) -> None:
    """A table on the terminal, and what failed."""
    from rich.console import Console
    from rich.table import Table

    scores = evaluation.scores
    table = Table("task", "score %", "95% interval", "return", "random", "expert", "success", "n", box=None)
    for s in scores:
        table.add_row(
            s.task,
            number(s.score, ".1f"),
            "–" if s.ci_low is None or s.ci_high is None else f"{s.ci_low:.1f} … {s.ci_high:.1f}",
            number(s.mean_return, ".4g"),
            number(s.random, ".4g"),
            number(s.expert, ".4g"),
            number(s.success, ".0%"),
            str(s.n),
        )
    Console().print(table)
    for task, failed in {**{s.task: s.failed for s in scores if s.failed}, **evaluation.unscored}.items():
        print(f"{task}: {len(failed)} failed{' and none scored' * (task in evaluation.unscored)}: seed {describe_failures(failed)}")
    if percents := scored(scores):
        clipped, whole = (sum(values) / len(percents) for values in ([s.counted for s in percents], [s.score for s in percents]))
        print(f"mean score {clipped:.1f}% of the expert over {len(percents)} tasks, each counted at most 100 (unclipped {whole:.1f}%)")
    if missing := [s.task for s in scores if s.score is None]:
        print(f"no reference scores of {', '.join(missing)}: measure them with `opengato reference`")
    successes = [s.success for s in scores if s.success is not None]
    if successes:
        print(f"mean success {sum(successes) / len(successes):.1%} over {len(successes)} tasks")
