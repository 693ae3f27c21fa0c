"""The server's door: how many connections are open, how much of unfinished messages they hold, and which of them must go.

aiohttp reads a message whole before anyone sees it, so what a connection may hold meanwhile is decided here, byte by byte.
"""

from __future__ import annotations

import asyncio
import os
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from opengato.errors import OpenGatoError

AT_ONCE = 8  # connections that are taken in one round of the event loop, before any of them is looked at
BACKLOG = 128  # connections that the kernel keeps meanwhile
SPARE = 64  # connections beside those of sessions and chats, for metrics and for being told no
_FILES = 32  # that the process may open beside its connections
_SMALL = 4096  # bytes of an unfinished message that need not hurry: they may be signs of life


class Connection(RequestHandler):
    """One of aiohttp's connections, and what the door knows of it."""

    def __init__(self, door: Door, manager: web.Server, **settings: Any):
        super().__init__(manager, **settings)
        self._door = door
        self.held = 0  # bytes since the last whole message
        self.since = 0.0  # when the first of them came, or since when somebody waits for the rest
        self.awaited = False  # whether somebody waits for a message

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._door.enter(self)

    def connection_lost(self, error: BaseException | None) -> None:
        self._door.leave(self)
        super().connection_lost(error)

    def data_received(self, data: bytes) -> None:
        if self._door.take(self, len(data)):
            super().data_received(data)

    @contextmanager
    def message(self) -> Iterator[None]:
        """While a message is waited for; afterwards it is whole."""
        self.awaited, self.since = True, time.monotonic()
        try:
            yield
        finally:
            self.awaited = False
            self._door.whole(self)

    def drop(self) -> None:
        """End it at once."""
        if self.transport is not None:
            self.transport.abort()  # type: ignore[attr-defined]


class Door:
    """Opens connections.

    Args:
        most: connections at a time. Beyond them the one goes that is silent for longest: that has asked for nothing yet, or nothing more.
        held: bytes of unfinished messages of all connections. Beyond them the connection goes that holds most.
        seconds: that a message may take from its first byte to its last.
        dropped: called for each connection that goes.
    """

    def __init__(self, most: int, held: int, seconds: float, dropped: Callable[[], None]):
        self._most, self._held_most, self._seconds, self._dropped = most, held, seconds, dropped
        self._open: dict[Connection, None] = {}
        self._silent: dict[Connection, None] = {}  # in the order in which they fell silent
        self._held = 0

    def enter(self, connection: Connection) -> None:
        """A connection was made."""
        self._open[connection] = self._silent[connection] = None
        if len(self._open) > self._most:
            self._drop(next(iter(self._silent)))

    def leave(self, connection: Connection) -> None:
        """A connection has ended."""
        self.whole(connection)
        self._open.pop(connection, None)
        self._silent.pop(connection, None)

    @contextmanager
    def at_work(self, connection: Any) -> Iterator[None]:
        """While a request that was let in is answered."""
        self._silent.pop(connection, None)
        try:
            yield
        finally:
            self.whole(connection)
            if connection in self._open:
                self._silent[connection] = None

    def take(self, connection: Connection, count: int) -> bool:
        """Bytes have come; whether they may."""
        if connection not in self._open:
            return False
        if not connection.held:
            connection.since = time.monotonic()
        connection.held += count
        self._held += count
        if self._held > self._held_most:
            self._drop(max(self._open, key=lambda one: one.held))
        return connection in self._open

    def whole(self, connection: Connection) -> None:
        """What a connection held was a whole message, which is its reader's now."""
        self._held -= connection.held
        connection.held = 0

    async def watch(self) -> None:
        """End the connections whose messages do not come to an end, until cancelled."""
        while True:
            await asyncio.sleep(min(1.0, self._seconds))
            late = time.monotonic() - self._seconds
            for connection in [one for one in self._open if one.awaited and one.held > _SMALL and one.since < late]:
                self._drop(connection)

    def _drop(self, connection: Connection) -> None:
        self._dropped()
        self.leave(connection)
        connection.drop()


def room(needed: int) -> int:
    """How many connections this process may have at a time; raises OpenGatoError where fewer than `needed` fit into its open files."""
    try:
        used = len(os.listdir("/proc/self/fd"))
    except OSError:
        used = 64
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if allowed == resource.RLIM_INFINITY:
        return needed + SPARE
    left = allowed - used - _FILES - AT_ONCE
    if left < needed:
        raise OpenGatoError(
            f"{needed} sessions and chats do not fit into the {allowed} files that this process may open: raise it with `ulimit -n`, "
            "or lower --sessions"
        )
    return min(left, needed + SPARE)
