"""Evaluate a checkpoint on tasks: rollouts at fixed seeds, scored against the stored references."""

from __future__ import annotations

from opengato.checkpoint import Checkpoint
from opengato.domains import Task, match_tasks, tasks
from opengato.errors import OpenGatoError
from opengato.evaluation.rollout import rollout
from opengato.evaluation.score import TaskScore, task_score


def known_tasks(checkpoint: Checkpoint, patterns: list[str] | None) -> list[Task]:
    """The tasks that the patterns name, by default every task the checkpoint was trained on that has an environment."""
    if patterns:
        return match_tasks(patterns)
    known = [tasks()[name] for name in checkpoint.layouts if name in tasks()]
    if not known:
        raise OpenGatoError(f"this checkpoint knows no task with an environment, only {', '.join(checkpoint.layouts)}")
    return known


def evaluate(
    checkpoint: Checkpoint,
    chosen: list[Task],
    episodes: int,
    *,
    batch: int = 10,
    temperature: float | None = None,
    prompt: bool = True,
    show: bool = True,
) -> list[TaskScore]:
    """Score the checkpoint on each task over `episodes` episodes."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    references = {task.id: task.reference for task in chosen}  # a missing one stops here, before any work
    for task in chosen:
        checkpoint.layout(task.id, task.observation_space, task.action_space)
    scores = []
    with Progress(TextColumn("{task.description:32}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), disable=not show) as bar:
        line = bar.add_task("evaluating", total=episodes * len(chosen))
        for task in chosen:
            bar.update(line, description=task.id)
            done = rollout(
                checkpoint, task, episodes, batch=batch, temperature=temperature, prompt=prompt, progress=lambda _: bar.advance(line)
            )
            reference = references[task.id]
            scores.append(
                task_score(task.id, [r.episode_return for r in done], reference.random, reference.expert, [r.success for r in done])
            )
    return scores


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
