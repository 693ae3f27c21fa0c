"""What it takes to make recorded episodes a Minari dataset: CPU-seconds, and megabytes on disk, for some numbers of episodes.

    python benchmarks/assembly.py babyai/pickup-loc --counts 1000 3000

A few episodes are recorded and then written again and again under other seeds, so that only the writing is timed. Twice the episodes should
take twice the time, and not four times.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tyro

from opengato.collection import load_episode, pack_episode, record_episode, save_episode
from opengato.datasets.minari import write_minari
from opengato.domains import get_task

RECORDED = 40


@dataclass
class Assembly:
    """Time the writing."""

    task: tyro.conf.Positional[str] = "babyai/pickup-loc"
    counts: tuple[int, ...] = (1000, 3000)


def main(settings: Assembly) -> None:
    task = get_task(settings.task)
    assert task.make_expert is not None
    environment, expert = task.make(), task.make_expert()
    with tempfile.TemporaryDirectory() as folder:
        staged: list[Any] = []
        for seed in range(RECORDED):
            save_episode(Path(folder) / "episode.npz", pack_episode(*record_episode(task, environment, expert, seed)[:2]))
            staged.append(load_episode(Path(folder) / "episode.npz", task))

        def episodes(count: int) -> Iterator[Any]:
            for number in range(count):
                episode, last = staged[number % RECORDED][:2]
                yield replace(episode, seed=number), last

        for count in settings.counts:
            root = Path(folder) / str(count)
            began = time.process_time()
            write_minari(task, root / "opengato" / f"{task.id}-v0", episodes(count))
            size = sum(path.stat().st_size for path in root.rglob("*") if path.is_file())
            spent = time.process_time() - began
            print(
                f"{count:7,} episodes  {spent:6.1f} CPU-seconds  {1000 * spent / count:5.1f} ms an episode  {size / 1e6:6.1f} MB",
                flush=True,
            )


if __name__ == "__main__":
    main(tyro.cli(Assembly))
