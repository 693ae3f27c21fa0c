"""The command that fills the token store: tokenize."""

from __future__ import annotations

from pathlib import Path

from tyro.conf import Positional

from opengato.cli.app import command


@command
def tokenize(
    data: Positional[tuple[str, ...]],
    root: Path | None = None,
    skip_bad: float = 0.0,
    workers: int | None = None,
    verify: bool = False,
) -> None:
    """Tokenise datasets into the token store, so that training only opens them; interrupted, it goes on where it stopped.

    A dataset that has grown since is gone on with. The store is in the user's cache folder ($OPENGATO_CACHE), and safe to delete.

    Args:
        data: as for `train`.
        root: folder of the Minari datasets; default: Minari's own.
        skip_bad: leave samples out that are damaged, up to this share of them: truncated pictures, numbers that are none.
        workers: processes; default: one a core.
        verify: compare what is there with the checksums of what was written; what is damaged is tokenised anew.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    from opengato.datasets.open import find_dataset, open_dataset, open_datasets
    from opengato.datasets.reading import Reading
    from opengato.datasets.tokenise import damaged
    from opengato.errors import OpenGatoError
    from opengato.tokens.text import TextTokenizer

    if not data:
        raise OpenGatoError("data is empty: name at least one dataset, for example captions/emoji")
    if not 0 <= skip_bad < 1:
        raise OpenGatoError(f"skip_bad is {skip_bad:g}: give a share of the samples, 0.01 say")
    console, tokenizer = Console(stderr=True), TextTokenizer.load()
    told = BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn()
    with Progress(TextColumn("{task.description}"), *told, console=console) as progress:
        if verify:
            for name in progress.track(data, description="verifying"):
                if (shard := damaged(find_dataset(name, Reading(root)), tokenizer)) is not None:
                    progress.print(f"{shard} is damaged: tokenising {name} anew")
        if len(data) == 1:
            bar = progress.add_task("episodes", total=find_dataset(data[0], Reading(root)).count())
            opened = [open_dataset(data[0], tokenizer, root, skip_bad=skip_bad, seen=lambda read: progress.update(bar, completed=read))]
        else:
            bar = progress.add_task("datasets", total=len(data))
            opened = open_datasets(list(data), tokenizer, root, skip_bad=skip_bad, workers=workers, done=lambda name: progress.advance(bar))
    for name, found in zip(data, opened):
        left_out = f", {found.skipped} damaged ones left out" if found.skipped else ""
        tokens = found.sizes[found.timesteps]
        print(f"{name}: {found.task}, {len(found):,} episodes{left_out}, {found.timesteps:,} timesteps, {tokens:,} tokens")
