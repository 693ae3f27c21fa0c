"""What an agent's words are worth, where no environment can tell: their likelihood on pictures that training never saw."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from opengato.baselines.baseline import Baseline
from opengato.checkpoint import Checkpoint
from opengato.datasets import captions, questions
from opengato.datasets.store import TokenDataset
from opengato.datasets.tokenise import tokenise
from opengato.evaluation.agent import Agent
from opengato.mixture.packing import Piece, pack
from opengato.model.batch import collate

_TOGETHER = 16  # pictures a batch


def held_out_nats(agent: Agent, cache: Path | None = None) -> dict[str, float]:
    """Task -> mean nats a token of what is said of the held-out shipped pictures, of an agent that learned captions or questions.

    A baseline spreads one part in a hundred of its probability over all tokens, as held-out texts have some that training never had.
    `cache`: folder of tokenised data; default: the user's.
    """
    nats = {}
    for dataset in (captions.emoji_captions("test"), questions.emoji_questions("test")):
        if dataset.task in agent.layouts:
            data = tokenise(dataset, agent.tokenizer, cache)
            nats[dataset.task] = agent.loss(data) if isinstance(agent, Baseline) else word_losses(agent, data).mean().item()
    return nats


@torch.inference_mode()
def word_losses(checkpoint: Checkpoint, data: TokenDataset) -> torch.Tensor:
    """Nats, float32 (N,), of all N tokens that are said in a dataset of a task it knows, each timestep seen alone and without a prompt."""
    config, layout = checkpoint.model.config, checkpoint.layouts[data.task]
    rng = np.random.default_rng(0)  # of where in its patches a picture is said to be
    zero = np.zeros(1, np.int64)
    count, losses = data.timesteps, []
    for first in range(0, count, _TOGETHER):
        timesteps = range(first, min(first + _TOGETHER, count))
        pieces = [Piece(data, layout, 0, np.array([timestep]), zero, zero, 0) for timestep in timesteps]
        batch = collate([pack([piece], config.context, config.fold, rng) for piece in pieces], config)
        with checkpoint.model.autocast():
            losses.append(checkpoint.model(batch.to(checkpoint.model.table.device)).float().cpu())
    return torch.cat(losses)
