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


@command
def figure_attention(
    checkpoint: Positional[Path],
    task: Positional[str],
    out: Path = Path("attention.mp4"),
    by: Literal["attention", "occlusion"] | None = None,
    layer: int | None = None,
    head: int | None = None,
    steps: int = 100,
    seed: int = 100_000,
    temperature: float | None = None,
    demonstrations: tuple[str, ...] = (),
    root: Path | None = None,
) -> None:
    """Play an episode and show, timestep by timestep, where in its pictures the agent looks (the paper's Figure 12).

    Args:
        checkpoint: a checkpoint folder.
        task: one that observes pictures; the checkpoint need not have been trained on it.
        out: a video, .mp4 or .gif, or six of its frames in a row, .png.
        by: attention from where the action is predicted to the picture's positions; or occlusion: how much the action's distribution
            changes with each patch covered. Default: attention of gato-*, occlusion of swift-*, which fold a picture into few positions.
        layer: whose attention, from 1; default: the last.
        head: whose attention, from 1; default: the mean over all.
        steps: timesteps that are shown, at most.
        seed: of the episode.
        temperature: of the actions, 0 is greedy; default: 0.7 for discrete, 0 for continuous ones.
        demonstrations: Minari datasets, whose best episode is read before that of the task.
        root: folder of the Minari datasets; default: Minari's own.
    """
    from opengato.checkpoint import Checkpoint
    from opengato.domains import get_task
    from opengato.errors import OpenGatoError
    from opengato.evaluation.agent import introduced
    from opengato.evaluation.overlay import draw, strip
    from opengato.evaluation.saliency import Attention, Occlusion, watch
    from opengato.evaluation.unseen import introduce
    from opengato.evaluation.video import encode_gif, encode_mp4

    _check_suffix(out, ".mp4", ".gif", ".png")
    if steps < 1:
        raise OpenGatoError(f"steps is {steps}: give 1 or more")
    loaded, shown = Checkpoint.load(checkpoint), get_task(task)
    told = introduced(loaded, introduce(loaded, [shown], demonstrations, root))
    assert isinstance(told, Checkpoint)
    asked = layer is not None or head is not None
    if by is None:
        by = "attention" if asked or told.model.config.family == "gato" else "occlusion"
    if by == "occlusion" and asked:
        raise OpenGatoError(
            "layer and head are of attention, and occlusion is of the whole network: leave them out, or ask for --by attention"
        )
    saliency = Attention(told, task, layer, head, temperature) if by == "attention" else Occlusion(told, task, temperature)
    looks = list(watch(saliency, shown, saliency.layout, seed, steps))
    frames = [draw(look) for look in looks]
    if out.suffix == ".png":
        from PIL import Image

        Image.fromarray(strip(frames)).save(out)
    else:
        out.write_bytes(encode_mp4(frames, 10) if out.suffix == ".mp4" else encode_gif(frames, 10))
    mean = sum(look.total for look in looks) / len(looks)
    if by == "attention":
        of = f"layer {layer or told.model.config.blocks}, " + (f"head {head}" if head else f"mean over {told.model.config.heads} heads")
        print(f"attention of {of}: {mean:.1%} of it on the picture, mean over {len(looks)} timesteps")
    else:
        print(f"occlusion: covering its patches one by one changes the action by {mean:.3g} nats in all, mean over {len(looks)} timesteps")
    print(out)


def _check_suffix(out: Path, *suffixes: str) -> None:
    from opengato.errors import OpenGatoError

    if out.suffix not in suffixes:
        raise OpenGatoError(f"out is {out}: name a file that ends in {' or '.join(suffixes)}")
