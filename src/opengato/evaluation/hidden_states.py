"""How a network tells tasks apart: the mean hidden state of every episode, and a map of them in two dimensions (paper, section 5.7)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch

from opengato.checkpoint import Checkpoint
from opengato.datasets.dataset import Dataset
from opengato.errors import OpenGatoError
from opengato.evaluation.windows import Window, batches, in_memory
from opengato.layouts import known_layout, new_layout
from opengato.model.config import ModelConfig
from opengato.tokens.compact import Form
from opengato.tokens.encode import Encoded, encode
from opengato.tokens.vocabulary import IS_TARGET

EPISODES, POSITIONS = 100, 128  # of each task, and of each episode (paper, section 5.7)
_COMPONENTS = 50  # that PCA leaves for t-SNE


@dataclass(frozen=True)
class HiddenStates:
    """Mean hidden states of N episodes.

    Attributes:
        states: float32 (N, width). tasks: of each, its task's id. numbers: int64 (N,), which episode of its dataset each is.
    """

    states: np.ndarray
    tasks: list[str]
    numbers: np.ndarray


@torch.inference_mode()
def mean_hidden_states(
    checkpoint: Checkpoint, datasets: Sequence[Dataset], episodes: int = EPISODES, positions: int = POSITIONS, layer: int | None = None
) -> HiddenStates:
    """The mean hidden states over the first positions of the first episodes of every dataset, without a prompt.

    A position is a token of gato-*, and of swift-*, which fold, most often a timestep. Numbers of a task that the checkpoint was not
    trained on are measured as those of its tasks with the same spaces, see `new_layout`.

    Args:
        positions: cut to the checkpoint's context.
        layer: the block after which the residual stream is taken, from 1; None: half of them (paper).

    Raises:
        OpenGatoError: where there is no such layer, a dataset has no episode, or what is observed at a timestep is longer than the context.
    """
    model = checkpoint.model
    layer = max(1, model.config.blocks // 2) if layer is None else layer
    if not 1 <= layer <= model.config.blocks:
        raise OpenGatoError(f"layer is {layer}, but the checkpoint has {model.config.blocks} of them: give 1 to {model.config.blocks}")
    if episodes < 1 or positions < 1:
        raise OpenGatoError(f"episodes is {episodes} and positions is {positions}: give 1 or more of each")
    positions = min(positions, model.config.context)
    kept: list[torch.Tensor] = []
    hook = model.blocks[layer - 1].register_forward_hook(lambda _module, _arguments, found: kept.append(found))
    states, tasks, numbers = [], [], []
    try:
        for dataset in datasets:
            known = dataset.task in checkpoint.layouts
            spaces = dataset.task, dataset.observation_space, dataset.action_space
            layout = known_layout(checkpoint.layouts, *spaces) if known else new_layout(checkpoint.layouts, *spaces, demonstrated=True)
            form, windows = Form(layout), []
            for episode in islice(dataset.episodes(), episodes):
                # A timestep has a position or more.
                encoded = encode(layout, in_memory(episode)[:positions], checkpoint.tokenizer)
                windows.append(_beginning(encoded, form, model.config, positions, dataset.name))
            if not windows:
                raise OpenGatoError(f"dataset {dataset.name} has no episode")
            for _, batch in batches(checkpoint, layout, windows):
                with model.autocast():
                    model.hidden(batch)
                seen = (batch.segments >= 0) & (torch.arange(batch.segments.shape[1], device=batch.segments.device) < positions)
                weight = seen / seen.sum(1, keepdim=True)
                states.append(torch.einsum("blw,bl->bw", kept.pop().float(), weight).cpu().numpy())
            tasks += [dataset.task] * len(windows)
            numbers.append(np.arange(len(windows)))
    finally:
        hook.remove()
    return HiddenStates(np.concatenate(states), tasks, np.concatenate(numbers))


def _beginning(encoded: Encoded, form: Form, config: ModelConfig, positions: int, name: str) -> Window:
    """The timesteps that cover the first positions, as far as the context holds them; of a long text its first words."""
    where, starts = config.fold.positions(encoded.kinds, encoded.offsets)
    count = min(int(np.searchsorted(starts, positions)), len(encoded))
    if starts[count] > config.context and count > 1:
        count -= 1
    encoded, size = encoded.take(np.arange(count)), int(starts[count])
    if size <= config.context:
        return Window(encoded, form, size)
    where = where[: len(encoded.kinds)]
    seen = encoded.kinds < IS_TARGET
    if (where[seen] >= config.context).any():
        raise OpenGatoError(
            f"a timestep of {name} takes {size} positions, and the checkpoint's context is {config.context}: leave the dataset out, or "
            "give pictures fewer patches"
        )
    kept = seen | (where < config.context)
    cut = Encoded(encoded.tokens[kept], encoded.kinds[kept], encoded.local[kept], np.array([0, kept.sum()]), encoded.patches, encoded.boxes)
    return Window(cut, form, config.context)


def nearest_neighbour_accuracy(points: np.ndarray, tasks: Sequence[str]) -> float:
    """The share of points (N, D) whose nearest other point is of the same task."""
    points = np.asarray(points, np.float64)
    squares = (points**2).sum(1)
    _, of = np.unique(tasks, return_inverse=True)
    right = 0
    for first in range(0, len(points), 256):
        part = points[first : first + 256]
        distance = squares - 2 * part @ points.T
        distance[np.arange(len(part)), first + np.arange(len(part))] = np.inf
        right += int((of[distance.argmin(1)] == of[first : first + 256]).sum())
    return right / len(points)


def chance_accuracy(tasks: Sequence[str]) -> float:
    """How often a random other point would be of the same task."""
    counts = np.unique(tasks, return_counts=True)[1]
    return float((counts * (counts - 1)).sum() / (len(tasks) * (len(tasks) - 1)))


def embed(states: np.ndarray, perplexity: float = 30.0, seed: int = 0) -> np.ndarray:
    """States (N, width) to float64 (N, 2): PCA to 50 dimensions, then t-SNE (van der Maaten and Hinton 2008) by scikit-learn.

    Raises OpenGatoError where scikit-learn is not installed, or there are no more states than neighbours are looked at.
    """
    decomposition, manifold = _scikit_learn()
    if not 0 < perplexity < len(states):
        raise OpenGatoError(f"perplexity is {perplexity:g}, for {len(states)} episodes: give more than 0 and less than there are episodes")
    least = min(_COMPONENTS, *states.shape)
    reduced = decomposition.PCA(least, svd_solver="full").fit_transform(np.asarray(states, np.float64))
    found: np.ndarray = manifold.TSNE(2, perplexity=perplexity, init="pca", random_state=seed).fit_transform(reduced)
    return found.astype(np.float64)


def _scikit_learn() -> tuple[Any, Any]:
    try:
        from sklearn import decomposition, manifold
    except ImportError:
        raise OpenGatoError('t-SNE needs the package scikit-learn: pip install "opengato[figures]"') from None
    return decomposition, manifold
