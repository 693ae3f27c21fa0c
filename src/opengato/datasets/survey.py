"""What the numbers of a dataset are like, found in one pass over its episodes, in which no picture is decoded.

The pass is remembered in the user's cache folder by the dataset's fingerprint, so that it is made once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces

from opengato.atomic import write_text
from opengato.cache import cache_root
from opengato.episode import Episode
from opengato.errors import OpenGatoError
from opengato.tokens.continuous import mu_law, to_bins
from opengato.tokens.nested import get_path
from opengato.tokens.vocabulary import BIN_START, BINS

_VERSION = 1
_ROWS = 16_384  # timesteps that are counted at once
_CRUSHED_SHARE = 0.1  # of a number's values in one bin, from which on it is reported
_CRUSHED_SPREAD = 0.05  # standard deviations that these must differ by: less is a number that rests


@dataclass
class Column:
    """The C numbers of one field over `count` timesteps.

    Attributes:
        path: the field's, with "observation" or "action" before it.
        low, high, mean, deviation: float64 (C,), of the finite ones.
        wrong: how many are NaN or infinite. first_wrong: where the first is, "episode 3, timestep 5, entry 2".
        share: float64 (C,), the share of values in the fullest of the 1,024 mu-law bins. spread: float64 (C,), how far they lie apart.
    """

    path: str
    low: np.ndarray
    high: np.ndarray
    mean: np.ndarray
    deviation: np.ndarray
    share: np.ndarray
    spread: np.ndarray
    count: int
    wrong: int = 0
    first_wrong: str = ""

    def to_json(self) -> dict[str, Any]:
        return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in vars(self).items()}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Column:
        fields: dict[str, Any] = {name: np.array(value, np.float64) if isinstance(value, list) else value for name, value in data.items()}
        return cls(**fields)


@dataclass
class Survey:
    """What a pass over a dataset found.

    Attributes:
        episodes, timesteps: counted. columns: of every field of numbers.
        returns: float64 (3,), the smallest, mean and largest. lengths: int64 (3,), the same of episodes' timesteps.
        twice: pairs of episodes whose numbers and texts are alike throughout, (later, earlier), the first of them.
        duplicates: how many later ones there are. damaged: of the episodes that cannot be read, why, the first of them.
    """

    episodes: int = 0
    timesteps: int = 0
    columns: dict[str, Column] = field(default_factory=dict)
    returns: list[float] = field(default_factory=list)
    lengths: list[float] = field(default_factory=list)
    twice: list[tuple[int, int]] = field(default_factory=list)
    duplicates: int = 0
    damaged: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "columns": {path: column.to_json() for path, column in self.columns.items()}}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Survey:
        return cls(**{**data, "columns": {path: Column.from_json(column) for path, column in data["columns"].items()}})

    def lines(self, in_bins: bool = True) -> list[str]:
        """What to know before training on it, a sentence each: values that share bins or are none, episodes that are there twice.

        in_bins: whether what reads it sees the paper's mu-law bins, so that it matters which values share one.
        """
        said = []
        for column in self.columns.values():
            if column.wrong:
                said.append(f"{column.path} has {column.wrong:,} values that are no finite numbers, the first in {column.first_wrong}")
            if not in_bins or not column.path.startswith("observation"):
                continue
            crushed = (column.share > _CRUSHED_SHARE) & (column.spread > _CRUSHED_SPREAD * column.deviation)
            for index in np.flatnonzero(crushed):
                low, high = column.low[index], column.high[index]
                spans = f"±{high:,.4g}" if high == -low else f"{low:,.4g} to {high:,.4g}"
                entry = f"[{index}]" if len(column.low) > 1 else ""
                said.append(f"{column.path}{entry} spans {spans}: {column.share[index]:.0%} of its values share one bin")
        if self.duplicates:
            later, earlier = self.twice[0]
            said.append(f"{self.duplicates:,} episodes are there twice, the first is episode {later}, which is episode {earlier} again")
        if self.damaged:
            said.append(f"{len(self.damaged):,} episodes or more cannot be read: {self.damaged[0]}")
        return said


def survey(
    name: str,
    fingerprint: str,
    episodes: Iterable[Episode],
    observation_space: spaces.Space,
    action_space: spaces.Space,
    root: Path | None = None,
) -> Survey:
    """The survey of a dataset, from the cache folder (`root`, default: the user's) or made now.

    Args:
        name, fingerprint: which dataset, and what it holds. episodes: all of it; begun only where it is needed.
        observation_space, action_space: of whose fields the numbers are taken, their bounds do not matter.
    """
    key = hashlib.sha256(f"{_VERSION} {name} {fingerprint}".encode()).hexdigest()[:16]
    path = (root or cache_root()) / "surveys" / f"{key}.json"
    if path.is_file():
        try:
            return Survey.from_json(json.loads(path.read_text()))
        except (ValueError, TypeError, KeyError):  # a file that was cut short is made anew
            pass
    found = make(episodes, observation_space, action_space)
    write_text(path, json.dumps(found.to_json()))
    return found


def make(episodes: Iterable[Episode], observation_space: spaces.Space, action_space: spaces.Space) -> Survey:
    """The survey of episodes; those that cannot be read are counted as damaged."""
    fields = [("observation", path) for path in _paths(observation_space)] + [("action", path) for path in _paths(action_space)]
    texts = [path for path in _paths(observation_space, spaces.Text)]
    counters = {(side, path): _Counter(f"{side}.{path}".rstrip(".")) for side, path in fields}
    found, returns, lengths = Survey(), [], []
    seen: dict[bytes, int] = {}
    for number, episode in enumerate(episodes):
        try:
            taken = {
                (side, path): np.asarray(get_path(episode.observations if side == "observation" else episode.actions, path))
                for side, path in fields
            }
        except (OpenGatoError, OSError, ValueError) as error:
            found.damaged.append(f"episode {number}: {error}")
            continue
        content = hashlib.blake2b(digest_size=16)
        for key, values in taken.items():
            counters[key].add(values.reshape(len(values), -1), number)
            content.update(np.ascontiguousarray(values).tobytes())
        for path in texts:
            content.update(repr(get_path(episode.observations, path)).encode())
        earlier = seen.setdefault(content.digest(), number) if taken else number
        if earlier != number:
            found.duplicates += 1
            found.twice.append((number, earlier))
        found.episodes, found.timesteps = found.episodes + 1, found.timesteps + len(episode)
        returns.append(episode.episode_return)
        lengths.append(len(episode))
    for counter in counters.values():
        counter.flush()
    del found.damaged[100:], found.twice[100:]
    found.columns = {counter.name: counter.column() for counter in counters.values() if counter.count}
    if lengths:
        found.returns = [float(min(returns)), float(np.mean(returns)), float(max(returns))]
        found.lengths = [float(min(lengths)), float(np.mean(lengths)), float(max(lengths))]
    return found


def _paths(space: spaces.Space, kind: type = spaces.Box, path: str = "") -> Iterator[str]:
    """Of all fields of a kind of space that are no pictures."""
    if isinstance(space, spaces.Dict):
        for key in sorted(space.spaces):
            yield from _paths(space[key], kind, f"{path}.{key}".lstrip("."))
    elif isinstance(space, spaces.Tuple):
        for index, sub in enumerate(space.spaces):
            yield from _paths(sub, kind, f"{path}.{index}".lstrip("."))
    elif isinstance(space, kind) and not is_picture(space):
        yield path


def is_picture(space: spaces.Space) -> bool:
    """Whether a field is a picture: uint8 (H, W, 1 or 3)."""
    return isinstance(space, spaces.Box) and space.dtype == np.uint8 and len(space.shape) == 3 and space.shape[2] in (1, 3)


class _Counter:
    """Gathers the rows of one field, and counts them many at a time."""

    def __init__(self, name: str):
        self.name, self.count, self._wrong, self._first = name, 0, 0, ""
        self._parts: list[np.ndarray] = []
        self._waiting = 0
        self._bins: np.ndarray | None = None

    def add(self, rows: np.ndarray, episode: int) -> None:
        """(T, C) numbers of an episode."""
        rows = rows.astype(np.float64)
        bad = ~np.isfinite(rows)
        if bad.any():
            t, index = np.argwhere(bad)[0]
            self._first = self._first or f"episode {episode}, timestep {t}, entry {index}"
            self._wrong += int(bad.sum())
            rows = rows[~bad.any(1)]
        self._parts.append(rows)
        self._waiting += len(rows)
        if self._waiting >= _ROWS:
            self.flush()

    def flush(self) -> None:
        """Count what is waiting."""
        if not self._waiting:
            return
        rows, self._parts, self._waiting = np.concatenate(self._parts), [], 0
        width = rows.shape[1]
        if self._bins is None:
            self._bins = np.zeros((width, BINS), np.int64)
            self._lows, self._highs = np.full((width, BINS), np.inf), np.full((width, BINS), -np.inf)
            self._sum, self._squares, self._about = np.zeros(width), np.zeros(width), rows.mean(0)
        bins = to_bins(mu_law(rows)) - BIN_START
        for index in range(width):  # a column at a time lies in the processor's cache
            column, where = np.ascontiguousarray(rows[:, index]), np.ascontiguousarray(bins[:, index])
            self._bins[index] += np.bincount(where, minlength=BINS)
            np.minimum.at(self._lows[index], where, column)
            np.maximum.at(self._highs[index], where, column)
        apart = rows - self._about
        self._sum += apart.sum(0)
        self._squares += (apart**2).sum(0)
        self.count += len(rows)

    def column(self) -> Column:
        """What was counted."""
        assert self._bins is not None
        fullest = self._bins.argmax(1)
        at = np.arange(len(fullest)), fullest
        mean = self._sum / self.count
        deviation = np.sqrt(np.maximum(self._squares / self.count - mean**2, 0))
        low, high = self._lows.min(1), self._highs.max(1)
        share, spread = self._bins[at] / self.count, self._highs[at] - self._lows[at]
        return Column(self.name, low, high, mean + self._about, deviation, share, spread, self.count, self._wrong, self._first)
