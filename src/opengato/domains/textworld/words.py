"""The spaces of text games: what is read, and what may be said."""

from __future__ import annotations

import string
from typing import Any

import numpy as np
from gymnasium import spaces

from opengato.tokens.spaces import text_space

LONGEST_COMMAND = 100  # characters
OBSERVATION_SPACE = spaces.Dict(
    carrying=text_space(2_000), goal=text_space(4_000), recipe=text_space(4_000), room=text_space(10_000), said=text_space(10_000)
)
ACTION_SPACE = text_space(LONGEST_COMMAND)


class Commands(spaces.Text):
    """The same space as `ACTION_SPACE`, of which `sample` draws the sentences that mean something now: letters at random never would."""

    def __init__(self) -> None:
        super().__init__(LONGEST_COMMAND, min_length=0, charset=string.printable)
        self.admissible: list[str] = []

    def sample(self, mask: Any = None, probability: Any = None) -> str:
        """One of `admissible`, each as likely; before an episode has begun, any string."""
        if not self.admissible or mask is not None or probability is not None:
            return super().sample(mask, probability)
        rng: np.random.Generator = self.np_random
        return self.admissible[int(rng.integers(len(self.admissible)))]
