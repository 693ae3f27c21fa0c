"""Observations and demonstrations from outside, checked against a task's spaces before they come near the engine."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces

from opengato.episode import Episode, leaves
from opengato.errors import OpenGatoError
from opengato.sentences import short
from opengato.serving.limits import Refusal
from opengato.tokens.layout import Layout
from opengato.tokens.members import conform
from opengato.tokens.text import TextTokenizer

PROMPT_TEXTS = 32  # the texts of a demonstration together, in longest texts
TIMESTEPS = 4096  # of a demonstration at most; no context is that long


class Checker:
    """Turns what a client sent into members of a task's spaces, or says in one sentence what is wrong with which field.

    Args:
        tokenizer: of the checkpoint. characters: of one text at most. tokens: of all texts of an observation together, at most, since a
            single endless text would hold up everyone in the batch.
    """

    def __init__(self, tokenizer: TextTokenizer, characters: int, tokens: int):
        self.tokenizer, self.characters, self.tokens = tokenizer, characters, tokens

    def observation(self, layout: Layout, value: Any) -> Any:
        """A member of the layout's observation space: arrays of its dtypes, ints, strings. Raises Refusal."""
        try:
            observation = self._member(layout.observation_space, value, "the observation")
            texts = [leaf for _, leaf in leaves(observation) if isinstance(leaf, str)]
            if texts and (count := sum(map(self.count, texts))) > self.tokens:
                raise OpenGatoError(f"the observation's text is {count} tokens long where {self.tokens} fit: shorten it")
        except OpenGatoError as error:
            raise Refusal("observation", str(error)) from None
        return observation

    def demonstration(self, task: str, layout: Layout, value: Any, timesteps: int) -> Episode:
        """An episode from {"observations": …, "actions": …} with T ≥ 1 timesteps a leaf, cut to the first `timesteps`. Raises Refusal."""
        try:
            if not isinstance(value, dict) or set(value) != {"observations", "actions"}:
                raise OpenGatoError(f"the prompt is {short(value)}: send a map of observations and actions, None or False")
            length = _length(layout.action_space, value["actions"])
            if not length:
                raise OpenGatoError("the prompt has no timesteps: send at least one, or False for no prompt")
            if length > TIMESTEPS:
                raise OpenGatoError(f"the prompt has {length} timesteps where {TIMESTEPS} are allowed: send the first ones")
            observations = self._member(layout.observation_space, value["observations"], "the prompt's observation", length)
            actions = self._member(layout.action_space, value["actions"], "the prompt's action", length)
            texts = [leaf for side in (observations, actions) for _, leaf in leaves(side) if isinstance(leaf, list)]
            if (letters := sum(len(text) for leaf in texts for text in leaf[:timesteps])) > PROMPT_TEXTS * self.characters:
                allowed = PROMPT_TEXTS * self.characters
                raise OpenGatoError(f"the prompt's texts have {letters} characters where {allowed} are allowed: send fewer timesteps")
        except OpenGatoError as error:
            raise Refusal("prompt", str(error)) from None
        return Episode(observations, actions, np.zeros(length, np.float32), task)[:timesteps]

    def count(self, text: str) -> int:
        """How many tokens a text is, its end included. Raises OpenGatoError for what is no Unicode."""
        return len(self.tokenizer.encode(text)) + 1

    def _member(self, space: spaces.Space, value: Any, name: str, steps: int | None = None) -> Any:
        # Sensors leave the bounds that their makers state; a client is not refused for it.
        return conform(space, value, name, bounded=False, steps=steps, characters=self.characters)


def _length(space: spaces.Space, value: Any) -> int:
    """The number of timesteps of the first leaf; 0 where there is none. Whether it fits the space is seen later."""
    if isinstance(space, spaces.Dict):
        first = min(space.spaces)
        return _length(space[first], value[first]) if isinstance(value, dict) and first in value else 0
    if isinstance(space, spaces.Tuple):
        return _length(space[0], value[0]) if isinstance(value, list | tuple) and value else 0
    if isinstance(value, np.ndarray):
        return len(value) if value.ndim else 0
    return len(value) if isinstance(value, list) else 0
