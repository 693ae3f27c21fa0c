"""A small training run as a program, for tests that start, kill and multiply it: run.py FOLDER STEPS [--option value …]."""

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from gymnasium import spaces

from opengato.datasets.dataset import Episodes
from opengato.datasets.tokenise import tokenise
from opengato.episode import Episode
from opengato.mixture import Mixture, Sampling
from opengato.model.config import ModelConfig
from opengato.model.gato import Gato
from opengato.tokens.text import TextTokenizer
from opengato.training import loop
from opengato.training.loop import TrainConfig, Trainer
from opengato.training.lora import add_adapters, merge_adapters
from opengato.training.optimiser import PAPER, SWIFT
from opengato.training.parallel import leave

CONFIGS = {
    "gato": ModelConfig("gato", 2, 2, 32, 64, 16, context=64, stochastic_depth=0.2),
    "swift": ModelConfig("swift", 2, 2, 32, 64, 16, context=64, stochastic_depth=0.2, set_width=32, patches_per_position=2, glances=2),
}


def datasets(folder: Path) -> list:
    rng = np.random.default_rng(0)

    def arm() -> Episode:
        seen, done = rng.normal(size=(20, 3)).astype(np.float32), rng.uniform(-1, 1, (20, 2)).astype(np.float32)
        return Episode(seen, done, np.ones(20, np.float32), "arm/a")

    def grid() -> Episode:
        seen = {"board": rng.integers(0, 4, (6, 2, 3)), "image": rng.integers(0, 256, (6, 32, 16, 3), np.uint8)}
        return Episode(seen, rng.integers(0, 4, 6), np.ones(6, np.float32), "grid/b")

    tokenizer = TextTokenizer.load()
    box, action = spaces.Box(-9, 9, (3,), np.float32), spaces.Box(-1, 1, (2,), np.float32)
    seen = spaces.Dict(board=spaces.MultiDiscrete(np.full((2, 3), 4)), image=spaces.Box(0, 255, (32, 16, 3), np.uint8))
    return [
        tokenise(Episodes("arm/a", box, action, [arm() for _ in range(5)], "1"), tokenizer, folder / "cache"),
        tokenise(Episodes("grid/b", seen, spaces.Discrete(4), [grid() for _ in range(5)], "1"), tokenizer, folder / "cache"),
    ]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("steps", type=int)
    parser.add_argument("--stop", type=int)  # after so many steps, as if killed
    parser.add_argument("--pause", type=float, default=0.0)
    parser.add_argument("--family", default="swift")
    parser.add_argument("--parallel", default="ddp")
    parser.add_argument("--accumulate", type=int, default=1)
    parser.add_argument("--every", type=float, default=0.05)
    parser.add_argument("--rate", type=float)
    parser.add_argument("--allow-changes", action="store_true")
    parser.add_argument("--validation", type=float, default=0.0)  # share of the episodes
    parser.add_argument("--validate-every", type=int, default=2)
    parser.add_argument("--lora", type=int)
    parser.add_argument("--recompute", action="store_true")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--autocast", action="store_true")  # whatever the processor has
    a = parser.parse_args()
    torch.set_num_threads(1)
    config = CONFIGS[a.family]
    torch.manual_seed(1)
    model = Gato(config)
    if a.lora:
        add_adapters(model, a.lora)
    # Of the folded family half of the sequences hold single timesteps, so that a rank may have nothing that attends.
    sampling = Sampling(moments=2, short_share=0.5) if a.family == "swift" else Sampling()
    sampling = replace(sampling, validation_share=a.validation)
    mixture = Mixture(datasets(a.folder), {"arm": 1.0, "grid": 1.0}, config.context, config.fold, 5, sampling)
    optimiser = SWIFT if a.family == "swift" else PAPER
    if a.rate:
        optimiser = replace(optimiser, learning_rate=a.rate, table_learning_rate=a.rate)
    training = TrainConfig(
        steps=a.steps,
        batch=4,
        log_every=1,
        validate_every=a.validate_every,
        checkpoint_every=a.every,
        device="cpu",
        autocast=a.autocast,
        recompute=a.recompute,
        compile=a.compile,
        accumulate=a.accumulate,
        parallel=a.parallel,
        allow_changes=a.allow_changes,
        optimiser=optimiser,
    )
    if a.autocast:
        loop.multiplies_bfloat16 = lambda device: True
    trainer = Trainer(model, mixture, training, a.folder / "run")
    step = trainer.train_step

    def slowly(batches: list) -> object:
        if trainer.step == a.stop:
            raise SystemExit(3)
        time.sleep(a.pause)
        return step(batches)

    trainer.train_step = slowly  # type: ignore[method-assign]
    trainer.run(show=False)
    trainer.gather()
    merge_adapters(trainer.model)
    if trainer.ranks.first:
        torch.save(trainer.model.state_dict(), a.folder / "weights.pt")
    leave()


if __name__ == "__main__":
    main()
