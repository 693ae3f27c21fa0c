"""Files that are there whole or not at all, whenever a process ends."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A file beside `path` to write to, which takes its place at the end; what stood there stays where writing fails.

    The folder is made where it is missing. Processes that write the same file do not meet: the last one's stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        # Some libraries make files for their owner alone (safetensors 0.8): a checkpoint is read by whoever may read its folder.
        os.chmod(partial, 0o666 & ~_umask())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _umask() -> int:
    """Bits that new files of this process do not get; it can only be asked for by setting it."""
    os.umask(mask := os.umask(0o077))
    return mask


def write_text(path: Path, text: str) -> None:
    """`Path.write_text`, whole or not at all."""
    with replacing(path) as partial:
        partial.write_text(text)
