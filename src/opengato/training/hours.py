"""How large a network learns the most in so many hours: a law that was fitted to trainings, and the pace of the machine at hand."""

from __future__ import annotations

import json
import math
import os
import tempfile
import time
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch

from opengato.console import notice
from opengato.datasets.open import open_datasets
from opengato.datasets.reading import Budget, Reading
from opengato.datasets.store import TokenDataset
from opengato.errors import OpenGatoError
from opengato.model.config import preset, swift
from opengato.model.gato import Gato
from opengato.recipes import Recipe, recipe
from opengato.tokens.text import TextTokenizer
from opengato.training.train import make_model, make_trainer, own_weights, pictures_within, weights_of_run, without_held_out

DEPTHS = range(1, 17)  # among which one is chosen
POSITIONS = 4096  # of a step
TRIED = (2, 6)  # depths whose pace is measured
STEPS = 3  # of each, of which the first does not count


@dataclass(frozen=True)
class Law:
    """Held-out loss = floor + size / parameters^size_power + seen / positions^seen_power, both in millions (Hoffmann et al. 2022)."""

    floor: float
    size: float
    size_power: float
    seen: float
    seen_power: float

    def loss(self, parameters: float, positions: float) -> float:
        """Of so many parameters outside the embeddings, after so many positions of training."""
        return self.floor + self.size * (parameters / 1e6) ** -self.size_power + self.seen * (positions / 1e6) ** -self.seen_power


# benchmarks/results/scaling.json: BabyAI, MiniGrid, Meta-World and OGBench, every domain alike (docs/scaling.md).
LAW = Law(floor=0.186, size=0.122, size_power=0.5, seen=0.404, seen_power=0.722)


@dataclass(frozen=True)
class Pace:
    """A training's seconds a position are `least` + `each` · parameters."""

    least: float
    each: float

    def positions(self, parameters: float, seconds: float) -> float:
        """That a network of so many parameters is trained on in so many seconds."""
        return seconds / (self.least + self.each * parameters)


@cache
def parameters(depth: int) -> int:
    """Of `swift-dN`, outside its embeddings."""
    with torch.device("meta"):
        return Gato(swift(depth)).parameter_count(embeddings=False)


def best_depth(hours: float, pace: Pace, law: Law = LAW) -> int:
    """The depth of `swift` with the lowest loss after so many hours, as the law has it."""
    sizes = {depth: parameters(depth) for depth in DEPTHS}
    return min(DEPTHS, key=lambda depth: law.loss(sizes[depth], pace.positions(sizes[depth], 3600 * hours)))


def recipe_for(hours: float) -> Recipe:
    """As the trainings that the law was fitted to, but for the network: a batch of them, for so long. Raises OpenGatoError for no time."""
    if not (hours > 0 and math.isfinite(hours)):
        raise OpenGatoError(f"hours is {hours:g}: give a positive number, 0.5 say")
    chosen = recipe("swift-tiny")
    batch = POSITIONS // preset(chosen.model).context
    return replace(chosen, train=replace(chosen.train, seconds=3600 * hours, batch=batch))


def begun(out: Path) -> str | None:
    """The network of the run in `out`, None where none was begun."""
    path = out / "train.json"
    if not path.is_file():
        return None
    found: str = json.loads(path.read_text())["recipe"]["model"]
    return found


def measure(
    chosen: Recipe, datasets: list[TokenDataset], weights: dict[str, float] | None = None, model: dict[str, Any] | None = None
) -> Pace:
    """The pace of this machine at a recipe's batches of such data, from a few steps of two depths; `model`: as of `train`."""
    resolved, _ = weights_of_run(weights, None, chosen, datasets)
    found = {}
    for depth in TRIED:
        with tempfile.TemporaryDirectory() as folder:
            trainer = make_trainer(make_model(replace(swift(depth), **(model or {})), 0), datasets, resolved, chosen, Path(folder))
            trainer.model.train()
            batches = [trainer.batch(k) for k in range(STEPS)]
            for k, batch in enumerate(batches):
                if k == 1:
                    began = time.perf_counter()
                trainer.train_step(batch)
            found[parameters(depth)] = (time.perf_counter() - began) / ((STEPS - 1) * chosen.train.batch * trainer.model.config.context)
    (small, fast), (large, slow) = found.items()
    each = max(0.0, (slow - fast) / (large - small))
    return Pace(max(fast - each * small, 0.0), each)


def choose(
    hours: float,
    chosen: Recipe,
    data: list[str],
    out: Path,
    *,
    weights: dict[str, float] | None = None,
    model: dict[str, Any] | None = None,
    root: Path | None = None,
    pictures: Budget | None = None,
    skip_bad: float = 0.0,
    keep_held_out: bool = False,
) -> Recipe:
    """The recipe with the network whose loss the law says is the lowest after so many hours on this machine; says which.

    Where `out` has a run already, with that one's: a machine's pace is never twice the same.

    Args:
        chosen: `recipe_for` these hours, perhaps with settings of the user's. The others: as of `train`.

    Raises:
        OpenGatoError: where several processes train together, whose pace nobody knows beforehand.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise OpenGatoError("hours choose a network for one process: with several, name a recipe, swift-d6 say, and --seconds")
    if (name := begun(out)) is not None:
        return replace(chosen, model=name)
    reading = Reading(root, pictures=pictures_within(pictures, replace(preset(chosen.model), **(model or {}))))
    datasets = open_datasets(data, TextTokenizer.load(), skip_bad=skip_bad, reading=reading)
    kept = datasets if keep_held_out else without_held_out(datasets, chosen)
    pace = measure(chosen, kept, own_weights(data, datasets, kept) | (weights or {}) or None, model)
    depth = best_depth(hours, pace)
    size = parameters(depth)
    notice(
        f"{hours:g} hours here: swift-d{depth}, {size / 1e6:.1f} million parameters outside its embeddings, and some "
        f"{pace.positions(size, 3600 * hours) / 1e6:,.1f} million positions of training"
    )
    return replace(chosen, model=f"swift-d{depth}")
