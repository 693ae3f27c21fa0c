"""The server: its addresses, its sessions, its beginning and its end."""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from aiohttp import web

from opengato.checkpoint import Checkpoint
from opengato.errors import OpenGatoError, unknown
from opengato.model.precision import Precision, convert
from opengato.model.prompt import crop_prompt
from opengato.policy.engine import Engine
from opengato.serving import chat
from opengato.serving.access import is_loopback, read_token, refused
from opengato.serving.batcher import Batcher
from opengato.serving.check import Checker
from opengato.serving.limits import Limits, Refusal
from opengato.serving.metrics import Metrics
from opengato.serving.session import GONE, Session

_log = logging.getLogger(__name__)
_HEARTBEAT = 30.0  # seconds between two signs of life of a connection; one that misses them is closed


class Server:
    """Serves one checkpoint: websocket sessions at /, OpenAI's endpoints below /v1, /healthz and /metrics.

    Args:
        checkpoint: what acts.
        host, port: to listen on; port 0 takes a free one. token: that clients must send; needed on any address that is not loopback.
        task: of clients that name none; default: the checkpoint's only task.
        name: of the model for OpenAI's clients. limits: what is taken on.
        temperature: of the actions, as `Engine`. max_text: tokens of an answer in words.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        host: str = "127.0.0.1",
        port: int = 8000,
        token: str | None = None,
        task: str | None = None,
        name: str = "opengato",
        limits: Limits | None = None,
        temperature: float | None = None,
        max_text: int = 64,
    ):
        if token is None and not is_loopback(host):
            raise OpenGatoError(f"host {host!r} can be reached from other machines: give a token file, or serve on 127.0.0.1")
        if task is not None and task not in checkpoint.layouts:
            raise unknown("task of this checkpoint", task, checkpoint.layouts)
        self.checkpoint, self.host, self.port, self.token, self.name = checkpoint, host, port, token, name
        self.limits = limits or Limits()
        least = {"sessions": 1, "chats": 0, "queue": 1, "total_queue": 1, "message_bytes": 1, "burst": 1}
        for setting, given, low in [(key, getattr(self.limits, key), low) for key, low in least.items()] + [("max_text", max_text, 1)]:
            if given < low:
                raise OpenGatoError(f"{setting} is {given}: it must be at least {low}")
        self.default_task = task or (next(iter(checkpoint.layouts)) if len(checkpoint.layouts) == 1 else None)
        # What an episode of a task begins with unless its client says otherwise.
        self.prompts = {task: crop_prompt(prompt, checkpoint.model.config) for task, prompt in checkpoint.prompts.items()}
        self.metrics = Metrics()
        self.engine = Engine(
            checkpoint.model, checkpoint.tokenizer, self.limits.sessions + self.limits.chats, temperature=temperature, max_text=max_text
        )
        self.checker = Checker(checkpoint.tokenizer, self.limits.text_characters, max(checkpoint.model.config.context // 2, 1))
        self.batcher = Batcher(self.engine, self.limits, self.metrics)
        self.closing = False
        self.created = int(time.time())
        self.chats: set[asyncio.Task[Any]] = set()
        self._sessions: set[Session] = set()
        self._places = 0  # connections that are open or being opened
        self.metadata = {
            "server": "opengato",
            "version": version("opengato"),
            "protocol": 1,
            "tasks": {task: layout.spaces_json() for task, layout in sorted(checkpoint.layouts.items())},
            "default_task": self.default_task,
            "limits": {
                "message_bytes": self.limits.message_bytes,
                "queue": self.limits.queue,
                "messages_per_second": self.limits.rate,
                "text_characters": self.limits.text_characters,
            },
        }

    async def start(self) -> None:
        """Listen. Afterwards `port` is the port that was taken. Raises OpenGatoError where the address is not to be had."""
        app = web.Application(middlewares=[self._guard], client_max_size=self.limits.message_bytes)
        app.add_routes([web.get("/", self._session), web.get("/healthz", self._healthz), web.get("/metrics", self._metrics)])
        chat.add_routes(app, self)
        self._batching = asyncio.create_task(self.batcher.run())
        self._batching.add_done_callback(_failed)
        # A handler whose client is gone is cancelled: a chat nobody reads gives its seat back.
        self._runner = web.AppRunner(app, handle_signals=False, access_log=None, handler_cancellation=True, shutdown_timeout=1.0)
        await self._runner.setup()
        self._site = web.TCPSite(self._runner, self.host, self.port)
        try:
            await self._site.start()
        except (OSError, OverflowError) as error:
            await self.stop()
            raise OpenGatoError(f"cannot listen on {self.host}:{self.port}: {error}; choose another host or port") from None
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Stop accepting, finish what was started, close the sessions with a reason."""
        self.closing = True
        await self._site.stop()
        ending = [asyncio.create_task(session.finish()) for session in self._sessions] + list(self.chats)
        if ending:
            _, late = await asyncio.wait(ending, timeout=self.limits.grace)
            for task in late:
                task.cancel()
        await self._runner.cleanup()
        self._batching.cancel()
        self.batcher.close()

    @web.middleware
    async def _guard(self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> web.StreamResponse:
        """Let in who may come in; say no in the form that the address speaks."""
        answer = chat.error if request.path.startswith("/v1/") else _plain
        if request.path != "/healthz" and (no := refused(request, self.token)):
            self.metrics.errors.labels("access").inc()
            return answer(no[0], no[1])
        try:
            return await handler(request)
        except web.HTTPException as error:
            if error.status < 400:
                raise
            return answer(error.status, f"{request.method} {request.path[:100]}: {(error.text or error.reason or '').strip()}")

    async def _session(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(max_msg_size=2 * self.limits.message_bytes, compress=False, heartbeat=_HEARTBEAT)
        if not socket.can_prepare(request).ok:
            return _plain(426, "this address speaks websocket: connect with openpi-client or opengato.client, see docs/serving.md")
        if self.closing:
            return _plain(503, "the server is shutting down: connect again later")
        if self._places >= self.limits.sessions:
            self.metrics.errors.labels("busy").inc()
            return _plain(503, f"all {self.limits.sessions} sessions are taken: try again later")
        self._places += 1
        try:
            await socket.prepare(request)
            if self.closing:
                await socket.close(code=1001, message=GONE.encode())
                return socket
            try:
                session = Session(self, socket)
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
    print(f"serving {len(server.checkpoint.layouts)} tasks on ws://{host}:{server.port} and http://{host}:{server.port}/v1", flush=True)
    await asked.wait()
    await server.stop()


def serve(
    checkpoint: Path,
    token_file: Path | None = None,
    device: str = "auto",
    precision: Precision = "float32",
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
    loaded = Checkpoint.load(checkpoint, device)
    convert(loaded.model, precision)
    asyncio.run(_serve(Server(loaded, token=token, **settings)))
