"""How `swift-*` looks at pictures, one part changed at a time: held-out loss, returns and speed after equal wall time on the same data.

    python benchmarks/pictures.py [--seconds 240] [--episodes 3] [--seeds 0 1 2] [--folder runs/pictures] [--only NAME …] [--out FILE]
    python benchmarks/pictures.py --speed [--folder runs/pictures]

Every variant is `swift-tiny` but for what its row says, trained for so many seconds on one core, as many variants at a time as there are
cores, on three Atari games together (five searched episodes each) and the shipped captions, which have a tenth of the positions: they are
few, and soon known by heart. A fifth of all episodes is kept for the loss, taken at the end over some six thousand timesteps, whatever the
variant; the returns are of games at the seeds of `opengato eval`. Rows that are done are kept.

With --speed, only the steps are timed, of the games alone, with patches that are alike looked at once and each for itself, in turns.
"""

from __future__ import annotations

import argparse
import itertools
import json
import re
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from rows import run_rows, write_row
from torch import nn

from opengato.collection import collect, dataset_id
from opengato.datasets.captions import TASK as CAPTIONS
from opengato.datasets.open import open_dataset
from opengato.domains import get_task
from opengato.evaluation.rollout import rollout
from opengato.model import batch as batches
from opengato.model import embedding
from opengato.model.batch import Batch
from opengato.model.patches import PatchMLP, PatchSet
from opengato.recipes import recipe
from opengato.tokens.text import TextTokenizer
from opengato.tokens.vocabulary import PATCH_POSITIONS
from opengato.training.train import make_checkpoint, make_model, make_trainer, preset

GAMES = ("atari/freeway", "atari/pong", "atari/boxing")
WEIGHTS = {"atari": 0.9, "captions": 0.1}


def table(size: int, deviation: float) -> nn.Embedding:
    made = nn.Embedding(PATCH_POSITIONS, size)
    nn.init.normal_(made.weight, std=deviation)
    return made


class Products(PatchSet):
    """Places multiplied: Σ MLP(patch) · row · column."""

    def __init__(self, size: int):
        super().__init__(size)
        self.rows, self.columns = table(size, 1.0), table(size, 1.0)

    def forward(self, x: torch.Tensor, batch: Batch) -> torch.Tensor:
        place = self.rows(batch.patch_rows) * self.columns(batch.patch_columns)
        return x.index_add(0, batch.patch_positions, self.patches(batch.patches).to(x.dtype)[batch.patch_members] * place)


class Strokes(nn.Module):
    """A convolution of 4×4 pixels first, its sixteen results through a linear layer."""

    def __init__(self, width: int, channels: int = 32):
        super().__init__()
        self.stroke, self.out = nn.Linear(48, channels), nn.Linear(16 * channels, width)

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        fours = (patches.float() * (2 / 255) - 1).unflatten(1, (4, 4)).unflatten(3, (4, 4)).transpose(2, 3).flatten(3)
        return self.out(F.gelu(self.stroke(fours.flatten(3).flatten(1, 2).flatten(2)), approximate="tanh").flatten(1))


class Outer(nn.Module):
    """Places and what is there as a matrix, Σ place ⊗ f(patch), read by a linear layer: a flattened picture of any size."""

    net: Callable[[int], nn.Module] = staticmethod(lambda features: PatchMLP(features, 192))

    def __init__(self, size: int, places: int = 16, features: int = 64):
        super().__init__()
        self.patches = self.net(features)
        self.rows, self.columns = table(places, 1.0), table(places, 1.0)
        self.read = nn.Linear(places * features, size, bias=False)

    def forward(self, x: torch.Tensor, batch: Batch) -> torch.Tensor:
        seen = F.gelu(self.patches(batch.patches), approximate="tanh")[batch.patch_members]
        place = (self.rows(batch.patch_rows) * self.columns(batch.patch_columns)).to(seen.dtype)
        where, group, counts = torch.unique_consecutive(batch.patch_positions, return_inverse=True, return_counts=True)
        most = int(counts.max())
        slot = torch.arange(len(group)) - (counts.cumsum(0) - counts)[group]
        index = group * most + slot

        def padded(part: torch.Tensor) -> torch.Tensor:
            if len(part) == len(counts) * most:
                return part.view(len(counts), most, -1)
            return part.new_zeros(len(counts) * most, part.shape[1]).index_copy(0, index, part).view(len(counts), most, -1)

        matrix = padded(place).transpose(1, 2) @ padded(seen)
        return x.index_add(0, where, self.read(matrix.flatten(1)).to(x.dtype))


class OuterStrokes(Outer):
    net = staticmethod(lambda features: Strokes(features))


@dataclass(frozen=True)
class Variant:
    """What one row changes: fields of the model, the training, or the module that looks."""

    model: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    look: type[nn.Module] | None = None
    shared: bool = True  # patches that are alike are looked at once


def a_position(count: int) -> dict[str, Any]:
    return {"patches_per_position": count}


VARIANTS = {
    "2 patches a position, each for itself": Variant(a_position(2), shared=False),
    "2 patches a position": Variant(a_position(2)),
    "5 a position": Variant(a_position(5)),
    "20 a position": Variant(a_position(20)),
    "20 a position, half of the sequences a step": Variant(a_position(20), {"batch": 1}),
    "20 a position, context 128": Variant({**a_position(20), "context": 128}),
    "20 a position, places multiplied": Variant(a_position(20), look=Products),
    "5 a position, places multiplied": Variant(a_position(5), look=Products),
    "20 a position, outer products": Variant(a_position(20), look=Outer),
    "20 a position, outer products, context 128": Variant({**a_position(20), "context": 128}, look=Outer),
    "5 a position, outer products": Variant(a_position(5), look=Outer),
    "20 a position, outer products of strokes": Variant(a_position(20), look=OuterStrokes),
}


def each_for_itself(patches: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.from_numpy(patches), torch.arange(len(patches))


def speed(folder: Path, steps: int = 11) -> None:
    """Timesteps a second of training steps, batches made beforehand."""
    tokenizer, shared = TextTokenizer.load(), batches._distinct_patches
    data = [open_dataset(dataset_id(get_task(game)), tokenizer, folder / "data", folder / "cache") for game in GAMES]
    for count, look, way in itertools.product((2, 20), ("once", "again"), (shared, each_for_itself)):
        batches._distinct_patches = way
        with tempfile.TemporaryDirectory() as out:
            config = replace(preset("swift-tiny"), patches_per_position=count)
            trainer = make_trainer(make_model(config, 0), data, {"atari": 1.0}, recipe("swift-tiny"), Path(out))
            trainer.model.train()
            made = [trainer.batch(k) for k in range(3 + steps)]
            for batch in made[:3]:
                trainer.train_step(batch)
            started = time.perf_counter()
            timesteps = sum(trainer.train_step(batch).tally.timesteps for batch in made[3:])
            spent = time.perf_counter() - started
        name = "alike looked at once" if way is shared else "each for itself"
        print(f"| {count} a position, {name} ({look}) | {timesteps / spent:,.0f} timesteps/s |")


def run(name: str, seed: int, seconds: float, episodes: int, folder: Path, out: Path) -> None:
    """One row, in a process of its own."""
    variant = VARIANTS[name]
    torch.set_num_threads(1)
    if variant.look is not None:
        embedding.PatchSet = variant.look  # type: ignore[misc,assignment]
    if not variant.shared:
        batches._distinct_patches = each_for_itself
    chosen = recipe("swift-tiny")
    config = replace(preset("swift-tiny"), **variant.model)
    train = replace(chosen.train, seconds=seconds, seed=seed, checkpoint_every=1e9, workers=0, **variant.training)
    batches_of_loss = round(70 * 1024 / (train.batch * config.context) * 2 / config.patches_per_position)
    train = replace(train, validate_every=10**9, validation_batches=max(batches_of_loss, 10))
    chosen = replace(chosen, train=train, sampling=replace(chosen.sampling, validation_share=0.2))
    tokenizer, tasks = TextTokenizer.load(), [get_task(task) for task in GAMES]
    data = [open_dataset(name, tokenizer, folder / "data", folder / "cache") for name in [*map(dataset_id, tasks), CAPTIONS]]
    trainer = make_trainer(make_model(config, seed), data, WEIGHTS, chosen, out.with_suffix(".run"))
    trainer.run(show=False)
    log = [json.loads(line) for line in trainer.log_path.read_text().splitlines()]
    checkpoint = make_checkpoint(trainer, data, tokenizer)
    returns = {task.id: float(np.mean([r.episode_return for r in rollout(checkpoint, task, episodes)])) for task in tasks}
    result = {
        "variant": name,
        "seed": seed,
        "steps": trainer.step,
        "timesteps_per_s": float(np.mean([r["timesteps_per_s"] for r in log[1:]])),
        "held_out": {domain: log[-1][f"validation/loss/{domain}"] for domain in WEIGHTS},
        "returns": returns,
    }
    write_row(result, out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=240.0)
    parser.add_argument("--episodes", type=int, default=3)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--folder", type=Path, default=Path("runs/pictures"))
    parser.add_argument("--only", nargs="+", choices=list(VARIANTS), default=list(VARIANTS))
    parser.add_argument("--out", type=Path, help="JSON of all rows")
    parser.add_argument("--run", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--speed", action="store_true")
    a = parser.parse_args()
    if a.speed:
        speed(a.folder)
        return

    def path(name: str, seed: int) -> Path:
        return a.folder / f"rows-{a.seconds:g}s-{a.episodes}" / f"{seed}-{re.sub('[^a-z0-9]+', '-', name.lower())}.json"

    if a.run:
        run(a.run[0], int(a.run[1]), a.seconds, a.episodes, a.folder, path(a.run[0], int(a.run[1])))
        return
    tasks, tokenizer = [get_task(task) for task in GAMES], TextTokenizer.load()
    if missing := [task for task in tasks if not (a.folder / "data" / dataset_id(task)).is_dir()]:
        collect(missing, 5, a.folder / "data")
    for name in [*map(dataset_id, tasks), CAPTIONS]:  # tokenised once, not by two rows at a time
        open_dataset(name, tokenizer, a.folder / "data", a.folder / "cache")

    options = ["--seconds", str(a.seconds), "--episodes", str(a.episodes), "--folder", str(a.folder)]
    done = run_rows(__file__, [(name, seed) for seed in a.seeds for name in a.only], path, options)
    if a.out:
        a.out.parent.mkdir(parents=True, exist_ok=True)
        a.out.write_text(json.dumps({"seconds": a.seconds, "episodes": a.episodes, "rows": done}, indent=1))
    games = " | ".join(game.split("/")[1] for game in GAMES)
    print(f"| variant | timesteps/s | loss atari | loss captions | {games} |\n|---" + "|---" * (3 + len(GAMES)) + "|")
    for name in a.only:
        same = [r for r in done if r["variant"] == name]
        if same:
            losses = " | ".join(" ".join(f"{r['held_out'][domain]:.3f}" for r in same) for domain in WEIGHTS)
            played = " | ".join(" ".join(f"{r['returns'][game]:.0f}" for r in same) for game in GAMES)
            print(f"| {name} | {np.mean([r['timesteps_per_s'] for r in same]):,.0f} | {losses} | {played} |")


if __name__ == "__main__":
    main()
