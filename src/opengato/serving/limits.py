"""What a server allows, and how it says no."""

from __future__ import annotations

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
        "chat",
        "internal",
    )

    def __init__(self, kind: str, sentence: str):
        assert kind in self.KINDS
        super().__init__(sentence)
        self.kind = kind


@dataclass(frozen=True)
class Limits:
    """What one server takes on.

    Attributes:
        sessions: websocket connections at a time. chats: chat requests at a time.
        queue: requests of one connection that wait or run. total_queue: those of all.
        message_bytes: of one message; up to twice as much is read and refused, more ends the connection.
        rate: messages a second and connection, over `burst` of them.
        text_characters: of one text field.
        grace: seconds that a stopping server waits for clients to take their last replies.
    """

    sessions: int = 64
    chats: int = 4
    queue: int = 16
    total_queue: int = 1024
    message_bytes: int = 16 * 2**20
    rate: float = 1000.0
    burst: int = 1000
    text_characters: int = 4096
    grace: float = 30.0


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
