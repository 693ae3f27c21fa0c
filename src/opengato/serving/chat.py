"""OpenAI's HTTP endpoints: conversations, captions and questions about pictures for clients that speak nothing else.

A request carries the whole conversation. Its last user message is the observation; what came before is the memory, as a prompt of one
timestep a turn, as dialogues are in training. An image in the last message makes it a question about the image, or a wish for a caption.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import io
import json
import secrets
import time
import warnings
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from aiohttp import web

from opengato.datasets import dialogue
from opengato.datasets.photographs import read_image
from opengato.episode import Episode, leaves
from opengato.errors import OpenGatoError
from opengato.sentences import short
from opengato.serving.batcher import Act, Start
from opengato.serving.limits import Refusal
from opengato.serving.service import Service
from opengato.tokens.encode import Encoded, encode
from opengato.tokens.layout import Layout
from opengato.tokens.text import Words
from opengato.word_tasks import picture_size, picture_tasks, talk_tasks

PIXELS = 4096 * 4096  # of a JPEG at most, which is decoded at a fraction of its size
PLAIN_PIXELS = 2048 * 2048  # of any other image
SCANS = 32  # of a progressive JPEG: each may be a few bytes long and goes over the whole picture
REFUSED_SECONDS = 0.002  # about what a request costs that is refused, beside its bytes
PARTS = 65_536  # brackets, commas and escapes of a body, each a step of a parser that nobody can interrupt
_AT_A_TIME = 2**16  # bytes
# As the command line's chat.
TEMPERATURE, TOP_P = 0.9, 0.95
_TAKEN = {"model", "messages", "stream", "stream_options", "temperature", "top_p", "max_tokens", "max_completion_tokens", "seed"}
# Have no influence on what is said.
_IGNORED = {"user", "metadata", "store", "safety_identifier", "prompt_cache_key", "service_tier"}
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "n": (1,),
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "logprobs": (False,),
    "response_format": ({"type": "text"},),
    "top_logprobs": (0,),
    "logit_bias": ({},),
    "modalities": (["text"],),
    "tools": ([],),
    "tool_choice": ("none", "auto"),  # without tools, which are refused, both mean none
    "parallel_tool_calls": (True, False),
    "functions": ([],),
    "function_call": ("none", "auto"),
    "stop": ([],),
}


class BadRequest(OpenGatoError):
    """A request that OpenAI's clients shall see as an error: `param` names the field."""

    def __init__(self, sentence: str, param: str | None = None, status: int = 400, code: str | None = None):
        super().__init__(sentence)
        self.param, self.status, self.code = param, status, code


@dataclass
class Question:
    """What a conversation comes down to: an observation of a task, and the turns before it, what was said to the agent and its answers."""

    task: str
    observation: Any
    heard: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)


def error(status: int, sentence: str, param: str | None = None, code: str | None = None) -> web.Response:
    """An error in OpenAI's format."""
    kinds = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error", 503: "server_error", 500: "server_error"}
    body = {"error": {"message": sentence, "type": kinds.get(status, "invalid_request_error"), "param": param, "code": code}}
    headers = {401: {"WWW-Authenticate": "Bearer"}, 503: {"Retry-After": "1"}}.get(status, {})
    return web.json_response(body, status=status, headers=headers)


def add_routes(app: web.Application, service: Service) -> None:
    """Serve GET /v1/models and POST /v1/chat/completions."""

    async def models(request: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [_model(service)]})

    async def model(request: web.Request) -> web.Response:
        if request.match_info["name"] != service.name:
            return error(404, f"there is no model {request.match_info['name'][:100]!r}: it is {service.name!r}", "model", "model_not_found")
        return web.json_response(_model(service))

    async def completions(request: web.Request) -> web.StreamResponse:
        task = asyncio.current_task()
        assert task is not None
        service.chats.add(task)
        try:
            return await _complete(service, request)
        except BadRequest as bad:
            service.metrics.errors.labels("chat").inc()
            answer = error(bad.status, str(bad), bad.param, bad.code)
        except Refusal as refusal:
            service.metrics.errors.labels(refusal.kind).inc()
            status = {"busy": 503, "closing": 503, "internal": 500}.get(refusal.kind, 400)
            answer = error(status, str(refusal), "messages" if status == 400 else None)
        finally:
            service.chats.discard(task)
        await service.penance.pay(REFUSED_SECONDS, request.content_length or 0)
        return answer

    app.add_routes([web.get("/v1/models", models), web.get("/v1/models/{name}", model), web.post("/v1/chat/completions", completions)])


def _model(service: Service) -> dict[str, Any]:
    return {"id": service.name, "object": "model", "created": service.created, "owned_by": "opengato"}


async def _complete(service: Service, request: web.Request) -> web.StreamResponse:
    arrived = time.monotonic()
    if service.closing:
        raise Refusal("closing", "the server is shutting down: try again later")
    if request.content_type != "application/json":
        raise BadRequest(f"the content type is {request.content_type[:60]}: send application/json")
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise BadRequest("the body is compressed: send it as it is", status=415)
    if (request.content_length or 0) > service.limits.message_bytes:
        raise BadRequest(
            f"the body has {request.content_length} bytes where {service.limits.message_bytes} are allowed: send less", status=413
        )
    try:
        async with asyncio.timeout(service.limits.unfinished):
            data = await request.read()
    except TimeoutError:
        raise BadRequest(f"the body did not arrive within {service.limits.unfinished:g} s: send it at once", status=408) from None
    # Only now, so that those who send slowly take nobody's place.
    if service.chatting >= service.limits.chats:
        raise Refusal("busy", f"{service.limits.chats} chats are at work, as many as are allowed: try again later")
    service.metrics.requests.labels("chat").inc()
    service.metrics.chats.inc()
    service.chatting += 1
    try:
        # Pictures and long conversations take a while to read: not on the event loop. What still waits goes with its client.
        wish, question, prompt = await asyncio.get_running_loop().run_in_executor(service.reader, _read, service, data)
        answer = _Answer(service, wish, question, prompt)
        response = await answer.stream(request) if wish.get("stream") else await answer.whole()
    finally:
        service.chatting -= 1
        service.metrics.chats.dec()
    service.metrics.latency.labels("chat").observe(time.monotonic() - arrived)
    return response


def _read(service: Service, data: bytes) -> tuple[dict[str, Any], Question, Encoded | None]:
    """The request's settings, its question, and the memory before it."""
    if _parts(data) > PARTS:
        raise BadRequest(f"the body has more than {PARTS} brackets, commas and escapes: send less")
    try:
        wish = json.loads(data.decode())
    except (ValueError, RecursionError) as bad:
        raise BadRequest(f"the body is no JSON that can be read: {short(str(bad), 120)}") from None
    if not isinstance(wish, dict):
        raise BadRequest("the body is no JSON object: send one with model and messages")
    _check_settings(service, wish)
    question = read_question(wish.get("messages"), service.checkpoint.layouts)
    layout = service.checkpoint.layouts[question.task]
    question.observation = service.checker.observation(layout, question.observation)
    return wish, question, _memory(service, layout, question)


def _parts(data: bytes) -> int:
    """How many brackets, commas and escapes there are, counted to where they are too many: Python lets nobody else work meanwhile."""
    parts = 0
    for start in range(0, len(data), _AT_A_TIME):
        if parts <= PARTS:
            parts += sum(data.count(sign, start, start + _AT_A_TIME) for sign in b"[{,\\")
    return parts


def _check_settings(service: Service, wish: dict[str, Any]) -> None:
    for key, value in wish.items():
        if key not in _TAKEN | _IGNORED and value is not None and not any(value == neutral for neutral in _NEUTRAL.get(key, ())):
            raise BadRequest(f"field {short(key)!r} is {short(value)}, which this server does not support: leave it out", short(key))
    if wish.get("model") != service.name:
        raise BadRequest(f"there is no model {short(wish.get('model'))!r}: it is {service.name!r}", "model", 404, "model_not_found")
    for key, high in (("temperature", 2.0), ("top_p", 1.0)):
        value = wish.get(key)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= high):
            raise BadRequest(f"field {key!r} is {short(value)}: send a number from 0 to {high:g}", key)
    for key, low in (("max_tokens", 1), ("max_completion_tokens", 1), ("seed", -(2**63))):
        value = wish.get(key)
        if value is not None and (type(value) is not int or not low <= value < 2**63):
            raise BadRequest(f"field {key!r} is {short(value)}: send an integer of at least {low}", key)
    if not isinstance(wish.get("stream"), bool | None):
        raise BadRequest(f"field 'stream' is {short(wish['stream'])}: send true or false", "stream")
    if not isinstance(wish.get("stream_options"), dict | None):
        raise BadRequest(f"field 'stream_options' is {short(wish['stream_options'])}: send an object", "stream_options")


def read_question(messages: Any, layouts: dict[str, Layout]) -> Question:
    """What a list of OpenAI messages asks, of which of the tasks. Raises BadRequest."""
    if not isinstance(messages, list) or not messages:
        raise BadRequest("field 'messages' is no list with a message in it: send at least one of role 'user'", "messages")
    turns: list[tuple[bool, str]] = []  # whether the agent said it, and what
    images: list[bytes] = []
    for i, message in enumerate(messages):
        name = f"messages[{i}]"
        if not isinstance(message, dict):
            raise BadRequest(f"{name} is {short(message)}: send an object with role and content", "messages")
        role = message.get("role")
        if role not in ("system", "developer", "user", "assistant"):
            raise BadRequest(f"{name} has role {short(role)!r}: send system, developer, user or assistant", "messages")
        content = message.get("content")
        text, found = _content("" if content is None and role == "assistant" else content, name)
        try:
            text.encode()
        except UnicodeEncodeError as bad:
            raise BadRequest(f"{name} has a lone surrogate at character {bad.start}: it is not valid Unicode", "messages") from None
        if found and role != "user":
            raise BadRequest(f"{name} is an image of role {role!r}: only a user sends images", "messages")
        # An image was answered in its own time: only those of the last turn are looked at.
        own = role == "assistant"
        images = [] if own else images + found
        if turns and turns[-1][0] == own:
            text = "\n".join(filter(None, (turns.pop()[1], text)))
        turns.append((own, text))
    if turns[-1][0]:
        raise BadRequest("the last message is the assistant's: end with one of role 'user'", "messages")
    asked = turns.pop()[1]
    if images:
        if len(images) > 1:
            raise BadRequest(f"the last message has {len(images)} images: send one", "messages")
        return _about_image(images[0], asked, layouts)
    if not asked:
        raise BadRequest("the last message is empty: send a text, an image or both", "messages")
    talking = talk_tasks(layouts)
    if not talking:
        raise BadRequest(f"this checkpoint was not trained on {dialogue.TASK}, so it cannot chat: it knows {_names(layouts)}", "messages")
    if turns and turns[0][0]:
        turns.insert(0, (False, ""))
    return Question(talking[0], asked, [text for own, text in turns if not own], [text for own, text in turns if own])


def _content(content: Any, name: str) -> tuple[str, list[bytes]]:
    if isinstance(content, str):
        return content, []
    if not isinstance(content, list):
        raise BadRequest(f"{name} has content {short(content)}: send a text or a list of parts", "messages")
    texts: list[str] = []
    images: list[bytes] = []
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "text" and isinstance(part.get("text"), str):
            texts.append(part["text"])
        elif kind == "image_url" and isinstance(part.get("image_url"), dict) and isinstance(part["image_url"].get("url"), str):
            images.append(_data(part["image_url"]["url"], name))
        else:
            raise BadRequest(f"{name} has a part of type {short(kind)}: send text and image_url parts", "messages")
    return "\n".join(texts), images


def _data(url: str, name: str) -> bytes:
    head, _, data = url.partition(",")
    if not head.startswith("data:image/") or not head.endswith(";base64"):
        raise BadRequest(
            f"{name} has image_url {short(url, 40)!r}: this server fetches nothing, send a data:image/…;base64 URI", "messages"
        )
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as bad:
        raise BadRequest(f"{name} has an image whose base64 cannot be read: {bad}", "messages") from None


def _about_image(data: bytes, asked: str, layouts: dict[str, Layout]) -> Question:
    """The question-answering task for an image with a question, where there is one, else the captioning one."""
    answering = picture_tasks(layouts, question=True) if asked else []
    tasks = answering or picture_tasks(layouts, question=False)
    if not tasks:
        raise BadRequest(f"this checkpoint was trained on no task that puts an image into words: it knows {_names(layouts)}", "messages")
    image = _picture(data, picture_size(layouts[tasks[0]]))
    return Question(tasks[0], {"image": image, "question": asked} if answering else {"image": image})


def _picture(data: bytes, size: tuple[int, int]) -> np.ndarray:
    """An image file's bytes as uint8 (height, width, 3)."""
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "GIF", "WEBP", "BMP")) as picture:
                most = PIXELS if picture.format == "JPEG" else PLAIN_PIXELS
                if picture.width * picture.height > most:
                    raise BadRequest(
                        f"the image has {picture.width} × {picture.height} pixels, more than {most}: send a smaller one", "messages"
                    )
                if picture.format in ("JPEG", "MPO") and data.count(b"\xff\xda") > SCANS:
                    raise BadRequest(f"the image has more than {SCANS} scans: send a JPEG of fewer", "messages")
            return read_image(data, size)
    except BadRequest:
        raise
    except Exception as bad:  # every format has its own ways to be broken
        kind = "no PNG, JPEG, GIF, WebP or BMP" if isinstance(bad, UnidentifiedImageError) else short(str(bad), 120)
        raise BadRequest(f"the image cannot be read: {kind}", "messages") from None


def _names(layouts: dict[str, Layout]) -> str:
    return short(", ".join(sorted(layouts)), 400)


def _memory(service: Service, layout: Layout, question: Question) -> Encoded | None:
    """The last turns before the question that fill half of the context; without any, what a Policy of the task begins with."""
    config, limit = service.checkpoint.model.config, service.limits.text_characters
    if not question.said:
        return service.prompts.get(question.task)
    heard, said = question.heard[-config.context :], question.said[-config.context :]
    if longest := max((text for text in heard + said if len(text) > limit), key=len, default=""):
        raise BadRequest(f"a message has {len(longest)} characters where {limit} are allowed: shorten it", "messages")
    encoded = encode(layout, Episode(heard, said, np.zeros(len(said), np.float32), question.task), service.checkpoint.tokenizer)
    _, starts = config.fold.positions(encoded.kinds, encoded.offsets)
    first = int(np.searchsorted(starts, starts[-1] - config.context // 2))
    return encoded.take(np.arange(first, len(encoded))) if first < len(encoded) else None


class _Answer:
    """What the agent says to one question."""

    def __init__(self, service: Service, wish: dict[str, Any], question: Question, prompt: Encoded | None):
        self.service, self.question, self.prompt = service, question, prompt
        is_chat = question.task in talk_tasks(service.checkpoint.layouts)
        self.start = Start(
            service.checkpoint.layouts[question.task],
            prompt,
            secrets.randbits(63) if wish.get("seed") is None else wish["seed"] % 2**63,
            _or(wish.get("temperature"), TEMPERATURE if is_chat else 0.0),
            _or(wish.get("top_p"), TOP_P if is_chat else 1.0),
        )
        self.most = min((wish[key] for key in ("max_tokens", "max_completion_tokens") if wish.get(key)), default=service.engine.max_text)
        self.with_usage = bool((wish.get("stream_options") or {}).get("include_usage"))
        self.id = f"chatcmpl-{secrets.token_hex(12)}"
        self.said = Words(service.checkpoint.tokenizer)
        self.reason = "length"

    async def words(self) -> AsyncGenerator[str, None]:
        """The answer, piece by piece, and with the last one the reason of its end. Raises Refusal."""
        loop, eos = asyncio.get_running_loop(), self.service.checkpoint.tokenizer.eos
        heard: asyncio.Queue[int | None] = asyncio.Queue()
        seat = self.service.batcher.sit()
        try:
            self.service.batcher.submit(seat, self.start)

            def hear(token: int) -> None:
                loop.call_soon_threadsafe(heard.put_nowait, token)

            answer = self.service.batcher.submit(seat, Act(self.question.observation, on_token=hear))
            answer.add_done_callback(lambda _: heard.put_nowait(None))
            while (token := await heard.get()) is not None:
                if token == eos:
                    self.reason = "stop"
                    break
                if len(self.said.tokens) == self.most:
                    break
                if piece := self.said.hear(token):
                    yield piece
            if answer.done():
                answer.result()
            if rest := self.said.rest():
                yield rest
        finally:
            self.service.batcher.leave(seat)

    async def whole(self) -> web.Response:
        """As one JSON object."""
        text = "".join([piece async for piece in self.words()])
        message = {"role": "assistant", "content": text, "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": self.reason}
        return web.json_response(self._head("chat.completion") | {"choices": [choice], "usage": self._usage()})

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """As server-sent events, a chunk whenever there is more to read."""
        words = self.words()
        # Nothing is sent before the first word, so that a refusal is still an error with its status.
        first = await anext(words, "")
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
        await response.prepare(request)
        await self._send(response, {"role": "assistant", "content": first})
        try:
            async for piece in words:
                await self._send(response, {"content": piece})
            await self._send(response, {}, self.reason)
            if self.with_usage:
                await self._event(response, self._head("chat.completion.chunk") | {"choices": [], "usage": self._usage()})
            await response.write(b"data: [DONE]\n\n")
        except Refusal as refusal:
            self.service.metrics.errors.labels(refusal.kind).inc()
            await self._event(response, {"error": {"message": str(refusal), "type": "server_error", "param": None, "code": None}})
        finally:
            await words.aclose()
        await response.write_eof()
        return response

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": int(time.time()), "model": self.service.name}

    def _usage(self) -> dict[str, int]:
        texts = [leaf for _, leaf in leaves(self.question.observation) if isinstance(leaf, str)]
        read = sum(map(self.service.checker.count, texts)) + (0 if self.prompt is None else len(self.prompt.tokens))
        said = len(self.said.tokens)
        return {"prompt_tokens": read, "completion_tokens": said, "total_tokens": read + said}

    async def _send(self, response: web.StreamResponse, delta: dict[str, str], reason: str | None = None) -> None:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        await self._event(response, self._head("chat.completion.chunk") | {"choices": [choice]})

    async def _event(self, response: web.StreamResponse, data: dict[str, Any]) -> None:
        async with asyncio.timeout(self.service.limits.unfinished):
            await response.write(f"data: {json.dumps(data)}\n\n".encode())


def _or(value: float | None, default: float) -> float:
    return default if value is None else float(value)
