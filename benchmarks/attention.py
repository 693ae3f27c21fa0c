"""Whether an agent that goes to a red ball looks at it: in how many timesteps the ball's patch has the most of the look (docs/figures.md).

    python benchmarks/attention.py [--episodes 20] [--covered 10] [--seconds 420 120] [--folder runs/attention]

Records 300 episodes of babyai-pixels/go-to-red-ball-grey, trains on them for so many seconds a small network of the paper's form and
`swift-nano`, and counts over the first 12 timesteps of so many episodes (fewer, where patches are covered one by one) those in which the
ball is in view. What is there is not made again.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from opengato.checkpoint import Checkpoint
from opengato.collection import collect, dataset_id
from opengato.domains import get_task
from opengato.evaluation.saliency import Attention, Occlusion, Saliency, watch
from opengato.recipes import RECIPES
from opengato.training.train import train

TASK = get_task("babyai-pixels/go-to-red-ball-grey")
STEPS = 12
# As large as learns something in minutes on a core.
SMALL = {"blocks": 3, "heads": 4, "width": 128, "feed_forward": 512, "key_size": 32, "context": 256, "stochastic_depth": 0.0}


def ball(picture: np.ndarray) -> tuple[int, int] | None:
    """The patch, row and column, of the red ball in a picture of 7×7 cells; None where it is out of view. The agent is red too."""
    red = ((picture[..., 0].astype(int) - picture[..., 1]) > 100).reshape(7, 16, 7, 16).sum((1, 3))
    red[6, 3] = 0
    row, column = divmod(int(red.argmax()), 7)
    return (row, column) if red[row, column] > 40 else None


def trained(family: str, seconds: float, folder: Path) -> Checkpoint:
    """The network, from its folder if it is there."""
    if not (folder / family / "checkpoint").is_dir():
        recipe = RECIPES["gato-79m" if family == "gato" else "swift-nano"]
        config = replace(recipe.train, steps=1_000_000, seconds=seconds, batch=4 if family == "gato" else 8, autocast=False)
        if family == "gato":
            config = replace(config, optimiser=replace(config.optimiser, learning_rate=1e-3, warmup=50))
        model = SMALL if family == "gato" else None
        names, weights = [dataset_id(TASK)], {TASK.domain: 1.0}
        train(replace(recipe, train=config), names, folder / family, root=folder / "data", weights=weights, model=model)
    return Checkpoint.load(folder / family / "checkpoint")


def count(saliency: Saliency, layout, episodes: int) -> str:
    """In words, how often the ball's patch has the most, and its mean share of what the picture has."""
    hits, shares = 0, []
    for seed in range(100_000, 100_000 + episodes):
        for look in watch(saliency, TASK, layout, seed, STEPS):
            if (at := ball(look.pictures[0])) is not None:
                of = look.maps[0]
                hits += bool(of[at] == of.max())
                shares.append(of[at] / of.sum())
    return f"{hits} of {len(shares)} timesteps, {np.mean(shares):.0%} of the look on average (chance: 2%)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, default=20)
    parser.add_argument("--covered", type=int, default=10)
    parser.add_argument("--seconds", type=float, nargs=2, default=(420.0, 120.0), help="of training: gato, swift")
    parser.add_argument("--folder", type=Path, default=Path("runs/attention"))
    options = parser.parse_args()
    collect([TASK], 300, options.folder / "data")
    for family, seconds in zip(("gato", "swift"), options.seconds):
        checkpoint = trained(family, seconds, options.folder)
        if family == "gato":
            for layer in range(1, SMALL["blocks"] + 1):
                saliency = Attention(checkpoint, TASK.id, layer)
                print(f"{family}, attention of layer {layer}: {count(saliency, saliency.layout, options.episodes)}", flush=True)
        covering = Occlusion(checkpoint, TASK.id)
        print(f"{family}, occlusion: {count(covering, covering.layout, options.covered)}", flush=True)


if __name__ == "__main__":
    main()
