"""The server: its addresses, its sessions, its beginning and its end."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import torch
from aiohttp import web

from opengato.checkpoint import Checkpoint
from opengato.errors import OpenGatoError
from opengato.model.precision import Precision, convert
from opengato.serving import chat
from opengato.serving.access import is_loopback, read_token, refused
from opengato.serving.door import AT_ONCE, BACKLOG, Connection, Door, room
from opengato.serving.limits import Refusal, Seldom
from opengato.serving.service import Service
from opengato.serving.session import GONE, Session

_log = logging.getLogger(__name__)
_HEARTBEAT = 30.0  # seconds between two signs of life of a connection; one that misses them is closed
_SILENT = 10.0  # seconds that a connection may take for a request's head
_ACCESS_SECONDS = 0.001  # about what a connection costs that is not let in


class Server:
    """Serves one checkpoint: websocket sessions at /, OpenAI's endpoints below /v1, /healthz and /metrics.

    Args:
        checkpoint: what acts.
        host, port: to listen on; port 0 takes a free one. token: that clients must send; needed on any address that is not loopback.
        settings: those of `Service`.
    """

    def __init__(self, checkpoint: Checkpoint, host: str = "127.0.0.1", port: int = 8000, token: str | None = None, **settings: Any):
        if token is None and not is_loopback(host):
            raise OpenGatoError(f"host {host!r} can be reached from other machines: give a token file, or serve on 127.0.0.1")
        self.service, self.host, self.port, self.token = Service(checkpoint, **settings), host, port, token
        self.limits, self.metrics = self.service.limits, self.service.metrics
        needed = self.limits.sessions + self.limits.chats
        held = max(self.limits.held_bytes, 2 * self.limits.message_bytes)  # the largest message must get in, framing and all
        self.door = Door(room(needed), held, self.limits.unfinished, self.metrics.errors.labels("connection").inc)
        self._sessions: set[Session] = set()
        self._listening: asyncio.Server | None = None
        self._watching: asyncio.Task[None] | None = None
        self._places = 0  # connections that are open or being opened

    async def start(self) -> None:
        """Listen. Afterwards `port` is the port that was taken. Raises OpenGatoError where the address is not to be had."""
        app = web.Application(middlewares=[self._guard], client_max_size=self.limits.message_bytes)
        app.add_routes([web.get("/", self._session), web.get("/healthz", self._healthz), web.get("/metrics", self._metrics)])
        chat.add_routes(app, self.service)
        self._batching = asyncio.create_task(self.service.batcher.run())
        self._batching.add_done_callback(_failed)
        # A handler whose client is gone is cancelled: a chat nobody reads gives its seat back.
        self._runner = web.AppRunner(app, handle_signals=False, access_log=None, handler_cancellation=True, shutdown_timeout=0.25)
        await self._runner.setup()
        loop, manager = asyncio.get_running_loop(), self._runner.server
        assert manager is not None

        def connection() -> Connection:
            # Bodies stay as they came: a compressed one is refused before anything is unpacked.
            return Connection(
                self.door, manager, loop=loop, access_log=None, keepalive_timeout=_SILENT, lingering_time=1.0, auto_decompress=False
            )

        try:
            self._listening = await loop.create_server(connection, self.host, self.port, backlog=AT_ONCE)
        except (OSError, OverflowError) as error:
            await self.stop()
            raise OpenGatoError(f"cannot listen on {self.host}:{self.port}: {error}; choose another host or port") from None
        for listening in self._listening.sockets:  # asyncio has one number for both
            with listening.dup() as same:
                same.listen(BACKLOG)
        self._watching = asyncio.create_task(self.door.watch())
        self.port = self._listening.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop accepting, finish what was started, close the sessions with a reason."""
        self.service.closing = True
        if self._listening is not None:
            self._listening.close()
        ending = [asyncio.create_task(session.finish()) for session in self._sessions] + list(self.service.chats)
        if ending:
            _, late = await asyncio.wait(ending, timeout=self.limits.grace)
            for task in late:
                task.cancel()
        await self._runner.cleanup()
        for work in (self._batching, self._watching):
            if work is not None:
                work.cancel()
        self.service.close()

    @web.middleware
    async def _guard(self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> web.StreamResponse:
        """Let in who may come in; say no in the form that the address speaks."""
        answer = chat.error if request.path.startswith("/v1/") else _plain
        if request.path != "/healthz" and (no := refused(request, self.token)):
            self.metrics.errors.labels("access").inc()
            await self.service.penance.pay(_ACCESS_SECONDS)
            return answer(no[0], no[1])
        try:
            with self.door.at_work(request.protocol):
                return await handler(request)
        except web.HTTPException as error:
            if error.status < 400:
                raise
            return answer(error.status, f"{request.method} {request.path[:100]}: {(error.text or error.reason or '').strip()}")

    async def _session(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(max_msg_size=2 * self.limits.message_bytes, compress=False, heartbeat=_HEARTBEAT, timeout=2.0)
        if not socket.can_prepare(request).ok:
            return _plain(426, "this address speaks websocket: connect with openpi-client or opengato.client, see docs/serving.md")
        if self.service.closing:
            return _plain(503, "the server is shutting down: connect again later")
        if self._places >= self.limits.sessions:
            self.metrics.errors.labels("busy").inc()
            return _plain(503, f"all {self.limits.sessions} sessions are taken: try again later")
        self._places += 1
        try:
            await socket.prepare(request)
            if self.service.closing:
                await socket.close(code=1001, message=GONE.encode())
                return socket
            try:
                session = Session(self.service, socket, request.protocol)
            except Refusal as refusal:  # seats of sessions that are gone, but whose last batch still runs
                await socket.close(code=1013, message=str(refusal).encode()[:120])
                return socket
            self._sessions.add(session)
            self.metrics.sessions.set(len(self._sessions))
            try:
                await session.run()
            finally:
                self._sessions.discard(session)
                self.metrics.sessions.set(len(self._sessions))
        finally:
            self._places -= 1
        return socket

    async def _healthz(self, request: web.Request) -> web.Response:
        if self._batching.done():  # a defect: nobody would be answered any more
            return _plain(503, "the server has failed: start it again")
        return web.Response(text="OK\n")

    async def _metrics(self, request: web.Request) -> web.Response:
        return web.Response(body=self.metrics.text(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})


def _failed(batching: asyncio.Task[None]) -> None:
    if not batching.cancelled() and (error := batching.exception()):
        _log.critical("the batcher has failed", exc_info=error)


def _plain(status: int, sentence: str) -> web.Response:
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
    return web.Response(status=status, text=sentence + "\n", headers=headers)


async def _serve(server: Server) -> None:
    asked, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked.set)
    await server.start()
    host = f"[{server.host}]" if ":" in server.host else server.host
    print(
        f"serving {len(server.service.checkpoint.layouts)} tasks on ws://{host}:{server.port} and http://{host}:{server.port}/v1",
        flush=True,
    )
    await asked.wait()
    await server.stop()


def serve(
    checkpoint: Path,
    token_file: Path | None = None,
    device: str = "auto",
    precision: Precision = "float32",
    compiled: bool = False,
    **settings: Any,
) -> None:
    """Load a checkpoint folder and serve it until SIGTERM or SIGINT; `settings` are those of `Server`."""
    token = read_token(token_file) if token_file is not None else None
    if token is None and not is_loopback(settings.get("host", "127.0.0.1")):
        raise OpenGatoError(f"host {settings['host']!r} can be reached from other machines: give a --token-file, or serve on 127.0.0.1")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise OpenGatoError("device is cuda, and PyTorch finds no GPU here: use --device cpu")
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    for handler in logging.getLogger().handlers:
        handler.addFilter(Seldom())  # what clients do wrong a thousand times a second fills no disk
    loaded = Checkpoint.load(checkpoint, device)
    convert(loaded.model, precision, compiled)
    server = Server(loaded, token=token, **settings)
    gc.collect()
    gc.freeze()  # to look at all that is loaded takes a sixth of a second, whenever messages leave enough behind, and nothing of it goes
    asyncio.run(_serve(server))
    if server.service.compiler is not None and server.service.compiler.busy:
        logging.shutdown()
        sys.stdout.flush()
        os._exit(0)  # nothing else is left to do, and Python aborts where it ends a thread that is inside a compiler
