"""D4RL's HDF5 files: one array of all timesteps each, cut into episodes where `terminals` or `timeouts` say so.

Row t holds what was seen and what was then done. The last rows, which neither ends, are no whole episode and are left out, as D4RL's
own `sequence_dataset` does; `unused` says how many they are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces

from opengato.datasets.columns import fingerprint
from opengato.datasets.hdf5 import is_hdf5, open_hdf5, read
from opengato.datasets.inferred import Inferred, field_space, number_of, task_name
from opengato.episode import Episode
from opengato.errors import OpenGatoError

_ROWS = "observations", "actions", "rewards", "terminals"


def recognises(path: Path) -> bool:
    """Whether a path is such a file."""
    return is_hdf5(path) and set(_ROWS) <= set(open_hdf5(path))


def load_d4rl(path: Path) -> Inferred:
    """The episodes in a file. Raises OpenGatoError where there are none, or its arrays disagree in length."""
    return Inferred(D4RL(path))


class D4RL:
    """The episodes in a file, a `Source`."""

    exact = False

    def __init__(self, path: Path):
        if not recognises(path):
            raise OpenGatoError(f"{path} is no file of D4RL's: it lacks one of {', '.join(_ROWS)}")
        self._path, file = path, open_hdf5(path)
        self.task, self.name, self.fingerprint = f"d4rl/{task_name(path.stem)}", f"d4rl:{path.resolve()}", fingerprint([path])
        keys = [*_ROWS, *(["timeouts"] if "timeouts" in file else [])]
        lengths = {key: len(file[key]) for key in keys}
        if len(set(lengths.values())) > 1:
            raise OpenGatoError(f"{path} has arrays of {', '.join(f'{n} {key}' for key, n in lengths.items())}: they must be of one length")
        self._terminals = read(path, "terminals", slice(None)).astype(bool).ravel()
        ends = self._terminals | (read(path, "timeouts", slice(None)).astype(bool).ravel() if "timeouts" in file else False)
        stops = np.flatnonzero(ends) + 1
        if not len(stops):
            raise OpenGatoError(f"{path} has no episode that ends: neither terminals nor timeouts are set")
        self._places = list(zip([0, *stops[:-1].tolist()], stops.tolist()))
        self.unused = {key: "it is neither an observation nor an action" for key in file if key not in keys}
        if rest := len(ends) - int(stops[-1]):
            self.unused[f"the last {rest} timesteps"] = "neither a terminal nor a timeout ends them"
        self.observation_space, self.action_space = self._space(file, "observations"), self._space(file, "actions")

    def _space(self, file: Any, key: str) -> spaces.Space:
        found = field_space(file[key].dtype, file[key].shape[1:])
        if isinstance(found, str):
            raise OpenGatoError(f"{key} of {self._path} cannot be learned: {found}")
        return found

    def readers(self, start: int = 0) -> Iterator[Callable[[], Episode]]:
        for first, stop in self._places[start:]:
            yield partial(self._episode, first, stop)

    def count(self) -> int:
        return len(self._places)

    def mark(self, count: int) -> str | None:
        return hashlib.sha256(repr(self._places[:count]).encode()).hexdigest()[:16]

    def _episode(self, first: int, stop: int) -> Episode:
        rows = slice(first, stop)
        return Episode(
            number_of(read(self._path, "observations", rows), self.observation_space),
            number_of(read(self._path, "actions", rows), self.action_space),
            read(self._path, "rewards", rows).astype(np.float32).ravel(),
            self.task,
            "unknown",
            info={"terminated": bool(self._terminals[stop - 1])},
        )
