"""A baseline at work in many environments at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from opengato.baselines.cnn import Cnn
from opengato.baselines.columns import columns
from opengato.baselines.features import Inputs
from opengato.baselines.networks import Network
from opengato.baselines.pool import LONGEST
from opengato.baselines.targets import Targets
from opengato.episode import stack
from opengato.errors import OpenGatoError
from opengato.tokens.encode import decode_actions, encode_timesteps
from opengato.tokens.layout import Layout
from opengato.tokens.nested import get_path
from opengato.tokens.text import TextTokenizer


class Actor:
    """Slots of one task. What is observed goes the way of the data, through tokens, so that it is seen as in training."""

    def __init__(
        self, network: Network, layout: Layout, targets: Targets, tokenizer: TextTokenizer, task: int, slots: int, temperature: float
    ):
        self._network, self._features = network, network.features
        self._layout, self._targets, self._tokenizer = layout, targets, tokenizer
        self._task, self._temperature = task, temperature
        self._memory = torch.zeros(slots, network.memory)
        self._chances: list[np.random.Generator | None] = [None] * slots

    def reset(self, slot: int, seed: int = 0) -> None:
        """Start an episode in a slot with an empty memory; `seed` is of its sampling."""
        self._memory[slot] = 0
        self._chances[slot] = np.random.default_rng(seed)

    def plan(self, observations: dict[int, Any], steps: int) -> dict[int, list[Any]]:
        """Observations by slot to `steps` actions in a row by slot, as if the same observations had been made again."""
        made = [self.act(observations) for _ in range(steps)]
        return {slot: [actions[slot] for actions in made] for slot in observations}

    @torch.inference_mode()
    def act(self, observations: dict[int, Any]) -> dict[int, Any]:
        """Observations by slot to actions by slot."""
        slots = list(observations)
        chances = [chance for slot in slots if (chance := self._chances[slot]) is not None]
        if len(chances) < len(slots):
            raise OpenGatoError(f"one of the slots {slots} was not reset: call reset before act")
        together = stack([observations[slot] for slot in slots])
        encoded = encode_timesteps(self._layout, self._tokenizer, together, None, len(slots))
        observed, _ = columns(self._layout, encoded, self._tokenizer.eos, actions=False)
        numbers, hot = self._features.arrays(observed, len(slots))
        inputs = Inputs(
            torch.from_numpy(numbers),
            torch.from_numpy(hot.astype(np.int64)),
            torch.full((len(slots),), self._task),
            [torch.from_numpy(np.asarray(get_path(together, field.path))) for field in self._features.images],
        )
        out, memory = self._network(inputs, self._memory[slots])
        self._memory[slots] = memory
        if isinstance(self._network, Cnn) and self._network.speaker is not None:
            tokens = [self._targets.pieces[text] for text in self._network.speaker.say(out, LONGEST)]
        else:
            tokens = list(self._targets.tokens(out.numpy(), chances, self._temperature))
        return dict(zip(slots, decode_actions(self._layout, tokens, self._tokenizer)))
