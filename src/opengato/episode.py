"""An episode: what every agent saw and did, whatever its body (DESIGN: "everything is an episode, text is an action")."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

_STUDENT = "student of round "


def student_of(round: int) -> str:
    """The source of episodes in which the student of this round of corrections acted, and an expert labelled."""
    return f"{_STUDENT}{round}"


def is_relabelled(source: str) -> bool:
    """Whether episodes of this source hold an expert's labels of a student's states: their returns say nothing of their actions."""
    return source.startswith(_STUDENT)


# A nested structure with the shape of its `gymnasium.spaces` space. Its leaves hold T timesteps:
# a NumPy array of shape (T, *space.shape), or a list of T strings for a `Text` space.
Nested = Any


@dataclass
class Episode:
    """T timesteps of observation, action and reward, in time order.

    Attributes:
        observations: nested like the task's observation space; each leaf an array (T, *shape) or a list of T strings.
            Observation t is what the agent saw before it took action t; the observation after the last action is left out.
        actions: nested like the task's action space, leaves as above.
        rewards: float32 (T,), rewards[t] follows actions[t]; zeros where the data has none (text, captions).
        task: the task's id, "domain/name", for example "babyai/go-to-local".
        source: the agent that acted, for example "expert"; prompts come from the same source (paper, section 2.3). Where it is a student,
            see `student_of`, the actions are not those that were executed but an expert's for the same states.
        success: whether the task was solved, None where the task does not define it.
        seed: the seed the environment was reset with, None where there is none.
    """

    observations: Nested
    actions: Nested
    rewards: np.ndarray
    task: str
    source: str = "expert"
    success: bool | None = None
    seed: int | None = None
    info: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.rewards)

    @property
    def episode_return(self) -> float:
        """The undiscounted sum of rewards."""
        return float(np.sum(self.rewards, dtype=np.float64))

    def __getitem__(self, timesteps: slice) -> Episode:
        """The same episode cut to a slice of its timesteps."""

        def cut(leaf: Any) -> Any:
            return leaf[timesteps]

        return Episode(
            map_leaves(cut, self.observations),
            map_leaves(cut, self.actions),
            self.rewards[timesteps],
            self.task,
            self.source,
            self.success,
            self.seed,
            dict(self.info),
        )


def map_leaves(function: Any, nested: Nested) -> Nested:
    """Apply `function` to every leaf of a nested structure of dicts and tuples."""
    if isinstance(nested, dict):
        return {key: map_leaves(function, value) for key, value in nested.items()}
    if isinstance(nested, tuple):
        return tuple(map_leaves(function, value) for value in nested)
    return function(nested)


def leaves(nested: Nested, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (path, leaf) pairs: dict keys in lexicographic order, tuple entries by position (paper, section 2.1)."""
    if isinstance(nested, dict):
        for key in sorted(nested):
            yield from leaves(nested[key], f"{path}.{key}" if path else str(key))
    elif isinstance(nested, tuple):
        for index, value in enumerate(nested):
            yield from leaves(value, f"{path}.{index}" if path else str(index))
    else:
        yield path, nested


def stack(steps: list[Nested]) -> Nested:
    """Stack T single-timestep structures into one structure whose leaves hold T timesteps; strings become lists."""
    first = steps[0]
    if isinstance(first, dict):
        return {key: stack([step[key] for step in steps]) for key in first}
    if isinstance(first, tuple):
        return tuple(stack([step[index] for step in steps]) for index in range(len(first)))
    if isinstance(first, str):
        return list(steps)
    return np.stack([np.asarray(step) for step in steps])
