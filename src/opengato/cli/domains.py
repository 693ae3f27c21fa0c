"""Commands about environments and their experts: domains, tasks, collect, reference."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from tyro.conf import Positional

from opengato.cli.app import command, print_columns, print_json
from opengato.console import notice
from opengato.runs import recorded

if TYPE_CHECKING:
    from opengato.domains import Task


@command
def domains(as_json: Annotated[bool, tyro.conf.arg(name="json")] = False) -> None:
    """List the domains there are: those that come with OpenGato, and those of packages that bring some.

    Args:
        as_json: print a list of objects instead of a table.
    """
    from opengato.domains import broken_domains
    from opengato.domains import domains as all_domains

    broken = broken_domains()
    rows: list[dict[str, Any]] = []
    for name, domain in all_domains().items():
        usable = name not in broken
        rows.append(
            {
                "name": name,
                "package": domain.package,
                "tasks": len(domain.tasks) if usable else 0,
                "about": domain.about if usable else None,
                "problem": broken.get(name),
            }
        )
    if as_json:
        print_json(rows)
        return
    print_columns(
        ["domain", "package", "tasks", "about"],
        [[row["name"], row["package"], str(row["tasks"] or "–"), row["about"] or "cannot be used"] for row in rows],
    )
    _tell(broken)


def _tell(broken: dict[str, str]) -> None:
    """What is wrong with plug-ins, beside what the others have to say."""
    for problem in broken.values():
        notice(problem)


@command
def tasks(domain: str | None = None, as_json: Annotated[bool, tyro.conf.arg(name="json")] = False) -> None:
    """List the tasks there are.

    Args:
        domain: only those of this domain.
        as_json: print a list of objects instead of a table.
    """
    from opengato.domains import broken_domains, get_task
    from opengato.domains import domains as all_domains
    from opengato.domains import tasks as all_tasks
    from opengato.errors import OpenGatoError, unknown

    found = list(all_tasks().values())
    if domain is not None:
        if domain not in all_domains():
            raise unknown("domain", domain, all_domains())
        if domain in broken_domains():
            raise OpenGatoError(broken_domains()[domain])
        found = list(all_domains()[domain].tasks.values()) or [get_task(domain)]  # which says why there are none
    else:
        _tell(broken_domains())
    if as_json:
        print_json([_described(task) for task in found])
        return
    rows = []
    for task in found:
        reference = task.reference if task.measured else None
        numbers = [f"{n:.4g}" for n in (reference.random, reference.expert, reference.n_expert)] if reference else ["–", "–", "–"]
        rows.append([task.id, *numbers, task.expert_name, task.extra + ("" if task.available else " (not installed)")])
    print_columns(["task", "random", "expert", "n", "expert is", "extra"], rows)


def _described(task: Task) -> dict[str, Any]:
    """A task as JSON."""
    from opengato.tokens.spaces import to_json

    reference = task.reference if task.measured else None
    return {
        "id": task.id,
        "domain": task.domain,
        "observation_space": to_json(task.observation_space),
        "action_space": to_json(task.action_space),
        "expert": task.expert_name,
        "random_score": reference.random if reference else None,
        "human_score": task.human.human if task.human else None,
        "expert_score": reference.expert if reference else None,
        "n": reference.n_expert if reference else None,
        "extra": task.extra,
        "available": task.available,
    }


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
        task: ids, domains or patterns, such as babyai/go-to-local, metaworld, "atari/p*"; of these two, tasks that have an expert.
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
    arguments = dict(locals())
    from contextlib import nullcontext

    from opengato.collection import collect as run
    from opengato.domains import match_tasks
    from opengato.errors import OpenGatoError

    if student is None and (beta or round != 1):
        raise OpenGatoError(f"beta is {beta:g} and round {round}, which are of a student's corrections: name one by --student")
    if student is not None and ray is not None:
        raise OpenGatoError("a student acts on this machine only: leave --ray out")
    chosen, acting = match_tasks(task, with_expert=True), None
    if student is not None:
        from opengato.dagger import student_in

        acting = student_in(student, chosen, beta, round)
    # Minari's own folder is no run's; what made a dataset is in its metadata too.
    with recorded(out, "collect", arguments) if out is not None else nullcontext():
        found = run(chosen, episodes, out, workers=workers, seed=seed, noise=noise, timeout_s=timeout, ray=ray, student=acting)
    print("\n".join(found))


@command
def reference(
    task: Positional[list[str]],
    out: Path = Path("references.json"),
    episodes: int = 50,
    expert_episodes: int | None = None,
    results: Path = Path("runs/references"),
    workers: int | None = None,
    check: bool = False,
) -> None:
    """Measure the scores of a random agent and of the expert; interrupted, it goes on where it stopped.

    Args:
        task: ids, domains or patterns; of these two, tasks that have an expert.
        out: the table, in JSON, which keeps what it has of other tasks. `eval` reads it where $OPENGATO_REFERENCES names it, in place of
            what the package has of these tasks.
        episodes: of the random agent.
        expert_episodes: of the expert; default: 20 where one takes less than 5 s of a processor, 10 where less than 60, else 5.
        results: folder of the finished episodes.
        workers: processes; default: one a core.
        check: measure nothing, but say which of the stored references are no longer right, as the environment or the expert has changed.
    """
    from opengato.domains import match_tasks
    from opengato.references import Counts, write_references
    from opengato.references import check as check_references

    tasks = match_tasks(task, with_expert=True)
    if check:
        wrong = check_references(tasks, workers=workers)
        print(f"{len(tasks) - wrong} of {len(tasks)} references are right")
        return
    write_references(tasks, out, Counts(episodes, expert_episodes), workers=workers, folder=results, show=True)
