"""What a dataset is to the program: some episodes of one task, told apart by a name, and by a fingerprint of what they hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

from gymnasium import spaces

from opengato.episode import Episode


class Dataset(Protocol):
    """Episodes in a fixed order, in whatever format; one module a format.

    Attributes:
        name: which dataset it is, the same when it has grown. task: the task's id, "domain/name".
        observation_space, action_space: the task's.
        fingerprint: changes with the content, and costs little to compute.
    """

    @property
    def name(self) -> str: ...
    @property
    def task(self) -> str: ...
    @property
    def observation_space(self) -> spaces.Space: ...
    @property
    def action_space(self) -> spaces.Space: ...
    @property
    def fingerprint(self) -> str: ...

    def episodes(self, start: int = 0) -> Iterator[Episode]:
        """The episodes from number `start` on. Leaves may be lazy: anything that `numpy.asarray` takes and that has a length.

        A sample that cannot be read raises when its leaf is taken as an array, so that the others can still be read.
        """
        ...

    def count(self) -> int | None:
        """How many episodes there are; None where only reading all of them would tell."""
        ...

    def mark(self, count: int) -> str | None:
        """What tells the first `count` episodes from others, found without reading them; None where nothing does.

        While it stays the same, a dataset that has grown is gone on with instead of read anew.
        """
        ...


@dataclass(frozen=True)
class Stream:
    """A dataset that can only be read from its beginning, and does not know its length; attributes as in `Dataset`.

    `read`: begins to read it.
    """

    name: str
    task: str
    observation_space: spaces.Space
    action_space: spaces.Space
    fingerprint: str
    read: Callable[[], Iterator[Episode]]

    def episodes(self, start: int = 0) -> Iterator[Episode]:
        return islice(self.read(), start, None)

    def count(self) -> None:
        return None

    def mark(self, count: int) -> None:
        return None


@dataclass(frozen=True)
class Episodes:
    """A dataset of episodes in memory; attributes as in `Dataset`."""

    task: str
    observation_space: spaces.Space
    action_space: spaces.Space
    in_order: Sequence[Episode]
    fingerprint: str

    @property
    def name(self) -> str:
        return f"{self.task} in memory, {self.fingerprint}"

    def episodes(self, start: int = 0) -> Iterator[Episode]:
        return iter(self.in_order[start:])

    def count(self) -> int:
        return len(self.in_order)

    def mark(self, count: int) -> str | None:
        return None
