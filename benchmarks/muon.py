"""What the precision of Muon's steps does to what is learned: in float32, and in bfloat16 as PyTorch's own.

    python benchmarks/muon.py [--task memory/t-maze-short] [--steps 250] [--seeds 0 1 2] [--out benchmarks/results/muon.json]

A network of two blocks, 64 positions, on 300 demonstrations of a maze whose end asks for what its beginning showed: one half is chance.
Only the making of momentum orthogonal is rounded; all else is as the processor has it. Per cent of success in 60 episodes from starts of
evaluation.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch

from opengato.checkpoint import Checkpoint
from opengato.collection import record_episode
from opengato.datasets.dataset import Episodes
from opengato.datasets.tokenise import tokenise
from opengato.domains import Task, get_task
from opengato.evaluation.rollout import rollout
from opengato.mixture import Mixture, Sampling
from opengato.model.config import swift
from opengato.tokens.text import TextTokenizer
from opengato.training import muon
from opengato.training.loop import TrainConfig, Trainer
from opengato.training.optimiser import SWIFT
from opengato.training.train import make_model

_exact = muon.orthogonal


def _rounded(matrices: torch.Tensor) -> torch.Tensor:
    """As `muon.orthogonal`, every product rounded; not by way of X·Xᵀ alone, which squares the rounding error."""
    if matrices.shape[1] > matrices.shape[2]:
        return _rounded(matrices.mT).mT
    x = matrices.bfloat16() / torch.linalg.matrix_norm(matrices, keepdim=True).clamp(min=1e-30).bfloat16()
    square = x @ x.mT @ x @ x.mT
    x = x / torch.linalg.matrix_norm(square, keepdim=True).clamp(min=1e-30).sqrt().sqrt()
    for a, b, c in muon._ODD_POLYNOMIALS:
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.to(matrices.dtype)


def success(task: Task, steps: int, seed: int, folder: Path) -> float:
    env, expert, tokenizer = task.make(), task.make_expert(), TextTokenizer.load()  # type: ignore[misc]
    shown = [record_episode(task, env, expert, number)[0] for number in range(300)]
    data = tokenise(Episodes(task.id, task.observation_space, task.action_space, shown, "1"), tokenizer, folder)
    config = swift(2, context=64)
    mixture = Mixture([data], {task.domain: 1.0}, config.context, config.fold, seed, Sampling(0.1, config.moments, 0.8))
    training = TrainConfig(steps=steps, batch=8, seed=seed, optimiser=SWIFT, checkpoint_every=1e9)
    trainer = Trainer(make_model(config, seed), mixture, training, folder / "run")
    trainer.run(show=False)
    agent = Checkpoint(trainer.model.eval(), tokenizer, mixture.layouts)
    return 100 * float(np.mean([bool(episode.success) for episode in rollout(agent, task, 60)]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="memory/t-maze-short")
    parser.add_argument("--steps", type=int, default=250)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--out", type=Path)
    a = parser.parse_args()
    found: dict[str, list[float]] = {"float32": [], "bfloat16": []}
    for seed in a.seeds:
        for name, steps in (("float32", _exact), ("bfloat16", _rounded)):
            with tempfile.TemporaryDirectory() as folder, patch.object(muon, "orthogonal", steps):
                found[name].append(success(get_task(a.task), a.steps, seed, Path(folder)))
            print(f"seed {seed}  {name:8}  {found[name][-1]:.0f}%", flush=True)
    if a.out:
        a.out.write_text(json.dumps({"task": a.task, "steps": a.steps, "seeds": a.seeds, "success": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
