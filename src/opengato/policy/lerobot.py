"""A task's observations, actions and timesteps as LeRobot's policies are given them; the library is not imported here.

A batch is a flat dict. Its features are named as in LeRobot's datasets (`datasets.lerobot_features`):

    "observation.state", …: float (B, n)                observation["state"], in its space's dtype and shape
    "observation.images.front": float (B, C, H, W)      observation["images"]["front"], uint8 (H, W, C)
    "task": list of B texts, or one                     the field that is the task, of those that are texts
    "action": float (B, n)                              the action

Pictures are in [0, 1], or uint8 as they were. For training all tensors have an axis of T timesteps after the first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from gymnasium import spaces

from opengato.datasets.lerobot_features import feature_names, task_field
from opengato.datasets.survey import is_picture
from opengato.episode import Episode, map_leaves
from opengato.errors import OpenGatoError
from opengato.tokens.layout import Layout
from opengato.tokens.nested import rebuild

ACTION = "action"


class LeRobotBatches:
    """What LeRobot's batches hold of one task.

    Raises OpenGatoError where an action is not one vector or one number, the only form of an action that LeRobot's policies have.

    Attributes:
        numbers: the names of observed numbers, and their shapes. pictures: of pictures, with shapes (C, H, W). texts: of texts.
        action: the action's shape, (n,).
    """

    def __init__(self, layout: Layout):
        self._layout = layout
        seen = feature_names(layout.observation_space, "observation")
        said = task_field([path for path, (_, space) in seen.items() if isinstance(space, spaces.Text)])
        self._fields = {path: ("task" if path == said else name, space) for path, (name, space) in seen.items()}
        self.numbers: dict[str, tuple[int, ...]] = {}
        self.pictures: dict[str, tuple[int, int, int]] = {}
        self.texts: list[str] = []
        for name, space in self._fields.values():
            shape = tuple(space.shape or ())
            if isinstance(space, spaces.Text):
                self.texts.append(name)
            elif is_picture(space):
                self.pictures[name] = shape[2], shape[0], shape[1]
            else:
                self.numbers[name] = shape or (1,)
        one = layout.action_space
        if isinstance(one, spaces.Dict | spaces.Tuple | spaces.Text) or len(one.shape or ()) > 1:
            raise OpenGatoError(
                f"the action space is {one}, and the action of a LeRobot policy is one vector: serve this task (opengato serve)"
            )
        self.action: tuple[int, ...] = tuple(one.shape or (1,))

    def observations(self, batch: Mapping[str, Any]) -> list[Any]:
        """The B observations of a batch. Raises OpenGatoError where one lacks a field, or has it in another shape."""
        size = self.rows(batch)
        fields = {path: self._leaf(batch, name, space, (size,)) for path, (name, space) in self._fields.items()}
        whole = rebuild(self._layout.observation_space, fields)
        return [map_leaves(lambda leaf, row=row: leaf[row], whole) for row in range(size)]

    def actions(self, actions: list[Any]) -> torch.Tensor:
        """B actions as float32 (B, n)."""
        return torch.from_numpy(np.stack([np.asarray(action, np.float32).reshape(self.action) for action in actions]))

    def episodes(self, batch: Mapping[str, Any], task: str) -> Iterator[Episode]:
        """The B windows of a training batch, each as long as "action_is_pad" leaves it, which is false for the first timestep at least."""
        size, length = (int(n) for n in batch[ACTION].shape[:2])
        lead = size, length
        fields = {path: self._leaf(batch, name, space, lead) for path, (name, space) in self._fields.items()}
        whole = rebuild(self._layout.observation_space, fields)
        actions = _numbers(batch[ACTION], ACTION, self._layout.action_space, lead)
        padding = batch.get("action_is_pad")
        lengths = [length] * size if padding is None else (~padding.bool()).sum(1).tolist()
        for row, valid in enumerate(lengths):
            observed = map_leaves(lambda leaf, row=row, valid=valid: leaf[row][:valid], whole)
            yield Episode(observed, actions[row, :valid], np.zeros(valid, np.float32), task)

    def rows(self, batch: Mapping[str, Any]) -> int:
        """B, of a batch to act on."""
        tensors = [batch[name] for name in (*self.numbers, *self.pictures) if name in batch]
        texts = [batch[name] for name in self.texts if isinstance(batch.get(name), list | tuple)]
        return len(next(iter(tensors + texts), [None]))

    def _leaf(self, batch: Mapping[str, Any], name: str, space: spaces.Space, lead: tuple[int, ...]) -> Any:
        if name not in batch:
            here = sorted(key for key in batch if key.startswith("observation.") or key == "task")
            raise OpenGatoError(f"the batch has no {name!r}, which the checkpoint was trained with: it has {', '.join(here) or 'nothing'}")
        value = batch[name]
        if isinstance(space, spaces.Text):
            rows = [value] * lead[0] if isinstance(value, str) else list(value)
            if len(rows) != lead[0] or not all(isinstance(row, str) for row in rows):
                raise OpenGatoError(f"{name!r} of the batch is no text, nor one for each of its {lead[0]} rows: give the instruction")
            return rows if len(lead) == 1 else [[row] * lead[1] for row in rows]
        return _picture(value, name, space, lead) if is_picture(space) else _numbers(value, name, space, lead)


def _numbers(value: torch.Tensor, name: str, space: spaces.Space, lead: tuple[int, ...]) -> np.ndarray:
    shape = tuple(space.shape or ())
    if tuple(value.shape) not in {(*lead, *shape), (*lead, *(shape or (1,)))}:
        raise OpenGatoError(f"{name!r} of the batch has shape {tuple(value.shape)} where the checkpoint was trained with {(*lead, *shape)}")
    numbers = value.detach().to("cpu", torch.float64).numpy().reshape(*lead, *shape)
    whole = space.dtype is not None and np.issubdtype(space.dtype, np.integer)
    return (np.rint(numbers) if whole else numbers).astype(space.dtype)


def _picture(value: torch.Tensor, name: str, space: spaces.Space, lead: tuple[int, ...]) -> np.ndarray:
    """uint8 (*lead, H, W, C)."""
    height, width, channels = space.shape  # type: ignore[misc]
    if tuple(value.shape) != (wanted := (*lead, channels, height, width)):
        raise OpenGatoError(
            f"{name!r} of the batch has shape {tuple(value.shape)} where the checkpoint was trained with {wanted}: "
            "let the camera, or a processor, give it that size"
        )
    if value.dtype != torch.uint8:
        # Not `contains`: what a resizing filter overshoots by is cut, what was never in [0, 1] (normalised by a mean) is an error.
        low, high = value.aminmax()
        if not (low >= -0.1 and high <= 1.1):
            raise OpenGatoError(f"{name!r} of the batch has values from {low:g} to {high:g}: give pictures in [0, 1], not normalised")
        value = (value.float() * 255).round().clamp(0, 255).to(torch.uint8)
    return np.ascontiguousarray(value.detach().cpu().movedim(-3, -1).numpy())
