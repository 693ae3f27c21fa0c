"""Everything a bad client can do to a server, from 32 connections at once (`serve.py --hostile`).

python benchmarks/hostile.py PORT TOKEN TASK
"""

from __future__ import annotations

import asyncio
import base64
import gzip
import io
import itertools
import json
import struct
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import msgpack
import numpy as np
from websockets.asyncio.client import ClientConnection, connect

CONNECTIONS = 32
SILENT = 300  # connections beside them that say nothing


class Attacker:
    """One bad client after the other.

    Args:
        port, token, task: of the server; the bomb comes without the token.
    """

    def __init__(self, port: int, token: str, task: str):
        self.port, self.token, self.task = port, token, task
        self.bomb = gzip.compress(bytes(200 * 2**20))
        self.picture = _progressive()
        self.kinds: list[Callable[[], Awaitable[None]]] = [
            self.gzip_bomb,
            self.texts,
            self.long_keys,
            self.silent,
            self.pictures,
            self.brackets,
            self.wrong_names,
            self.unfinished,
            self.pongs,
            self.surrogates,
        ]

    async def run(self) -> None:
        """Attack until cancelled."""
        await asyncio.gather(*[self._again(kind) for kind in itertools.islice(itertools.cycle(self.kinds), CONNECTIONS)])

    async def _again(self, kind: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await asyncio.wait_for(kind(), 20)
            except Exception:  # refused, closed, ended: the next try
                await asyncio.sleep(0.01)

    async def gzip_bomb(self) -> None:
        """200 MiB of zeros in 200 kB, from one who has no token."""
        await self._post(self.bomb, "Content-Encoding: gzip\r\n", token=False)

    async def brackets(self) -> None:
        """7 MB of empty lists."""
        await self._post(b'{"model": "opengato", "messages": [' + b"[]," * 2_333_000 + b"[]]}")

    async def surrogates(self) -> None:
        """Half of a letter, in a chat's past."""
        said = [("user", "\ud800"), ("assistant", "x"), ("user", "\udfff")]
        await self._post(json.dumps({"model": "opengato", "messages": [{"role": r, "content": c} for r, c in said]}).encode())

    async def pictures(self) -> None:
        """A JPEG of thousands of scans, whose sender does not wait for the answer."""
        url = "data:image/jpeg;base64," + base64.b64encode(self.picture).decode()
        content = [{"type": "image_url", "image_url": {"url": url}}]
        await self._post(json.dumps({"model": "opengato", "messages": [{"role": "user", "content": content}]}).encode(), wait=0.2)

    async def silent(self) -> None:
        """Connections that say nothing."""
        pairs = await asyncio.gather(*[asyncio.open_connection("127.0.0.1", self.port) for _ in range(SILENT // 3)])
        await asyncio.sleep(3)
        for _, writer in pairs:
            writer.close()

    async def texts(self) -> None:
        """Lists of texts of which one is long."""
        await self._flood(msgpack.packb({"opengato": "act", "observation": ["x"] * 4000 + ["y" * 250_000]}))

    async def long_keys(self) -> None:
        """Long names above many entries."""
        value: object = [0] * 4000
        for letter in "abcdefgh":
            value = {letter * 100_000: value, letter: [[0] * 500] * 3}
        await self._flood(msgpack.packb(value))

    async def wrong_names(self) -> None:
        """900 tasks a second that do not exist."""
        await self._flood(msgpack.packb({"opengato": "reset", "task": self.task[::-1] + "/reach-to-push"}), 1 / 900)

    async def unfinished(self) -> None:
        """A message that stops before its end."""
        async with self._session() as socket:
            assert socket.transport is not None
            socket.transport.write(b"\x82\xff" + struct.pack(">Q", 8 * 10**6) + bytes(4) + bytes(7 * 10**6))
            await asyncio.sleep(15)

    async def pongs(self) -> None:
        """A session that only gives signs of life."""
        async with self._session() as socket:
            while True:
                await socket.pong()
                await asyncio.sleep(0.01)

    async def _flood(self, frame: bytes, pause: float = 0.0) -> None:
        async with self._session() as socket:

            async def read() -> None:
                async for _ in socket:
                    pass

            reading = asyncio.create_task(read())
            try:
                while True:
                    await socket.send(frame)
                    await asyncio.sleep(pause)
            finally:
                reading.cancel()

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[ClientConnection]:
        headers = {"Authorization": f"Bearer {self.token}"}
        async with connect(
            f"ws://127.0.0.1:{self.port}", additional_headers=headers, compression=None, max_size=None, proxy=None, close_timeout=0
        ) as socket:
            await socket.recv()
            yield socket

    async def _post(self, body: bytes, more: str = "", token: bool = True, wait: float = 20) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            admission = f"Authorization: Bearer {self.token}\r\n" if token else ""
            head = (
                f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nContent-Type: application/json\r\n{admission}{more}"
            )
            writer.write(f"{head}{admission}{more}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body)
            async with asyncio.timeout(wait):
                await writer.drain()
                await reader.read()
        finally:
            writer.transport.abort()


def _progressive() -> bytes:
    """2,048 × 2,048 pixels, of whose scans the last comes 5,000 times more."""
    from PIL import Image

    data = io.BytesIO()
    Image.fromarray(np.zeros((2048, 2048, 3), np.uint8)).save(data, "JPEG", progressive=True)
    whole = data.getvalue()
    last = whole.rindex(b"\xff\xda")
    return whole[:-2] + whole[last:-2] * min(5000, 4 * 10**6 // (len(whole) - last)) + whole[-2:]


if __name__ == "__main__":
    asyncio.run(Attacker(int(sys.argv[1]), sys.argv[2], sys.argv[3]).run())
