"""Train a preset on datasets: what `opengato train` runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from opengato.checkpoint import Checkpoint
from opengato.datasets.cache import TokenDataset
from opengato.datasets.open import open_dataset
from opengato.domains.task import reference_scores
from opengato.mixture import Mixture
from opengato.model.config import ModelConfig, preset
from opengato.model.gato import Gato
from opengato.policy.prompt import first_timesteps
from opengato.tokens.encode import Encoded
from opengato.tokens.text import TextTokenizer
from opengato.training.loop import TrainConfig, Trainer
from opengato.training.optimiser import PAPER, SWIFT


def make_model(config: ModelConfig, seed: int) -> Gato:
    """A fresh model whose weights are a function of the seed."""
    torch.manual_seed(seed)
    return Gato(config)


def expert_returns(datasets: list[TokenDataset]) -> dict[str, float]:
    """Task -> expert return, for the return filter: the stored reference where there is one, else the data's own (paper, appendix D).

    The paper: the largest mean return of any W episodes in a row, W = min(1000, N / 10).
    """
    stored = reference_scores()
    out = {}
    for data in datasets:
        if data.task in stored:
            # Not above the best of this data: three searched games need not reach the mean of the reference.
            out[data.task] = min(stored[data.task]["expert"], float(data.returns.max()))
        elif np.ptp(data.returns) > 0:
            width = max(1, min(1000, len(data) // 10))
            out[data.task] = float(np.convolve(data.returns, np.ones(width) / width, mode="valid").max())
    return out


def best_prompts(datasets: list[TokenDataset], positions: int, config: ModelConfig) -> dict[str, Encoded]:
    """For every task with returns, the beginning of its best demonstration, at most `positions` long."""
    prompts = {}
    for data in datasets:
        if np.ptp(data.returns) == 0 and data.returns[0] == 0:
            continue
        best = int(np.argmax(data.returns))
        window = data.timesteps(int(data.episodes[best]), int(data.episodes[best + 1]))
        window.offsets = window.offsets - window.offsets[0]
        _, starts = config.fold.positions(window.kinds, window.offsets)
        count = int(np.searchsorted(starts, positions, side="right")) - 1
        if count > 0:
            prompts[data.task] = first_timesteps(window, count)
    return prompts


def save_checkpoint(trainer: Trainer, datasets: list[TokenDataset], tokenizer: TextTokenizer, folder: Path) -> Checkpoint:
    """The trained model with everything it needs, as a checkpoint folder."""
    config = trainer.model.config
    checkpoint = Checkpoint(
        trainer.model,
        tokenizer,
        {d.task: d.layout for d in datasets},
        best_prompts(datasets, config.context, config),
        {"steps": trainer.step, "seed": trainer.config.seed},
    )  # type: ignore[arg-type]
    checkpoint.save(folder)
    return checkpoint


def train(
    preset_name: str,
    data: list[str],
    out: Path,
    *,
    steps: int,
    batch: int,
    seed: int = 0,
    learning_rate: float | None = None,
    prompt_share: float = 0.25,
    return_threshold: float = 0.8,
    device: str = "auto",
    root: Path | None = None,
) -> Checkpoint:
    """Train from scratch, or go on with the run in `out`; domains weigh the same."""
    config = preset(preset_name)
    tokenizer = TextTokenizer.load()
    datasets = [open_dataset(name, tokenizer, root) for name in data]
    weights = {d.domain: 1.0 for d in datasets}
    mixture = Mixture(datasets, weights, config.context, config.fold, seed, prompt_share, return_threshold, expert_returns(datasets))
    optimiser = PAPER if config.family == "gato" else SWIFT
    if learning_rate is not None:
        optimiser = replace(optimiser, learning_rate=learning_rate)
    trainer = Trainer(
        make_model(config, seed), mixture, TrainConfig(steps=steps, batch=batch, seed=seed, device=device, optimiser=optimiser), out
    )
    trainer.run()
    checkpoint = save_checkpoint(trainer, datasets, tokenizer, out / "checkpoint")
    print(f"{out / 'checkpoint'}: {trainer.step} steps")
    return checkpoint
