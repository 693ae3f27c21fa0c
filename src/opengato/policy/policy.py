"""The agent as its users hold it: `Policy.from_pretrained(dir)`, `reset(task)`, `act(observation)`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces

from opengato import hub, release
from opengato.checkpoint import Checkpoint
from opengato.episode import Episode
from opengato.model.batch import GRAIN
from opengato.model.precision import Precision, convert
from opengato.model.prompt import crop_prompt
from opengato.policy.engine import Engine
from opengato.tokens.encode import Encoded, encode
from opengato.tokens.layout import Layout


class Policy:
    """One agent in one environment.

    Args:
        checkpoint: what to act with.
        temperature: of the sampling, see `Engine`; the paper samples text at 0.9 (section 2.4).
        seed: of the sampling.
    """

    def __init__(self, checkpoint: Checkpoint, temperature: float | None = None, top_p: float = 1.0, seed: int = 0, max_text: int = 64):
        self.checkpoint, self._chance = checkpoint, np.random.default_rng(seed)
        self._source: str | Path | None = None
        self._warm: set[tuple[str, int]] = set()
        self._began: tuple[str, Layout, Encoded | None, int] | None = None  # an episode that has not acted yet
        self.engine = Engine(checkpoint.model, checkpoint.tokenizer, slots=1, temperature=temperature, top_p=top_p, max_text=max_text)

    @classmethod
    def from_pretrained(
        cls,
        folder: str | Path,
        device: torch.device | str = "cpu",
        precision: Precision = "float32",
        compiled: bool = False,
        **settings: Any,
    ) -> Policy:
        """Load a checkpoint folder, weights that come along, or hub:OWNER/NAME (needs the extra `hub`).

        Args:
            precision: of the weights: "bfloat16" and "int8" are quicker (docs/performance.md), "float32" acts exactly as it was trained.
            compiled: run the network through torch.compile, which needs a C++ compiler, and up to a minute at the first `act` of an
                episode whose task, or whose length of instruction, is new; later actions compile nothing.
            settings: those of the constructor.
        """
        checkpoint = Checkpoint.load(folder, device)
        convert(checkpoint.model, precision, compiled)
        policy = cls(checkpoint, **settings)
        policy._source = folder
        return policy

    def save_pretrained(
        self,
        folder: str | Path,
        about: str = "A policy trained with OpenGato.",
        scores: Mapping[str, Any] | None = None,
        bits: int = 32,
        push_to_hub: str | None = None,
    ) -> None:
        """Write what `from_pretrained` loads, with a model card: tasks, scores, data, recipe, limits.

        Args:
            about: the card's first paragraph. scores: what `opengato eval --json` printed. bits: of a weight; 16 and 8 round them.
            push_to_hub: hub:OWNER/NAME, to upload it to as well, as a private repository.
        """
        # Weights that were loaded to act are packed, and may be rounded: those that were trained lie where they came from.
        trained = Checkpoint.load(self._source) if self._source is not None else self.checkpoint
        release.write(Path(folder), trained, about, scores=scores, bits=bits)
        if push_to_hub is not None:
            hub.push_to_hub(Path(folder), push_to_hub)

    def reset(
        self,
        task: str,
        prompt: Episode | None = None,
        observation_space: spaces.Space | None = None,
        action_space: spaces.Space | None = None,
    ) -> None:
        """Start an episode of a task.

        Args:
            prompt: a demonstration to act after (paper, section 2.4); default: the checkpoint's own for this task, if it has one.
            observation_space, action_space: of the environment, to check against the checkpoint's.
        """
        layout = self.checkpoint.layout(task, observation_space, action_space)
        encoded = encode(layout, prompt, self.checkpoint.tokenizer) if prompt is not None else self.checkpoint.prompts.get(task)
        encoded, seed = crop_prompt(encoded, self.checkpoint.model.config), int(self._chance.integers(2**63))
        self.engine.reset(0, layout, encoded, seed)
        self._began = task, layout, encoded, seed

    def act(self, observation: Any, on_token: Callable[[int], None] | None = None) -> Any:
        """The action for an observation, a member of the task's action space."""
        self._begin(observation)
        listen = (lambda _slot, token: on_token(token)) if on_token else None
        return self.engine.act({0: observation}, listen)[0]

    def plan(self, observation: Any, steps: int) -> list[Any]:
        """`steps` actions to take before the next observation, in one pass as far as the network was trained to (`Engine.plan`)."""
        self._begin(observation)
        return self.engine.plan({0: observation}, steps)[0]

    def _begin(self, observation: Any) -> None:
        """Before an episode's first action."""
        if self._began is not None:
            if self.checkpoint.model.compiled:
                self._warm_up(*self._began, observation)
            self._began = None

    def _warm_up(self, task: str, layout: Layout, prompt: Encoded | None, seed: int, observation: Any) -> None:
        """Compile for this task and observation, unless that was done, and begin the episode again."""
        key = task, -(-self.engine.size(layout, observation) // GRAIN)
        if key not in self._warm:
            self._warm.add(key)
            self.engine.warm_up(layout, observation, prompt)
            self.engine.reset(0, layout, prompt, seed)
