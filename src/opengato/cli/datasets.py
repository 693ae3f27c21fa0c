"""Commands about data: tokenize, data."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import tyro
from tyro.conf import Positional

from opengato.cli.app import command, print_columns, print_json
from opengato.cli.training import ReadingSettings, SamplingSettings, reading_of


@command
def tokenize(
    data: Positional[tuple[str, ...]],
    root: Path | None = None,
    reading: Annotated[ReadingSettings, tyro.conf.arg(name="")] = {},  # noqa: B006
    workers: int | None = None,
    verify: bool = False,
) -> None:
    """Tokenise datasets into the token store, so that training only opens them; interrupted, it goes on where it stopped.

    A dataset that has grown since is gone on with. The store is in the user's cache folder ($OPENGATO_CACHE), and safe to delete.

    Args:
        data: as for `train`.
        root: folder of the Minari datasets; default: Minari's own.
        workers: processes; default: one a core.
        verify: compare what is there with the checksums of what was written; what is damaged is tokenised anew.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    from opengato.datasets.open import find_dataset, open_dataset, open_datasets
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
    with Progress(TextColumn("{task.description}"), *told, console=console) as progress:
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
    for name, found in zip(data, opened):
        left_out = f", {found.skipped} damaged ones left out" if found.skipped else ""
        tokens = found.sizes[found.timesteps]
        print(f"{name}: {found.task}, {len(found):,} episodes{left_out}, {found.timesteps:,} timesteps, {tokens:,} tokens")


@command
def data(
    what: Positional[Literal["info", "build"]],
    names: Positional[tuple[str, ...]] = (),
    out: Path = Path("mix"),
    recipe: str = "swift-nano",
    steps: int | None = None,
    root: Path | None = None,
    weights: dict[str, float] | None = None,
    return_thresholds: dict[str, float] | None = None,
    reading: Annotated[ReadingSettings, tyro.conf.arg(name="")] = {},  # noqa: B006
    sampling: Annotated[SamplingSettings, tyro.conf.arg(name="")] = {},  # noqa: B006
    as_json: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> None:
    """Print what a training would see of datasets: shares, epochs, a timestep's size, what a context covers, what is left out and why.

    Or build a larger mix of real texts, pictures, questions, pages and conversations from packages of registries, in public formats;
    interrupted, it goes on where it stopped.

    Args:
        what: info, or build.
        names: as for `train`; those that are not in the token store are tokenised. Of build: parts of the mix; default: all.
        out: folder of the mix.
        recipe: by whose model, weights and sampling. steps: of the training, in place of the recipe's.
        root: folder of the Minari datasets; default: Minari's own.
        weights, return_thresholds: as for `train`.
        as_json: print a list of objects instead of a table.
    """
    if what == "build":
        _build(out, names, as_json)
        return
    from dataclasses import replace

    from opengato.datasets.open import open_datasets
    from opengato.datasets.reading import Reading
    from opengato.mixture import Mixture
    from opengato.mixture.info import information
    from opengato.model.config import preset
    from opengato.recipes import recipe as find
    from opengato.tokens.text import TextTokenizer
    from opengato.training.train import expert_returns, own_weights, pictures_within, weights_of_run, without_held_out

    chosen = find(recipe)
    config, drawn = preset(chosen.model), replace(chosen.sampling, **sampling)
    settings = reading_of(reading)
    how = Reading(root, pictures=pictures_within(settings["pictures"], config))
    opened = open_datasets(list(names), TextTokenizer.load(), skip_bad=settings["skip_bad"], reading=how)
    datasets = without_held_out(opened, chosen)
    resolved, _ = weights_of_run(own_weights(names, opened, datasets) | (weights or {}) or None, None, chosen, datasets)
    drawn = replace(drawn, moments=config.moments, return_thresholds=return_thresholds or {})
    mixture = Mixture(datasets, resolved, config.context, config.fold, chosen.train.seed, drawn, expert_returns(datasets, drawn))
    rows = information(mixture, (steps or chosen.train.steps) * chosen.train.batch)
    if as_json:
        print_json([asdict(row) for row in rows])
        return
    head = ["task", "share", "epochs", "episodes", "timesteps", "tokens each", "positions each", "context covers", "left out"]
    print_columns(
        head,
        [
            [
                row.task,
                f"{row.share:.1%}",
                f"{row.epochs:.3g}",
                f"{row.episodes:,}",
                f"{row.timesteps:,}",
                f"{row.tokens:.4g}",
                f"{row.positions:.3g}",
                f"{row.context:.0f}",
                ", ".join(f"{count} {reason}" for reason, count in row.left_out.items()) or "–",
            ]
            for row in rows
        ],
    )


def _build(out: Path, names: tuple[str, ...], as_json: bool) -> None:
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    from opengato.building import build

    columns = SpinnerColumn(), TextColumn("{task.description} {task.completed:,.0f} pictures"), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True)) as progress:
        bar = progress.add_task("parts", total=len(names or build.names()))

        def begun(name: str) -> build.Advance:
            progress.update(bar, description=name, completed=0)
            return lambda: progress.advance(bar)

        found = build.build(out, names, begun=begun)
    if as_json:
        print_json(found)
        return
    sizes = build.sizes(out)
    print_columns(["part", "MB"], [[name, f"{size / 1e6:.1f}"] for name, size in sizes.items()])
    print(f"licences: {out / 'LICENCES.md'}")
    print("to train on: --data " + " ".join(found["train"]))
    print("held out: " + " ".join(found["test"]))
