"""Where in a picture an agent looks: what its action attends to (paper, section 5.6), and what covering each patch does to its action."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch

from opengato.checkpoint import Checkpoint
from opengato.domains import Task
from opengato.episode import leaves, stack
from opengato.errors import OpenGatoError
from opengato.model.memory import Step
from opengato.model.prompt import crop_prompt
from opengato.policy.engine import Engine, Slot
from opengato.tokens.encode import encode_timesteps
from opengato.tokens.fields import Field
from opengato.tokens.image import patch_grid
from opengato.tokens.layout import Layout
from opengato.tokens.nested import get_path, rebuild
from opengato.tokens.vocabulary import IMAGE, PATCH_SIZE

_TOGETHER = 8  # covered pictures that are looked at side by side


@dataclass(frozen=True)
class Look:
    """What an agent saw at one timestep, and where in it.

    Attributes:
        pictures: uint8 (H, W, 3), one a camera, in the order of the observation's fields.
        maps: float64 (rows, columns), 0 and more, one a camera, of its patches: how much of the attention is on each, in all at most 1,
            or how many nats the action's distribution changes where it is covered.
    """

    pictures: list[np.ndarray]
    maps: list[np.ndarray]

    @property
    def total(self) -> float:
        """Of all patches of all cameras."""
        return float(sum(part.sum() for part in self.maps))


class Saliency(Protocol):
    """One agent at one task, which says where it looks while it acts."""

    def begin(self, seed: int) -> None:
        """Start an episode; `seed` is of its sampling."""

    def act(self, observation: Any) -> tuple[Any, np.ndarray]:
        """The action, and float64 (P,) of the patches of all cameras in order."""


def cameras(layout: Layout) -> list[Field]:
    """The pictures of an observation, in token order."""
    return [field for field in layout.observation if field.kind == IMAGE]


def watch(saliency: Saliency, task: Task, layout: Layout, seed: int, steps: int) -> Iterator[Look]:
    """Play an episode of a task, or its first `steps` timesteps, and say where the agent looks at each."""
    fields = cameras(layout)
    grids = [patch_grid(*field.space.shape[:2]) for field in fields]  # type: ignore[index]
    ends = np.cumsum([rows * columns for rows, columns in grids])
    environment = task.make()
    try:
        observation, _ = environment.reset(seed=seed)
        saliency.begin(seed)
        for _ in range(steps):
            action, values = saliency.act(observation)
            pictures = [np.array(get_path(observation, field.path)) for field in fields]
            pictures = [np.repeat(picture, 3, -1) if picture.shape[-1] == 1 else picture for picture in pictures]
            yield Look(pictures, [part.reshape(grid) for part, grid in zip(np.split(values, ends[:-1]), grids)])
            observation, _, terminated, truncated, _ = environment.step(action)
            if terminated or truncated:
                return
    finally:
        environment.close()


class _Watched:
    """An engine whose first slot acts at a task."""

    def __init__(self, checkpoint: Checkpoint, task: str, slots: int, temperature: float | None):
        self.layout = checkpoint.layout(task)
        if not cameras(self.layout):
            raise OpenGatoError(f"task {task!r} observes no picture, so there is nowhere to look: name one that does")
        self.engine = Engine(checkpoint.model, checkpoint.tokenizer, slots, temperature=temperature)
        self._prompt = crop_prompt(checkpoint.prompts.get(task), checkpoint.model.config)

    @property
    def state(self) -> Slot:
        """Of the first slot."""
        state = self.engine.slots[0]
        assert state is not None
        return state

    def begin(self, seed: int) -> None:
        self.engine.reset(0, self.layout, self._prompt, seed)


class Attention(_Watched):
    """The attention from where an action is predicted to the positions of the picture, as the forward pass weighs them.

    Of an action of several numbers that are predicted one after the other, the mean over them. Patches that share a position share its
    attention equally.

    Args:
        layer: the block, from 1; None: the last. head: from 1; None: the mean over all.

    Raises:
        OpenGatoError: where there is no such layer or head, no picture, or where all of it is one position.
    """

    def __init__(
        self, checkpoint: Checkpoint, task: str, layer: int | None = None, head: int | None = None, temperature: float | None = None
    ):
        super().__init__(checkpoint, task, 1, temperature)
        config = checkpoint.model.config
        for name, value, most in (("layer", layer, config.blocks), ("head", head, config.heads)):
            if value is not None and not 1 <= value <= most:
                raise OpenGatoError(f"{name} is {value}, but the checkpoint has {most} of them: give 1 to {most}")
        patches = sum(field.count or 0 for field in cameras(self.layout))
        if patches <= config.patches_per_position:
            raise OpenGatoError(
                f"all {patches} patches that {task!r} observes are one position to the checkpoint, and attention does not tell them apart: "
                "cover them one by one, --by occlusion"
            )
        self._block = config.blocks - 1 if layer is None else layer - 1
        self._heads = slice(None) if head is None else slice(head - 1, head)
        self._rows: list[tuple[int, dict[int, float]]] = []  # query, and what it attends to by position
        self.engine.memory.watch = self._watch

    def _watch(self, block: int, step: Step, weights: torch.Tensor, slots: slice) -> None:
        if block == self._block:
            mean = weights[0, self._heads, -1].double().mean(0).tolist()
            self._rows.append((int(step.positions[0, -1]), dict(zip(step.seen[0].tolist(), mean))))

    def act(self, observation: Any) -> tuple[Any, np.ndarray]:
        self._rows.clear()
        actions, unfinished = self.engine.begin({0: observation})
        first = self.state.position - 1  # that of the observation's last token, from which an action's first is predicted
        while unfinished:
            actions |= self.engine.go_on(unfinished)
        encoded = encode_timesteps(self.layout, self.engine.tokenizer, stack([observation]), None, 1)
        positions, starts = self.engine.model.config.fold.positions(encoded.kinds, encoded.offsets)
        where = positions[encoded.kinds == IMAGE] - int(starts[1]) + first + 1
        _, at, count = np.unique(where, return_inverse=True, return_counts=True)
        found = [[row[position] for position in where.tolist()] for query, row in self._rows if query >= first]
        return actions[0], np.mean(found, 0) / count[at]


class Occlusion(_Watched):
    """What covering a patch does to the action (Zeiler and Fergus 2014), of any network: it is painted in its picture's mean colour.

    Measured by the divergence, in nats, of the action's distribution with the patch covered from that without, KL(seen ‖ covered), at this
    timestep alone, after the same past, summed over the numbers of the action. Of text it is that of the first token.
    """

    def __init__(self, checkpoint: Checkpoint, task: str, temperature: float | None = None):
        super().__init__(checkpoint, task, 1 + _TOGETHER, temperature)
        self._scores: dict[int, list[torch.Tensor]] = {}  # slot -> log-probabilities of its action's tokens, in order
        self.engine.heard = self._hear

    def _hear(self, scores: torch.Tensor, whose: list[tuple[int, int]]) -> None:
        for row, (slot, _) in zip(scores.double().log_softmax(-1), whose):
            self._scores.setdefault(slot, []).append(row)

    @torch.inference_mode()
    def act(self, observation: Any) -> tuple[Any, np.ndarray]:
        past, state, chosen = self.engine.memory.recall(0), replace(self.state), list[int]()
        self._scores.clear()
        action = self.engine.act({0: observation}, lambda _slot, token: chosen.append(token))[0]
        seen, covered = self._scores.pop(0), list(self._covered(observation))
        found = []
        for first in range(0, len(covered), _TOGETHER):
            part = covered[first : first + _TOGETHER]
            slots = range(1, 1 + len(part))
            self.engine.memory.remember(slice(slots.start, slots.stop), past)
            for slot in slots:
                self.engine.slots[slot] = replace(state, chance=np.random.default_rng(0))
            self._scores.clear()
            self._act_alike(dict(zip(slots, part)), chosen)
            for slot in slots:
                found.append(sum(float((p.exp() * (p - q)).sum()) for p, q in zip(seen, self._scores[slot])))
        return action, np.maximum(found, 0.0)  # below 0 by rounding alone

    def _act_alike(self, observations: dict[int, Any], chosen: Sequence[int]) -> None:
        """Ask what each slot would do next after the same tokens of an action."""
        _, unfinished = self.engine.begin(observations)
        while unfinished and not self.engine.speaks(0):
            unfinished = {slot: list(chosen[: len(tokens)]) for slot, tokens in unfinished.items()}
            self.engine.go_on(unfinished)

    def _covered(self, observation: Any) -> Iterator[Any]:
        """The observation with each patch covered."""
        for field in cameras(self.layout):
            picture = np.asarray(get_path(observation, field.path))
            colour = picture.mean((0, 1)).round().astype(np.uint8)
            rows, columns = patch_grid(*picture.shape[:2])
            for row in range(rows):
                for column in range(columns):
                    painted = picture.copy()
                    painted[row * PATCH_SIZE : (row + 1) * PATCH_SIZE, column * PATCH_SIZE : (column + 1) * PATCH_SIZE] = colour
                    yield rebuild(self.layout.observation_space, {**dict(leaves(observation)), field.path: painted})
