"""The fixed small mixture that `families.py`, `ablate.py` and `dial.py` share: four control domains, captions, held-out episodes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from opengato.checkpoint import Checkpoint
from opengato.collection import collect, dataset_id
from opengato.datasets import captions
from opengato.datasets.dataset import Episodes
from opengato.datasets.open import open_dataset
from opengato.datasets.store import TokenDataset
from opengato.datasets.tokenise import tokenise
from opengato.domains import get_task
from opengato.evaluation.evaluate import score_of
from opengato.evaluation.rollout import rollout
from opengato.mixture import Mixture, Sampling
from opengato.model import gato
from opengato.model.batch import collate
from opengato.model.config import ModelConfig
from opengato.model.losses import linear_cross_entropy
from opengato.recipes import SWIFT_SAMPLING, Recipe
from opengato.tokens.text import TextTokenizer
from opengato.training.loop import TrainConfig, Trainer
from opengato.training.train import make_checkpoint, make_model, make_trainer

# Task -> episodes to learn from, episodes held out, share of random actions.
TASKS = {
    "babyai/go-to-local": (1500, 60, 0.0),
    "babyai/go-to-obj": (800, 40, 0.0),
    "metaworld/reach": (40, 5, 0.15),
    "metaworld/window-close": (40, 5, 0.15),
    "dm-control/cartpole-balance": (12, 3, 0.2),
    "dm-control/point-mass-easy": (20, 3, 0.2),
    "atari/freeway": (2, 1, 0.0),
}
CONTROL = [task for task in TASKS if not task.startswith("atari")]
PICTURES = ["atari/freeway", captions.TASK]
HELD_OUT_SEED = 500_000
HELD_OUT_SEQUENCES = 16  # positions: a multiple of what the smallest context holds


@dataclass
class Data:
    """Datasets to learn from and held-out ones, of the chosen tasks; every domain weighs the same."""

    datasets: list[TokenDataset]
    held_out: list[TokenDataset]
    tokenizer: TextTokenizer
    domains: list[str]


def open_data(folder: Path, tasks: list[str]) -> Data:
    """Collect what is not there yet (about three minutes on two cores for all tasks) and open it."""
    played = [t for t in tasks if t != captions.TASK]
    tokenizer = TextTokenizer.load()
    parts = []
    for which, part in enumerate(("train", "held-out")):
        if not all((folder / part / dataset_id(get_task(t))).is_dir() for t in played):
            collect(
                [get_task(t) for t in played],
                {t: TASKS[t][which] for t in played},
                folder / part,
                seed=HELD_OUT_SEED * which,
                noise={t: TASKS[t][2] for t in played},
            )
        opened = [open_dataset(dataset_id(get_task(t)), tokenizer, folder / part, folder / "cache") for t in played]
        if captions.TASK in tasks:
            named, split = list(captions.load_emoji(("train", "test")[which])), f"{captions.fingerprint()} {part}"
            spaces = (captions.OBSERVATION_SPACE, captions.ACTION_SPACE)
            opened.append(tokenise(Episodes(captions.TASK, *spaces, named, split), tokenizer, folder / "cache"))
        parts.append(opened)
    return Data(*parts, tokenizer, sorted({d.domain for d in parts[0]}))


def train(
    data: Data, config: ModelConfig, training: TrainConfig, folder: Path, sampling: Sampling | None = None
) -> tuple[Trainer, dict[str, float]]:
    """Train, and say how fast: timesteps and positions a second, steps."""
    chosen = Recipe("", replace(training, checkpoint_every=1e9), "", "", "", sampling=sampling or SWIFT_SAMPLING)
    trainer = make_trainer(make_model(config, training.seed), data.datasets, dict.fromkeys(data.domains, 1.0), chosen, folder)
    counted = {"timesteps": 0, "positions": 0}
    step = trainer.train_step

    def counting(batches: list) -> object:
        done = step(batches)
        counted["timesteps"] += done.tally.timesteps
        counted["positions"] += done.tally.positions
        return done

    trainer.train_step = counting  # type: ignore[method-assign]
    trainer.run(show=False)
    speed = {f"{name}_per_s": count / trainer.elapsed for name, count in counted.items()}
    return trainer, {**speed, "steps": trainer.step, "seconds": trainer.elapsed}


def held_out_loss(trainer: Trainer, data: Data) -> dict[str, float]:
    """Nats a number of the experts' own actions (a word of captions), by domain and their mean: plain cross-entropy for every family."""
    config = trainer.model.config
    losses = {}
    trained_with: Callable = gato.soft_cross_entropy
    gato.soft_cross_entropy = linear_cross_entropy
    try:
        for domain in data.domains:
            mixture = Mixture(
                [d for d in data.held_out if d.domain == domain],
                {domain: 1.0},
                config.context,
                config.fold,
                0,
                Sampling(prompt_share=0.0),
                layouts=trainer.mixture.layouts,
            )
            total, count = 0.0, 0
            for n in range(max(2, HELD_OUT_SEQUENCES * 256 // config.context)):
                with torch.inference_mode():
                    found = trainer.model(collate([mixture.sequence(n)], config))
                total, count = total + found.double().sum().item(), count + len(found)
            losses[domain] = total / count
    finally:
        gato.soft_cross_entropy = trained_with
    return {**losses, "mean": float(np.mean(list(losses.values())))}


def scores(trainer: Trainer, data: Data, episodes: int, tasks: list[str], prompt: bool = True) -> dict[str, float]:
    """Score of every task in per cent of the expert, and their mean."""
    checkpoint: Checkpoint = make_checkpoint(trainer, data.datasets, data.tokenizer)
    out = {}
    for name in tasks:
        task = get_task(name)
        done = rollout(checkpoint, task, episodes, prompt=prompt)
        out[name] = score_of(task, done).score
    return {**out, "mean": float(np.mean(list(out.values())))}
