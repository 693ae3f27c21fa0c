"""Commands that draw the paper's figures of any evaluation and any checkpoint: figure thresholds, figure attention, figure embedding."""

from __future__ import annotations

import json
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


@command
def figure_embedding(
    checkpoint: Positional[Path],
    data: tuple[str, ...],
    out: Path = Path("embedding.svg"),
    episodes: int = 100,
    positions: int = 128,
    layer: int | None = None,
    perplexity: float = 30.0,
    seed: int = 0,
    root: Path | None = None,
    pictures: str | None = None,
) -> None:
    """Draw a map of episodes by their mean hidden states, a colour a task (the paper's Figure 13); needs the extra `figures`.

    Args:
        checkpoint: a checkpoint folder, or weights that come along, see `opengato pretrained`.
        data: datasets, as for `train`, of tasks that it was trained on or not.
        out: the figure, .svg, or its points as an object, .json.
        episodes: of each dataset, at most.
        positions: of the beginning of each episode, over which the mean is: tokens of gato-*, timesteps of most tasks of swift-*.
        layer: after which block, from 1; default: half of them.
        perplexity: of t-SNE: about how many neighbours every episode has.
        seed: of t-SNE.
        root: folder of the Minari datasets; default: Minari's own.
        pictures: patches that a picture of a photograph or a page may take, width x height, as in training: 4x4, 12x9.
    """
    import numpy as np

    from opengato.checkpoint import Checkpoint
    from opengato.datasets.open import find_dataset
    from opengato.datasets.reading import Budget, Reading
    from opengato.errors import OpenGatoError
    from opengato.evaluation.figures import scatter_chart, standalone
    from opengato.evaluation.hidden_states import chance_accuracy, embed, mean_hidden_states, nearest_neighbour_accuracy

    _check_suffix(out, ".svg", ".json")
    if not data:
        raise OpenGatoError("data is empty: name at least one dataset, for example opengato/metaworld/reach-v0")
    how = Reading(root, pictures=Budget.parse(pictures) if pictures else Budget())
    found = mean_hidden_states(Checkpoint.load(checkpoint), [find_dataset(name, how) for name in data], episodes, positions, layer)
    points = embed(found.states, perplexity, seed)
    accuracy = {
        "hidden": nearest_neighbour_accuracy(found.states, found.tasks),
        "embedding": nearest_neighbour_accuracy(points, found.tasks),
        "chance": chance_accuracy(found.tasks),
    }
    if out.suffix == ".json":
        rows = zip(found.tasks, found.numbers.tolist(), np.round(points, 4).tolist())
        listed = [{"task": task, "episode": number, "x": x, "y": y} for task, number, (x, y) in rows]
        out.write_text(json.dumps({"nearest_neighbour_accuracy": accuracy, "episodes": listed}, indent=1) + "\n")
    else:
        out.write_text(standalone(scatter_chart(points, found.tasks, "Episodes by their mean hidden states, t-SNE")), encoding="utf-8")
    print(
        f"{len(points)} episodes of {len(set(found.tasks))} tasks; the nearest other one is of the same task for {accuracy['hidden']:.1%} "
        f"by hidden states, {accuracy['embedding']:.1%} on the map, {accuracy['chance']:.1%} by chance"
    )
    print(out)


def _check_suffix(out: Path, *suffixes: str) -> None:
    from opengato.errors import OpenGatoError

    if out.suffix not in suffixes:
        raise OpenGatoError(f"out is {out}: name a file that ends in {' or '.join(suffixes)}")
