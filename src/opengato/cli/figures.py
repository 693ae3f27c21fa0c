"""Commands that draw the paper's figures of any evaluation and any checkpoint: figure thresholds, figure attention, figure embedding."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from opengato.cli.app import command


@command
def figure_thresholds(
    results: Positional[tuple[Path, ...]],
    out: Path = Path("thresholds.svg"),
    by: Literal["score", "success"] = "score",
) -> None:
    """Draw how many tasks reach each share of the expert, stacked by domain (the paper's Figure 5).

    Args:
        results: files with what `opengato eval --json` printed, of one agent; several are taken together.
        out: the figure, .svg.
        by: score between the random agent and the expert, or the share of episodes that succeeded, which canonical evaluations have.
    """
    from opengato.errors import OpenGatoError
    from opengato.evaluation.figures import standalone, threshold_chart
    from opengato.evaluation.score import load_scores, shares

    _check_suffix(out, ".svg")
    if not results:
        raise OpenGatoError("results is empty: name at least one file with what `opengato eval --json` printed")
    found = [(path, score) for path in results for score in load_scores(path)]
    of: dict[str, Path] = {}
    for path, score in found:
        if (other := of.setdefault(score.task, path)) != path:
            raise OpenGatoError(f"task {score.task!r} is in {other} and in {path}: name results of different tasks")
    scores = [score for _, score in found]
    values = [value for _, value in shares(scores, by)]
    if not values:
        instead = "success" if by == "score" else "score"
        raise OpenGatoError(f"no task in {', '.join(map(str, results))} has a {by}: draw it --by {instead}")
    out.write_text(standalone(threshold_chart(scores, by)), encoding="utf-8")
    less = f"; {len(scores) - len(values)} without one are left out" if len(values) < len(scores) else ""
    print(f"{sum(value >= 50 for value in values)} of {len(values)} tasks have a {by} of 50% or more{less}")
    print(out)


def _check_suffix(out: Path, *suffixes: str) -> None:
    from opengato.errors import OpenGatoError

    if out.suffix not in suffixes:
        raise OpenGatoError(f"out is {out}: name a file that ends in {' or '.join(suffixes)}")
