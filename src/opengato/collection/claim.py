"""One collection of a task at a time, in one folder: a second process would record the same episodes once more."""

from __future__ import annotations

import fcntl
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from opengato.domains.task import Task
from opengato.errors import OpenGatoError


@contextmanager
def claimed(folder: Path, tasks: Sequence[Task]) -> Iterator[None]:
    """While it lasts no other process can claim one of the tasks in this folder; a process that dies lets go of its own.

    Raises OpenGatoError where another one has a task already.
    """
    # A byte of one file for each task, as hundreds of open files are more than a process may have.
    with (folder / "claims").open("ab") as file:
        for task in tasks:
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, zlib.crc32(task.id.encode()))
            except BlockingIOError as error:
                raise OpenGatoError(
                    f"another process is recording {task.id!r} into {folder.parent}: let it finish, or name another folder by --out"
                ) from error
        yield
