"""Scores on a terminal."""

from __future__ import annotations

from opengato.domains import find_task
from opengato.evaluation.compare import Difference, mean_difference
from opengato.evaluation.evaluate import Evaluation
from opengato.evaluation.score import (
    BEATEN,
    SCORED_BY_SUCCESS,
    beside_people,
    describe_failures,
    interquartile_mean,
    mean_intervals,
    number,
    scored,
    spread,
    summarise,
)


def print_scores(evaluation: Evaluation) -> None:
    """A table, what failed, and the means."""
    from rich.console import Console
    from rich.table import Column, Table

    scores, unscored = evaluation.scores, evaluation.unscored
    table = Table(Column("task", no_wrap=True), "score %", "95%", "success", "95%", "return", "random", "expert", "n", box=None)
    for s in scores:
        table.add_row(
            s.label,
            number(s.score, ".1f"),
            spread((s.ci_low, s.ci_high), ".0f"),
            number(s.success, ".0%"),
            spread(s.success_interval, ".0%"),
            number(s.mean_return, ".4g"),
            number(s.random, ".4g"),
            number(s.expert, ".4g"),
            str(s.n),
        )
    Console().print(table)
    for s in scores:
        if s.failed:
            as_random = "" if s.score is None else f" (score {s.score_failures_as_random:.1f}% with them as the random agent)"
            print(f"{s.task}: {len(s.failed)} failed{as_random}: seed {describe_failures(s.failed)}")
        if s.score is not None and s.score > BEATEN:
            print(f"{s.task}: the agent beats its expert by half, which is a poor measure of it then: look at success")
        if s.starts is not None and s.starts < s.n:
            print(f"{s.task}: its {s.n} episodes had {s.starts} different starts: evaluation's seeds draw no more")
        if s.by_success:
            print(f"{s.task}: {SCORED_BY_SUCCESS}")
        if s.seen:
            print(f"{s.task}: {s.seen:.0%} of the episodes began as episodes that the agent was trained on")
    for reason in dict.fromkeys(s.unmeasurable for s in scores if s.unmeasurable):
        names = [s.task for s in scores if s.unmeasurable == reason]
        print(f"{', '.join(names)} {'has' if len(names) == 1 else 'have'} no score: {reason}")
    for task, failed in unscored.items():
        print(f"{task}: {len(failed)} failed and none scored: seed {describe_failures(failed)}")
    if percents := scored(scores):
        found, (over_tasks, over_episodes) = summarise(scores, unscored), mean_intervals(scores)
        print(
            f"mean score {found['mean_score']:.1f}% of the expert over {len(percents)} tasks, each counted at most 100 "
            f"(unclipped {found['mean_score_unclipped']:.1f}%, interquartile {interquartile_mean(scores):.1f}%)"
        )
        trained, others = found["mean_score_in_training"], found["mean_score_not_in_training"]
        if trained is not None and others is not None:
            print(f"mean score {trained:.1f}% over the tasks in training, {others:.1f}% over those that were not")
        print(
            f"95% intervals of the mean: {spread(over_tasks, '.1f')} over tasks and episodes, {spread(over_episodes, '.1f')} of these tasks"
        )
        if unscored or any(s.failed for s in scores):
            print(f"mean score {found['mean_score_failures_as_random']:.1f}% with the failed episodes as the random agent")
    if missing := [s.task for s in scores if s.score is None and not s.unmeasurable]:
        print(f"no reference scores of {', '.join(missing)}: measure them with `opengato reference`")
    for task, changed in _changed([s.task for s in scores if s.score is not None]).items():
        print(f"the reference scores of {task} may no longer hold: {changed}; `opengato reference {task} --check` tells")
    if people := beside_people(scores):
        print(
            f"as people play (published scores), or better: {people['at_or_above']} of {people['tasks']} tasks, twice as well: "
            f"{people['at_or_above_twice']}, median {people['median']:.0f}%"
        )
    successes = [s.success for s in scores if s.success is not None]
    if successes:
        print(f"mean success {sum(successes) / len(successes):.1%} over {len(successes)} tasks")


def _changed(names: list[str]) -> dict[str, str]:
    """What is another now than as a task's reference was measured, of those of which that is known."""
    tasks = [task for name in names if (task := find_task(name)) is not None and task.measured]
    return {task.id: changed for task in tasks if (changed := task.reference.changed(task))}


def print_comparison(differences: list[Difference]) -> None:
    """A line a task, and the mean."""
    from rich.console import Console
    from rich.table import Column, Table

    table = Table(
        Column("task", no_wrap=True), "measure", "first %", "second %", "second ahead by", "95% interval", "better", "worse", "n", box=None
    )
    for d in differences:
        levels = f"{d.first:.1f}", f"{d.second:.1f}", f"{d.difference:+.1f}"
        table.add_row(d.task, d.measure, *levels, spread((d.ci_low, d.ci_high), "+.1f"), str(d.better), str(d.worse), str(d.n))
    Console().print(table)
    found, over_tasks, over_episodes = mean_difference(differences)
    print(f"the second is ahead by {found:+.1f} points over {len(differences)} tasks, each counted at most 100")
    print(f"its 95% interval: {spread(over_tasks, '+.1f')} over tasks and episodes, {spread(over_episodes, '+.1f')} for these tasks alone")
