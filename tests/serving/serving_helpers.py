"""A tiny random agent, and servers of it on free loopback ports."""

import asyncio
import threading
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch
from gymnasium import spaces

from opengato.checkpoint import Checkpoint
from opengato.model.config import ModelConfig
from opengato.model.gato import Gato
from opengato.tokens.layout import Layout
from opengato.tokens.spaces import text_space

ARM = Layout(spaces.Box(-np.inf, np.inf, (3,), np.float32), spaces.Box(-1, 1, (2,), np.float32))
GRID = Layout(
    spaces.Dict(image=spaces.Box(0, 255, (16, 32, 3), np.uint8), mission=text_space(), pose=spaces.Discrete(4)), spaces.Discrete(7)
)
HAND = Layout(
    spaces.Dict(joints=spaces.Box(-3, 3, (2,), np.float32), touch=spaces.MultiBinary(3)),
    spaces.Dict(fingers=spaces.MultiDiscrete([3, 4]), wrist=spaces.Box(-2, 2, (1,), np.float32)),
)
TALK = Layout(text_space(), text_space())
CAPTION = Layout(spaces.Dict(image=spaces.Box(0, 255, (64, 64, 3), np.uint8)), text_space())
ANSWER = Layout(spaces.Dict(image=spaces.Box(0, 255, (32, 32, 3), np.uint8), question=text_space()), text_space())
LAYOUTS = {"t/arm": ARM, "t/grid": GRID, "t/hand": HAND, "dialogue/chitchat": TALK, "captions/emoji": CAPTION}


def build(tokenizer, layouts, family="swift", **changes):
    torch.manual_seed(0)
    config = {
        "gato": ModelConfig("gato", 2, 2, 32, 64, 16, context=200),
        "swift": ModelConfig("swift", 2, 2, 32, 64, 16, context=128, set_width=32, patches_per_position=2),
    }[family]
    model = Gato(replace(config, **changes)).eval()
    for parameter in model.parameters():  # far from uniform, so that an action depends on what was seen
        torch.nn.init.normal_(parameter, std=0.3)
    return Checkpoint(model, tokenizer, dict(layouts))


def observe(task, rng):
    if task == "t/arm":
        return rng.normal(size=3).astype(np.float32)
    if task == "t/grid":
        return {"image": rng.integers(0, 256, (16, 32, 3), np.uint8), "mission": "open the red door", "pose": int(rng.integers(4))}
    if task == "dialogue/chitchat":
        return f"what is {rng.integers(100)}"
    assert task == "t/hand"
    return {"joints": rng.uniform(-3, 3, 2).astype(np.float32), "touch": rng.integers(0, 2, 3).astype(np.int8)}


class Running:
    """A server in a thread of its own."""

    def __init__(self, checkpoint, **settings):
        from opengato.serving.app import Server

        self._ready, self._failure = threading.Event(), None

        def work():
            async def main():
                self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
                try:
                    self.server = Server(checkpoint, **({"port": 0} | settings))
                    await self.server.start()
                except BaseException as error:
                    self._failure = error
                    return
                finally:
                    self._ready.set()
                await self._stop.wait()
                await self.server.stop()

            asyncio.run(main())

        self.thread = threading.Thread(target=work, daemon=True)
        self.thread.start()
        self._ready.wait()
        if self._failure:
            raise self._failure

    @property
    def address(self):
        return f"127.0.0.1:{self.server.port}"

    @property
    def url(self):
        return f"ws://{self.address}"

    def stop(self):
        """Ask it to stop, without waiting."""
        self._loop.call_soon_threadsafe(self._stop.set)

    def until(self, condition):
        """Wait until a function, called on the server's loop, gives True."""

        async def look():
            while not condition(self.server):
                await asyncio.sleep(0.001)

        asyncio.run_coroutine_threadsafe(look(), self._loop).result(60)

    def unanswered(self, count):
        """Wait until so many requests have been taken in and not been answered."""
        self.until(lambda server: sum(session._replies._unfinished_tasks for session in server._sessions) == count)


@contextmanager
def running(checkpoint, **settings):
    server = Running(checkpoint, **settings)
    try:
        yield server
    finally:
        if server.thread.is_alive():
            server.stop()
        server.thread.join(60)
        assert not server.thread.is_alive()


class Gate:
    """Holds the engine before each batch until it is opened."""

    def __init__(self, server):
        self.open, self.entered = threading.Semaphore(0), threading.Semaphore(0)
        self.sizes = []
        engine = server.server.service.engine
        begin = engine.begin

        def gated(observations, on_token=None):
            self.sizes.append(len(observations))
            self.entered.release()
            self.open.acquire()
            return begin(observations, on_token)

        engine.begin = gated
