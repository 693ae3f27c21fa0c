"""Robomimic's HDF5 files, and those of its kin (LIBERO, RoboCasa, MimicGen): data/demo_N/{obs/…, actions, rewards}.

Row t of a demonstration holds what was seen and what was then done. Where the file has an instruction (`lang` of a demonstration's
`ep_meta`, `language_instruction` of the file's `problem_info`), it is observation["task"].
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces

from opengato.datasets.columns import fingerprint
from opengato.datasets.hdf5 import Stored, is_hdf5, open_hdf5, read
from opengato.datasets.inferred import TEXT, Inferred, field_space, nest, number_of, space_of, task_name
from opengato.datasets.survey import is_picture
from opengato.episode import Episode
from opengato.errors import OpenGatoError


def recognises(path: Path) -> bool:
    """Whether a path is such a file."""
    return is_hdf5(path) and "data" in (file := open_hdf5(path)) and any(name.startswith("demo") for name in file["data"])


def load_robomimic(path: Path) -> Inferred:
    """The demonstrations in a file. Raises OpenGatoError where there are none, or they have no observations."""
    return Inferred(Robomimic(path))


class Robomimic:
    """The demonstrations in a file, a `Source`, in the order of their numbers."""

    exact = False

    def __init__(self, path: Path):
        if not recognises(path):
            raise OpenGatoError(f"{path} is no file of robomimic's: it has no data/demo_0")
        self._path = path
        data = open_hdf5(path)["data"]
        self._demos = sorted((name for name in data if name.startswith("demo")), key=lambda name: int(name.rpartition("_")[2]))
        first = data[self._demos[0]]
        if "obs" not in first or "actions" not in first:
            raise OpenGatoError(
                f"{path} has no observations or no actions in {self._demos[0]}: extract them with robomimic's dataset_states_to_obs"
            )
        env = _attribute(data, "env_args")
        self.task = f"robomimic/{task_name(str(env.get('env_name') or path.stem))}"
        self.name, self.fingerprint = f"robomimic:{path.resolve()}", fingerprint([path])
        self._instruction = str(_attribute(data, "problem_info").get("language_instruction", ""))
        self.unused: dict[str, str] = {}
        self._fields: dict[str, spaces.Space] = {}
        for key in first["obs"]:
            space = field_space(first["obs"][key].dtype, first["obs"][key].shape[1:])
            if isinstance(space, str):
                self.unused[f"obs/{key}"] = space
            else:
                self._fields[key] = space
        seen = dict(self._fields)
        if self._text(self._demos[0]):
            seen["task"] = TEXT
        self._has_text = "task" in seen
        self.observation_space = space_of(seen)
        action = field_space(first["actions"].dtype, first["actions"].shape[1:])
        if isinstance(action, str):
            raise OpenGatoError(f"actions of {path} cannot be learned: {action}")
        self.action_space = action

    def readers(self, start: int = 0) -> Iterator[Callable[[], Episode]]:
        for demo in self._demos[start:]:
            yield partial(self._episode, demo)

    def count(self) -> int:
        return len(self._demos)

    def mark(self, count: int) -> str | None:
        data = open_hdf5(self._path)["data"]
        told = [(demo, data[demo]["actions"].shape) for demo in self._demos[:count]]
        return hashlib.sha256(repr(told).encode()).hexdigest()[:16]

    def _text(self, demo: str) -> str:
        return str(_attribute(open_hdf5(self._path)["data"][demo], "ep_meta").get("lang", self._instruction))

    def _episode(self, demo: str) -> Episode:
        group = open_hdf5(self._path)["data"][demo]
        if missing := sorted(set(self._fields) - set(group["obs"] if "obs" in group else ())):
            raise OpenGatoError(f"{demo} of {self._path} has no obs/{missing[0]}, which the first one has: drop it, or the field")
        if "actions" not in group:
            raise OpenGatoError(f"{demo} of {self._path} has no actions: drop it")
        length = len(group["actions"])
        observations: dict[str, Any] = {}
        for key, space in self._fields.items():
            stored, where = group["obs"][key], f"data/{demo}/obs/{key}"
            if is_picture(space):
                observations[key] = Stored(self._path, where, range(len(stored)), stored.shape[1:])
            else:
                observations[key] = number_of(read(self._path, where, slice(None)), space)
        if self._has_text:
            observations["task"] = [self._text(demo)] * length
        rewards = read(self._path, f"data/{demo}/rewards", slice(None)) if "rewards" in group else np.zeros(length)
        if len(rewards) != length:
            raise OpenGatoError(f"{demo} of {self._path} has {len(rewards)} rewards and {length} actions: it is damaged")
        actions = number_of(read(self._path, f"data/{demo}/actions", slice(None)), self.action_space)
        return Episode(nest(observations), actions, rewards.astype(np.float32), self.task)


def _attribute(group: Any, name: str) -> dict[str, Any]:
    """An attribute of JSON; empty where there is none."""
    try:
        found = json.loads(group.attrs.get(name, "{}"))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
