"""The command that fills the token store: tokenize."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import Positional

from opengato.cli.app import command
from opengato.cli.training import ReadingSettings, reading_of
from opengato.console import progress as show_progress


@command
def tokenize(
    data: Positional[tuple[str, ...]],
    root: Path | None = None,
    reading: Annotated[ReadingSettings, tyro.conf.arg(name="")] = {},  # noqa: B006
    workers: int | None = None,
    verify: bool = False,
    pack: Path | None = None,
) -> None:
    """Tokenise datasets into the token store, so that training only opens them; interrupted, it goes on where it stopped.

    A dataset that has grown since is gone on with. The store is in the user's cache folder ($OPENGATO_CACHE), and safe to delete.

    Args:
        data: as for `train`.
        root: folder of the Minari datasets; default: Minari's own.
        workers: processes; default: one a core.
        verify: compare what is there with the checksums of what was written; what is damaged is tokenised anew.
        pack: folder to copy them into besides, to train elsewhere, without recordings or simulators: `train --data FOLDER/*.tokens`.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    from opengato.datasets.open import find_dataset, open_dataset, open_datasets
    from opengato.datasets.packed import pack as copy
    from opengato.datasets.reading import Budget, Reading
    from opengato.datasets.tokenise import damaged
    from opengato.errors import OpenGatoError
    from opengato.tokens.text import TextTokenizer

    if not data:
        raise OpenGatoError("data is empty: name at least one dataset, for example captions/emoji")
    settings = reading_of(reading)
    how, skip_bad = Reading(root, pictures=settings["pictures"] or Budget()), settings["skip_bad"]
    console, tokenizer = Console(stderr=True), TextTokenizer.load()
    told = BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn()
    with show_progress(TextColumn("{task.description}"), *told, console=console) as progress:
        if verify:
            for name in progress.track(data, description="verifying"):
                if (shard := damaged(find_dataset(name, how), tokenizer)) is not None:
                    progress.print(f"{shard} is damaged: tokenising {name} anew")
        if len(data) == 1:
            bar = progress.add_task("episodes", total=find_dataset(data[0], how).count())
            opened = [open_dataset(data[0], tokenizer, skip_bad=skip_bad, seen=lambda n: progress.update(bar, completed=n), reading=how)]
        else:
            bar = progress.add_task("datasets", total=len(data))
            opened = open_datasets(
                list(data), tokenizer, skip_bad=skip_bad, workers=workers, done=lambda _: progress.advance(bar), reading=how
            )
    if pack is not None:
        copy([find_dataset(name, how) for name in data], tokenizer, pack)
    for name, found in zip(data, opened):
        left_out = f", {found.skipped} damaged ones left out" if found.skipped else ""
        tokens = found.sizes[found.timesteps]
        print(f"{name}: {found.task}, {len(found):,} episodes{left_out}, {found.timesteps:,} timesteps, {tokens:,} tokens")
