"""Every task of every domain, by id. Listing tasks imports no simulator."""

from __future__ import annotations

from functools import cache

from opengato.domains.task import Expert, Reference, Task
from opengato.errors import OpenGatoError, unknown

__all__ = ["Expert", "Reference", "Task", "get_task", "make", "match_tasks", "tasks"]


@cache
def tasks() -> dict[str, Task]:
    """All tasks by id, in the order of their domains."""
    from opengato.domains import atari, babyai, dm_control, memory, metaworld

    return {task.id: task for module in (babyai, metaworld, dm_control, atari, memory) for task in module.TASKS}


def get_task(task_id: str) -> Task:
    """The task of this id. Raises OpenGatoError with the nearest match where there is none."""
    if task_id not in tasks():
        raise unknown("task", task_id, tasks())
    return tasks()[task_id]


def match_tasks(patterns: list[str]) -> list[Task]:
    """Tasks for a list of ids, domains ("babyai") or shell patterns ("metaworld/door-*"), in order, without repeats."""
    import fnmatch

    found: dict[str, Task] = {}
    for pattern in patterns:
        hits = [t for t in tasks().values() if t.domain == pattern or fnmatch.fnmatchcase(t.id, pattern)]
        for task in hits or [get_task(pattern)]:
            found[task.id] = task
    if not found:
        raise OpenGatoError("no task was named: list them with `opengato tasks`")
    return list(found.values())


def make(task_id: str):
    """Make a task's environment, a `gymnasium.Env`."""
    return get_task(task_id).make()
