"""Optimisers and learning-rate schedules of the two families."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn

from opengato.errors import OpenGatoError
from opengato.training.muon import Muon


@dataclass(frozen=True)
class OptimiserConfig:
    """Settings of one optimiser.

    Attributes:
        kind: "adamw" (the paper) or "muon" (matrices by Muon, all else by AdamW).
        learning_rate: peak rate ("muon": the largest singular value of a step of a square matrix, so that one rate serves all widths).
        table_learning_rate: "muon" only: peak rate of the tables, norms and biases, by AdamW.
        beta1, beta2, epsilon, weight_decay: of AdamW; matrices decay, tables, norms and biases do not.
        warmup: steps from 1e-7 up to the peak (paper: 15,000).
        final: last rate as a share of the peak (paper: 0.1, cosine).
        schedule: "cosine" (the paper), "linear", or "constant" (the paper's fine-tuning).
        clip: the gradient's largest norm. The paper names none; one bad batch in a million steps must not end a run.
    """

    kind: str = "adamw"
    learning_rate: float = 1e-4
    table_learning_rate: float = 3e-3
    beta1: float = 0.9
    beta2: float = 0.95
    epsilon: float = 1e-8
    weight_decay: float = 0.1
    warmup: int = 15_000
    final: float = 0.1
    schedule: str = "cosine"
    clip: float = 1.0


PAPER = OptimiserConfig()
SWIFT = OptimiserConfig(
    kind="muon", learning_rate=2.2e-2, table_learning_rate=8e-3, weight_decay=0.2, warmup=50, final=0.02, schedule="linear"
)


def rate_factor(config: OptimiserConfig, step: int, steps: int, done: float | None = None) -> float:
    """The rate at `step` (from 0) as a share of the peak: warm-up from 1e-7, then decay to `final` at `steps`.

    `done`, from 0 to 1, replaces the share of the steps that are done in runs that are limited by time.
    """
    warmup = config.warmup if done is not None else min(config.warmup, max(1, steps // 10))
    if step < warmup:
        low = 1e-7 / config.learning_rate
        return low + (1 - low) * step / warmup
    if done is None:
        done = min(1.0, (step - warmup) / max(1, steps - warmup))
    if config.schedule == "cosine":
        return config.final + (1 - config.final) * 0.5 * (1 + math.cos(math.pi * done))
    if config.schedule == "constant":
        return 1.0
    if config.schedule == "linear":
        return 1 + (config.final - 1) * done
    raise OpenGatoError(f"schedule {config.schedule!r} is unknown: use 'cosine', 'linear' or 'constant'")


def by_decay(model: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """The trained parameters that decay, and those that do not.

    What decays are matrices (relative attention's two biases, u and v, have a matrix's shape and count as such; the paper names no
    exceptions at all); tables, of which most rows have no gradient in most steps, gains and biases do not.
    """
    tables = {id(p) for m in model.modules() if isinstance(m, nn.Embedding) for p in m.parameters()}
    trained = [p for p in model.parameters() if p.requires_grad]
    matrices = [p for p in trained if p.ndim >= 2 and id(p) not in tables]
    rest = [p for p in trained if not (p.ndim >= 2 and id(p) not in tables)]
    return matrices, rest


def make_optimisers(model: nn.Module, config: OptimiserConfig) -> list[torch.optim.Optimizer]:
    """One or two optimisers over the model's parameters, see `by_decay`; every group keeps its peak rate as `initial_lr`."""
    matrices, rest = by_decay(model)
    betas = (config.beta1, config.beta2)
    if config.kind == "adamw":
        groups = [{"params": matrices, "weight_decay": config.weight_decay}, {"params": rest, "weight_decay": 0.0}]
        optimisers: list[torch.optim.Optimizer] = [
            torch.optim.AdamW(groups, lr=config.learning_rate, betas=betas, eps=config.epsilon, fused=True)
        ]
    elif config.kind == "muon":
        flat = [p for p in matrices if p.ndim == 2]
        rest += [p for p in matrices if p.ndim > 2]
        optimisers = []  # either may have nothing: adapters are matrices alone
        if flat:
            optimisers.append(Muon(flat, lr=config.learning_rate, weight_decay=config.weight_decay))
        if rest:
            optimisers.append(
                torch.optim.AdamW(rest, lr=config.table_learning_rate, betas=betas, eps=config.epsilon, weight_decay=0.0, fused=True)
            )
    else:
        raise OpenGatoError(f"optimiser {config.kind!r} is unknown: use 'adamw' or 'muon'")
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["initial_lr"] = group["lr"]
            if isinstance(optimiser, torch.optim.AdamW):
                # Made now: words, say, may have no gradient before a state is saved, and a state has all entries or none.
                for p in group["params"]:
                    zeros = torch.zeros_like(p, memory_format=torch.preserve_format)
                    optimiser.state[p] = {"step": torch.zeros((), device=p.device), "exp_avg": zeros, "exp_avg_sq": zeros.clone()}
            else:
                for p in group["params"]:
                    optimiser.state[p] = {"momentum_buffer": torch.zeros_like(p, memory_format=torch.preserve_format)}
    return optimisers


def set_rate(optimisers: list[torch.optim.Optimizer], factor: float) -> None:
    """Set every group's rate to `factor` times its peak."""
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["lr"] = group["initial_lr"] * factor
