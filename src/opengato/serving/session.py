"""One websocket connection: what its frames ask for, and the answers in their order (protocol: `opengato.serving`)."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from aiohttp import WSMessage, WSMsgType, web
from gymnasium import spaces

from opengato.errors import OpenGatoError, unknown
from opengato.model.prompt import crop_prompt
from opengato.sentences import listed, short
from opengato.serving import wire
from opengato.serving.batcher import Act, Acted, Start, heard
from opengato.serving.limits import Rate, Refusal
from opengato.serving.service import Service
from opengato.tokens.encode import encode
from opengato.tokens.layout import Layout

_log = logging.getLogger(__name__)
_CONTROL = "opengato"
_KEYS = {"reset": {"task", "prompt", "seed", "newest_wins"}, "act": {"observation", "deadline_ms"}}
GONE = "the server is shutting down"


@dataclass
class _Reply:
    """An answer to come: `answer` gives the Acted of a chunk, None or a Refusal."""

    kind: str
    arrived: float
    answer: asyncio.Future[Any]
    layout: Layout | None = None
    extra: dict[str, Any] | None = None


class Session:
    """Serves one connection until it ends, or the server does."""

    def __init__(self, service: Service, socket: web.WebSocketResponse, connection: Any):
        self.service, self.socket, self._connection = service, socket, connection
        self.seat = service.batcher.sit()
        self._task: str | None = None
        # The seeds of a session's episodes are those of `Policy`, so that it acts as a Policy of its own would.
        self._chance = np.random.default_rng(0)
        limits = service.limits
        self._rate = Rate(limits.rate, limits.burst or max(1, int(limits.rate)))
        # Full, it stops the reading, and the client's sending with it: a client that never reads holds nobody's memory.
        self._replies: asyncio.Queue[_Reply] = asyncio.Queue(2 * limits.queue)
        self._reading, self._ended = asyncio.Lock(), asyncio.Event()
        self._previous: float | None = None

    async def run(self) -> None:
        """Answer frames until the connection ends."""
        sender = asyncio.create_task(self._send())
        try:
            await self.socket.send_bytes(self.service.greeting)
            while (frame := await self._frame()) is not None:
                cost = time.thread_time()
                async with self._reading:
                    reply = await self._read(frame.type, frame.data)
                    cost = time.thread_time() - cost
                    await self._replies.put(reply)
                if reply.kind == "refused":
                    size, frame = len(frame.data), None  # a message that waits in line holds no memory
                    await self.service.penance.pay(cost, size)
        except ConnectionError:
            pass
        finally:
            sender.cancel()
            self._ended.set()
            self.service.batcher.leave(self.seat)

    async def _frame(self) -> WSMessage | None:
        """The next message; None where the connection ends, by its client or for want of messages."""
        idle = self.service.limits.idle
        try:
            with self._connection.message():
                async with asyncio.timeout(idle):
                    frame = await self.socket.receive()
        except TimeoutError:
            self.service.metrics.errors.labels("connection").inc()
            await self.socket.close(code=1008, message=f"no message came for {idle:g} s: connect again".encode())
            return None
        return frame if frame.type in (WSMsgType.TEXT, WSMsgType.BINARY) else None

    async def finish(self) -> None:
        """Send the answers to all that was asked, then close; done at once where the client is gone."""
        waiting = [asyncio.create_task(self._answered()), asyncio.create_task(self._ended.wait())]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()
        await self.socket.close(code=1001, message=GONE.encode())

    async def _answered(self) -> None:
        async with self._reading:
            await self._replies.join()

    async def _read(self, kind: WSMsgType, data: Any) -> _Reply:
        """Begin what one frame asks for."""
        arrived = time.monotonic()
        try:
            self._admit(kind, data)
            try:
                message = wire.unpack(data)
            except OpenGatoError as error:
                raise Refusal("message", str(error)) from None
            if not isinstance(message, dict):
                raise Refusal(
                    "message", f"the message is {short(message)}: send a map of observation fields, or one with the key 'opengato'"
                )
            if _CONTROL not in message:
                return self._bare(message, arrived)
            command = message.pop(_CONTROL)
            if not isinstance(command, str) or command not in _KEYS:
                raise Refusal("message", f"field 'opengato' is {short(command)}: send 'reset' or 'act'")
            if extra := sorted(set(message) - _KEYS[command]):
                raise Refusal("message", f"{command!r} has no {listed(extra)}: it has {', '.join(sorted(_KEYS[command]))}")
            return await self._reset(message, arrived) if command == "reset" else self._control_act(message, arrived)
        except Refusal as error:
            refusal = error
        except Exception:
            _log.exception("a message could not be handled")
            refusal = Refusal("internal", "the server failed on this message: the session goes on")
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        answer.set_exception(refusal)
        answer.exception()  # seen, should the client be gone before it is sent
        return _Reply("refused", arrived, answer)

    def _admit(self, kind: WSMsgType, data: Any) -> None:
        limits = self.service.limits
        if self.service.closing:
            raise Refusal("closing", f"{GONE}: connect again later")
        if not self._rate.take():
            raise Refusal("rate", f"more than {limits.rate:g} messages a second came from this connection: send fewer")
        if kind is WSMsgType.TEXT:
            raise Refusal("message", "a text frame came where this server reads msgpack: send binary frames")
        if len(data) > limits.message_bytes:
            raise Refusal("size", f"the message has {len(data)} bytes where {limits.message_bytes} are allowed: send less at a time")

    def _bare(self, message: dict[str, Any], arrived: float) -> _Reply:
        """The observation of a client that knows no control messages: it may name its task, and another one begins an episode of it."""
        layouts = self.service.checkpoint.layouts
        given = [message[key] for key in ("task", "prompt") if key in message]
        named = next((value for value in given if isinstance(value, str) and value in layouts), None)
        task = named or self._task or self.service.default_task
        if task is None:
            raise self._no_task(next((value for value in given if isinstance(value, str)), None))
        space = layouts[task].observation_space
        fields = space.spaces if isinstance(space, spaces.Dict) else {"observation": space}
        for key in {"task", "prompt"} & set(message) - set(fields):
            value = message.pop(key)
            instruction = [name for name, field in fields.items() if isinstance(field, spaces.Text) and name not in message]
            if isinstance(value, str) and value in layouts:
                continue
            if key == "prompt" and isinstance(space, spaces.Dict) and len(instruction) == 1:
                message[instruction[0]] = value  # as openpi has it: what the robot is told
            else:
                raise Refusal("task", f"field {key!r} names no task: {unknown('task of this checkpoint', short(value), layouts)}")
        if isinstance(space, spaces.Dict):
            return self._act(task, message, None, arrived, steps=self.service.horizon)
        if set(message) != {"observation"}:
            found = listed(message)
            raise Refusal("observation", f"the observation is a map of {found}: send {short(str(space), 120)} as 'observation'")
        return self._act(task, message["observation"], None, arrived, steps=self.service.horizon)

    def _control_act(self, message: dict[str, Any], arrived: float) -> _Reply:
        deadline = message.get("deadline_ms")
        if deadline is not None and (type(deadline) not in (int, float) or not 0 <= deadline < 1e9):
            raise Refusal("message", f"field 'deadline_ms' is {short(deadline)}: send milliseconds, 0 or more, or None")
        if "observation" not in message:
            raise Refusal("observation", "the message lacks 'observation': send it beside 'opengato'")
        task = self._task or self.service.default_task
        if task is None:
            raise self._no_task(None)
        return self._act(task, message["observation"], None if deadline is None else deadline / 1000, arrived, {"task": task})

    def _no_task(self, given: str | None) -> Refusal:
        layouts = self.service.checkpoint.layouts
        if given is not None:
            return Refusal("task", str(unknown("task of this checkpoint", short(given), layouts)))
        known = short(", ".join(sorted(layouts)), 1000)
        return Refusal("task", f"no task is chosen: send a reset with 'task', or name one in the observation's field 'task': {known}")

    def _act(
        self, task: str, observation: Any, deadline: float | None, arrived: float, extra: dict[str, Any] | None = None, steps: int = 1
    ) -> _Reply:
        """Ask for `steps` actions in a row, all chosen from the same observation, since no newer one is known."""
        layout = self.service.checkpoint.layouts[task]
        checked = self.service.checker.observation(layout, observation)
        at_once = layout.in_a_row(min(steps, self.service.checkpoint.model.config.chunk))
        parts = [min(at_once, steps - done) for done in range(0, steps, at_once)]
        if steps > 1:  # all of them or none: a chunk begun would move the memory
            self.service.batcher.need(self.seat, len(parts) + (task != self._task))
        if task != self._task:
            self._start(task)
        answers = [self.service.batcher.submit(self.seat, Act(checked, deadline, steps=part)) for part in parts]
        self.service.metrics.requests.labels("act").inc()
        actions = asyncio.gather(*answers)
        actions.add_done_callback(heard)
        return _Reply("act", arrived, actions, layout, extra)

    def _start(self, task: str) -> None:
        """Begin an episode as a Policy does by default."""
        layout, prompt = self.service.checkpoint.layouts[task], self.service.prompts.get(task)
        self.service.batcher.submit(self.seat, Start(layout, prompt, int(self._chance.integers(2**63))))
        self._task = task

    async def _reset(self, message: dict[str, Any], arrived: float) -> _Reply:
        checkpoint = self.service.checkpoint
        task, seed, newest = message.get("task"), message.get("seed"), message.get("newest_wins")
        if task is None:
            task = self._task or self.service.default_task
            if task is None:
                raise self._no_task(None)
        if not isinstance(task, str):
            raise Refusal("task", f"field 'task' is {short(task)}: send a task's name")
        if task not in checkpoint.layouts:
            raise Refusal("task", str(unknown("task of this checkpoint", short(task), checkpoint.layouts)))
        if seed is not None and (type(seed) is not int or not 0 <= seed < 2**63):
            raise Refusal("message", f"field 'seed' is {short(seed)}: send an integer from 0 to 2**63 - 1, or None")
        if newest is not None and not isinstance(newest, bool):
            raise Refusal("message", f"field 'newest_wins' is {short(newest)}: send True, False or None")
        if newest and self.service.horizon > 1:
            raise Refusal("message", f"field 'newest_wins' is True where answers are {self.service.horizon} actions: leave it out")
        layout, config = checkpoint.layouts[task], checkpoint.model.config
        given = message.get("prompt")
        if given is None:
            prompt = self.service.prompts.get(task)
        elif given is False:
            prompt = None
        else:
            # Encoding a long demonstration takes a while: not on the event loop. Timesteps beyond the context would be cut anyway.
            loop, threads = asyncio.get_running_loop(), self.service.encoder
            episode = await loop.run_in_executor(threads, self.service.checker.demonstration, task, layout, given, config.context)
            try:
                prompt = crop_prompt(await loop.run_in_executor(threads, encode, layout, episode, checkpoint.tokenizer), config)
            except OpenGatoError as error:
                raise Refusal("prompt", str(error)) from None
            if prompt is None:
                raise Refusal(
                    "prompt", f"the prompt's first timestep alone is more than half of the context of {config.context}: send a shorter one"
                )
        answer = self.service.batcher.submit(self.seat, Start(layout, prompt, int(self._chance.integers(2**63)) if seed is None else seed))
        self._task = task
        if newest is not None:
            self.seat.newest_wins = newest
        self.service.metrics.requests.labels("reset").inc()
        extra = {_CONTROL: "reset", "task": task, "prompt_timesteps": 0 if prompt is None else len(prompt)}
        return _Reply("reset", arrived, answer, extra=extra)

    async def _send(self) -> None:
        """The answers, in the order of their questions."""
        while True:
            reply = await self._replies.get()
            try:
                try:
                    acted = await reply.answer
                    async with asyncio.timeout(self.service.limits.unfinished):
                        await self.socket.send_bytes(wire.pack(self._message(reply, acted)))
                    self.service.metrics.latency.labels(reply.kind).observe(time.monotonic() - reply.arrived)
                except Refusal as refusal:
                    self.service.metrics.errors.labels(refusal.kind).inc()
                    async with asyncio.timeout(self.service.limits.unfinished):
                        await self.socket.send_str(str(refusal))
                self._previous = (time.monotonic() - reply.arrived) * 1000
            except TimeoutError:  # a client that takes no answers holds no seat
                self.service.metrics.errors.labels("connection").inc()
                self._connection.drop()
            except ConnectionError:
                pass  # the reader sees it too, and ends the session
            except Exception:
                _log.exception("an answer could not be sent")
                await self.socket.close(code=1011, message=b"the server failed on this session")
            finally:
                self._replies.task_done()

    def _message(self, reply: _Reply, acted: list[Acted] | None) -> dict[str, Any]:
        message = dict(reply.extra or {})
        if acted is not None:
            assert reply.layout is not None
            timing = {"infer_ms": sum(one.seconds for one in acted) * 1000}
            if self._previous is not None:
                timing["prev_total_ms"] = self._previous
            message |= {
                "actions": chunk(reply.layout.action_space, [action for one in acted for action in one.actions]),
                "server_timing": timing,
            }
        return message


def chunk(space: spaces.Space, actions: list[Any]) -> Any:
    """Actions in a row as openpi's chunk: leaves with a leading axis of len(actions), texts as a list of strings."""
    if isinstance(space, spaces.Dict):
        return {key: chunk(sub, [action[key] for action in actions]) for key, sub in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        return [chunk(sub, [action[i] for action in actions]) for i, sub in enumerate(space.spaces)]
    if isinstance(space, spaces.Text):
        return list(actions)
    return np.stack([np.asarray(action, space.dtype) for action in actions])
