"""Every task of every domain, by id. Listing tasks imports no simulator."""

from __future__ import annotations

from functools import cache

from opengato.domains.plugins import Domain, domains
from opengato.domains.task import Expert, Reference, Task
from opengato.errors import OpenGatoError, unknown

__all__ = ["Domain", "Expert", "Reference", "Task", "broken_domains", "domains", "find_task", "get_task", "make", "match_tasks", "tasks"]


@cache
def tasks() -> dict[str, Task]:
    """All listed tasks by id, in the order of their domains; those of domains that are broken are left out, see `broken_domains`."""
    return {task.id: task for name, domain in domains().items() if name not in broken_domains() for task in domain.tasks.values()}


@cache
def broken_domains() -> dict[str, str]:
    """What is wrong with each domain that cannot be used, by its name: one plug-in does not take down the others."""
    found = {}
    for name, domain in domains().items():
        try:
            _ = domain.tasks
        except OpenGatoError as error:
            found[name] = str(error)
    return found


def find_task(task_id: str) -> Task | None:
    """The task of this id, None where no domain has one. Raises OpenGatoError where its domain is broken or refuses it."""
    domain = domains().get(task_id.split("/")[0])
    if domain is None or domain.name == task_id:
        return None
    if task_id in domain.tasks:
        return domain.tasks[task_id]
    return domain.find(task_id) if domain.find is not None else None


def get_task(task_id: str) -> Task:
    """The task of this id. Raises OpenGatoError with the nearest match where there is none."""
    task = find_task(task_id)
    if task is None:
        if task_id in domains() and not domains()[task_id].tasks:
            raise OpenGatoError(f"domain {task_id!r} lists no tasks: name one of it, as `opengato domains` says")
        raise unknown("task", task_id, tasks())
    return task


def match_tasks(patterns: list[str], with_expert: bool = False) -> list[Task]:
    """Tasks for a list of ids, domains ("babyai") or shell patterns ("metaworld/door-*"), in order, without repeats.

    with_expert: of a domain's or a pattern's tasks only those that have one, where any has; a task that is named by its id stays.
    """
    import fnmatch

    found: dict[str, Task] = {}
    for pattern in patterns:
        hits = [t for t in tasks().values() if t.domain == pattern or fnmatch.fnmatchcase(t.id, pattern)]
        if with_expert:
            hits = [t for t in hits if t.make_expert is not None or t.id == pattern] or hits
        for task in hits or [get_task(pattern)]:
            found[task.id] = task
    if not found:
        raise OpenGatoError("no task was named: list them with `opengato tasks`")
    return list(found.values())


def make(task_id: str):
    """Make a task's environment, a `gymnasium.Env`."""
    return get_task(task_id).make()
