"""The data of all tasks with the same spaces, ready to be drawn from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from opengato.baselines.columns import Texts, columns
from opengato.baselines.features import Features, Inputs
from opengato.baselines.settings import Settings
from opengato.baselines.targets import Targets
from opengato.datasets.store import TokenDataset
from opengato.tokens.layout import Layout
from opengato.tokens.text import TextTokenizer

LONGEST = 64  # tokens of an answer in words


class Pool:
    """T timesteps of several tasks, end to end in the order of the datasets.

    Args:
        layout: theirs, with the statistics that their numbers are measured in. tasks: their order; each dataset's is one of them.
        known: how they are seen, and what is to be done; by default what this data has of both.

    Attributes:
        features, targets. numbers float32 (T, C), hot (T, K), tasks int64 (T,): as in `Inputs`.
        goals float32 (T, A), choices int64 (T, entries): the actions, see `Targets`; words int64 (T, LONGEST) where the action is a text.
        episodes: int64 (E + 1,), the first timestep of every episode.
    """

    def __init__(
        self,
        layout: Layout,
        datasets: Sequence[TokenDataset],
        tasks: Sequence[str],
        tokenizer: TextTokenizer,
        settings: Settings,
        known: tuple[Features, Targets] | None = None,
    ):
        self._datasets = datasets
        pairs = [columns(layout, data, tokenizer.eos) for data in datasets]
        if known is None:
            said = [column for _, acted in pairs for column in acted.values() if isinstance(column, Texts)]
            pieces = sorted({piece for column in said for text in column.unique for piece in text})
            features = Features.fit(layout, [seen for seen, _ in pairs], tokenizer, settings.words, len(tasks) if settings.task_id else 0)
            known = features, Targets(layout, [*pieces, tokenizer.eos])
        self.features, self.targets = known
        lengths = [data.timesteps for data in datasets]
        self._starts = np.concatenate([[0], np.cumsum(lengths)])
        self.tasks = np.repeat([tasks.index(data.task) for data in datasets], lengths).astype(np.int64)
        seen = [self.features.arrays(observed, length) for (observed, _), length in zip(pairs, lengths)]
        self.numbers = np.concatenate([numbers for numbers, _ in seen])
        self.hot = np.concatenate([hot for _, hot in seen])
        if self.targets.speaks:
            self.words = np.concatenate([self.targets.spoken(acted, LONGEST) for _, acted in pairs])
        else:
            parts = [self.targets.arrays(acted) for _, acted in pairs]
            self.goals, self.choices = (np.concatenate(part) for part in zip(*parts))
        ends = [data.episodes[1:] + start for data, start in zip(datasets, self._starts)]
        self.episodes = np.concatenate([[0], *ends]).astype(np.int64)

    def __len__(self) -> int:
        return len(self.tasks)

    def inputs(self, timesteps: np.ndarray) -> Inputs:
        """What was observed at timesteps int64 (B,)."""
        return Inputs(
            torch.from_numpy(self.numbers[timesteps]),
            torch.from_numpy(self.hot[timesteps].astype(np.int64)),
            torch.from_numpy(self.tasks[timesteps]),
            self._frames(timesteps),
        )

    def losses(self, out: torch.Tensor, timesteps: np.ndarray) -> torch.Tensor:
        """Of outputs (B, width) for timesteps int64 (B,), see `Targets.losses`."""
        return self.targets.losses(out, torch.from_numpy(self.goals[timesteps]), torch.from_numpy(self.choices[timesteps]))

    def _frames(self, timesteps: np.ndarray) -> list[torch.Tensor]:
        fields = self.features.images
        frames = [np.empty((len(timesteps), *(field.space.shape or ())), np.uint8) for field in fields]
        which = np.searchsorted(self._starts, timesteps, side="right") - 1
        for number in np.unique(which) if fields else ():
            rows = which == number
            for frame, found in zip(frames, self._datasets[number].frames(timesteps[rows] - self._starts[number])):
                frame[rows] = found
        return [torch.from_numpy(frame) for frame in frames]
