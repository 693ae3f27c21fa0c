"""Rows of a table, each computed by a process of its own and kept, so that the same command goes on where it stopped."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any


def write_row(row: dict[str, Any], out: Path) -> None:
    """Keep a row that is done, whole or not at all."""
    partial = out.with_suffix(".partial")
    partial.write_text(json.dumps(row))
    os.replace(partial, out)


def run_rows(
    script: str, rows: Sequence[tuple[Any, ...]], path: Callable[..., Path], arguments: Sequence[str], before: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """Those of `rows` that could be computed, in their order.

    `python SCRIPT BEFORE --run ROW ARGUMENTS`, in one thread, as many at a time as there are cores, writes a row's `path`; what it says
    stands beside it, as .txt.
    """

    def start(row: tuple[Any, ...]) -> None:
        out = path(*row)
        if out.is_file():
            return
        out.parent.mkdir(parents=True, exist_ok=True)
        with open(out.with_suffix(".txt"), "w") as log:
            command = [sys.executable, script, *before, "--run", *map(str, row), *arguments]
            subprocess.run(command, stdout=log, stderr=log, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False)
        print(f"{row}: {'done' if out.is_file() else 'failed, see ' + log.name}", file=sys.stderr)

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        list(pool.map(start, rows))
    return [json.loads(path(*row).read_text()) for row in rows if path(*row).is_file()]
