"""What a server allows, and how it says no."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from opengato.errors import OpenGatoError


class Refusal(OpenGatoError):
    """A request that is not carried out; the session goes on.

    Attributes:
        kind: of the metric `opengato_errors_total`, one of KINDS.
    """

    KINDS = (
        "message",
        "size",
        "rate",
        "busy",
        "task",
        "prompt",
        "observation",
        "late",
        "replaced",
        "closing",
        "access",
        "connection",
        "chat",
        "internal",
    )

    def __init__(self, kind: str, sentence: str):
        assert kind in self.KINDS
        super().__init__(sentence)
        self.kind = kind


MOST_SESSIONS = 4096  # the engine's memory grows with every one


@dataclass(frozen=True)
class Limits:
    """What one server takes on.

    Attributes:
        sessions: websocket connections at a time. chats: chat requests at a time.
        queue: requests of one connection that wait or run. total_queue: those of all.
        message_bytes: of one message; up to twice as much is read and refused, more ends the connection.
        held_bytes: of the unfinished messages of all connections; beyond them the connection that holds most is ended.
        rate: messages a second and connection, over `burst` of them; burst 0: as many as in a second.
        text_characters: of one text field.
        idle: seconds without a message after which a session loses its seat, whatever signs of life it gives.
        unfinished: seconds that a message may take to arrive, and an answer to be taken.
        grace: seconds that a stopping server waits for clients to take their last replies.
    """

    sessions: int = 64
    chats: int = 4
    queue: int = 16
    total_queue: int = 1024
    message_bytes: int = 8 * 2**20
    held_bytes: int = 48 * 2**20
    rate: float = 1000.0
    burst: int = 0
    text_characters: int = 4096
    idle: float = 600.0
    unfinished: float = 30.0
    grace: float = 3.0

    def check(self) -> None:
        """Raises OpenGatoError for the first setting that is no number of its range."""
        least = {"sessions": 1, "chats": 0, "queue": 1, "total_queue": 1, "message_bytes": 1, "held_bytes": 1, "burst": 0}
        most = {"sessions": MOST_SESSIONS, "chats": MOST_SESSIONS}
        for setting, low in least.items():
            within(setting, getattr(self, setting), low, most.get(setting, 2**40))
        for setting in ("rate", "idle", "unfinished"):
            within(setting, getattr(self, setting), 1e-9, 1e9)
        within("grace", self.grace, 0, 1e9)


def within(setting: str, given: float, low: float, high: float) -> None:
    """Raises OpenGatoError for a number below `low`, above `high`, or none at all."""
    if not given >= low:
        raise OpenGatoError(f"{setting} is {given}: it must be at least {low:g}")
    if given > high:
        raise OpenGatoError(f"{setting} is {given}: it must be at most {high:g}")


class Penance:
    """Lets those whose messages were refused wait in one line, each ten times as long as the server had to do with it.

    However many they are, and whatever they send: what they cost is about a tenth of the event loop. An answer is not held back, only
    the reading of what its sender sends next.
    """

    _TIMES, _LEAST, _MOST, _BYTE = 10, 1e-4, 0.05, 2e-9  # seconds of one message, and of one of its bytes before it was seen

    def __init__(self) -> None:
        self._line = asyncio.Lock()

    async def pay(self, seconds: float, size: int = 0) -> None:
        """Wait for a refusal that took the event loop `seconds`, of a message of `size` bytes."""
        async with self._line:
            await asyncio.sleep(self._TIMES * min(self._LEAST + seconds + self._BYTE * size, self._MOST))


class Rate:
    """A token bucket: `burst` at once, `rate` a second on average."""

    def __init__(self, rate: float, burst: int, clock: Callable[[], float] = time.monotonic):
        self._rate, self._burst, self._clock = rate, burst, clock
        self._left, self._at = float(burst), clock()

    def take(self) -> bool:
        """Whether one more is allowed now."""
        now = self._clock()
        self._left = min(self._burst, self._left + (now - self._at) * self._rate)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class Seldom(logging.Filter):
    """Lets one record a second through, critical ones always; the next says how many were left out."""

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        super().__init__()
        self._rate, self._left_out = Rate(1.0, 1, clock), 0

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is written."""
        if record.levelno < logging.CRITICAL and not self._rate.take():
            self._left_out += 1
            return False
        if self._left_out:
            record.msg, record.args = f"{record.getMessage()} ({self._left_out} records before it were left out)", None
            self._left_out = 0
        return True
