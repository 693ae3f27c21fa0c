"""Commands about environments and their experts: tasks, collect, reference."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import tyro
from tyro.conf import Positional

from opengato.cli.app import command, print_json


@command
def tasks(domain: str | None = None, as_json: Annotated[bool, tyro.conf.arg(name="json")] = False) -> None:
    """List the tasks there are.

    Args:
        domain: only those of this domain.
        as_json: print a list of objects instead of a table.
    """
    from opengato.domains import tasks as all_tasks
    from opengato.domains.task import reference_scores
    from opengato.errors import unknown
    from opengato.tokens.spaces import to_json

    found = list(all_tasks().values())
    if domain is not None:
        found = [t for t in found if t.domain == domain]
        if not found:
            raise unknown("domain", domain, {t.domain for t in all_tasks().values()})
    scores = reference_scores()
    rows: list[dict[str, Any]] = []
    for task in found:
        score = scores.get(task.id, {})
        rows.append(
            {
                "id": task.id,
                "domain": task.domain,
                "observation_space": to_json(task.observation_space),
                "action_space": to_json(task.action_space),
                "expert": task.expert_name,
                "random_score": score.get("random"),
                "expert_score": score.get("expert"),
                "n": score.get("n_expert"),
                "extra": task.extra,
                "available": task.available,
            }
        )
    if as_json:
        print_json(rows)
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("task", "random", "expert", "n", "expert is", "extra", box=None)
    for row in rows:
        numbers = [f"{row[k]:.4g}" if row[k] is not None else "–" for k in ("random_score", "expert_score", "n")]
        table.add_row(row["id"], *numbers, row["expert"], row["extra"] + ("" if row["available"] else " (not installed)"))
    Console().print(table)


@command
def collect(
    task: Positional[list[str]],
    episodes: int = 20,
    out: Path | None = None,
    workers: int | None = None,
    seed: int = 0,
    noise: float = 0.0,
    timeout: float = 900.0,
    ray: str | None = None,
    student: Path | None = None,
    beta: float = 0.0,
    round: int = 1,
) -> None:
    """Record expert demonstrations, or an expert's corrections of a student, as Minari datasets; interrupted, it goes on where it stopped.

    With --student the agent acts, and the recorded actions are what the expert would have done in the states that it reaches (DAgger).

    Args:
        task: ids, domains or patterns, such as babyai/go-to-local, metaworld, "atari/p*".
        episodes: how many of each.
        out: folder of the datasets; default: Minari's own.
        workers: processes; default: one a core.
        seed: the first episode's seed.
        noise: share of the executed actions that are random, while the expert's advice is recorded.
        timeout: seconds; the process of an episode that takes longer is killed.
        ray: record on the Ray cluster at this address; "auto" is the one of this machine.
        student: a folder with a checkpoint or a baseline, which acts; its episodes are added to those in `out`.
        beta: chance, at every timestep, that the expert's action is executed in place of the student's.
        round: of the student's corrections, which its episodes say.
    """
    from opengato.collection import collect as run
    from opengato.domains import match_tasks
    from opengato.errors import OpenGatoError

    if student is None and (beta or round != 1):
        raise OpenGatoError(f"beta is {beta:g} and round {round}, which are of a student's corrections: name one by --student")
    if student is not None and ray is not None:
        raise OpenGatoError("a student acts on this machine only: leave --ray out")
    acting = None
    if student is not None:
        from opengato.dagger import student_in

        acting = student_in(student, beta, round)
    chosen = match_tasks(task)
    for dataset in run(chosen, episodes, out, workers=workers, seed=seed, noise=noise, timeout_s=timeout, ray=ray, student=acting):
        print(dataset)


@command
def reference(task: Positional[list[str]], episodes: int = 50, expert_episodes: int | None = None, workers: int | None = None) -> None:
    """Measure the scores of a random agent and of the expert, and store them with the package.

    Args:
        task: ids, domains or patterns.
        episodes: of the random agent, and of the expert unless `expert_episodes` is given.
        expert_episodes: of the expert.
        workers: processes; default: one a core.
    """
    from opengato.domains import match_tasks
    from opengato.references import update_references

    update_references(match_tasks(task), episodes, expert_episodes or episodes, workers=workers)
