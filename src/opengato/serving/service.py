"""What is served, without a word of HTTP: a checkpoint with its engine and batcher, the tasks as clients see them, and what is allowed."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from typing import Any

from opengato.checkpoint import Checkpoint
from opengato.errors import unknown
from opengato.model.prompt import crop_prompt
from opengato.policy.engine import Engine
from opengato.serving import wire
from opengato.serving.batcher import Batcher
from opengato.serving.check import Checker
from opengato.serving.compiling import BackgroundCompiler
from opengato.serving.limits import Limits, Penance, within
from opengato.serving.metrics import Metrics


class Service:
    """One checkpoint at work for many.

    Args:
        checkpoint: what acts. task: of clients that name none; default: the checkpoint's only task.
        name: of the model for OpenAI's clients. limits: what is taken on.
        temperature: of the actions, as `Engine`. max_text: tokens of an answer in words.
        horizon: actions in an answer to a bare observation, as openpi's clients send it; all are chosen from that one observation.

    Attributes:
        closing: nothing new is begun.
        chats: the requests that are being answered; chatting: how many of them have arrived whole.
        prompts: task -> what an episode begins with unless its client says otherwise.
        greeting: the first message of a session.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        task: str | None = None,
        name: str = "opengato",
        limits: Limits | None = None,
        temperature: float | None = None,
        max_text: int = 64,
        horizon: int = 1,
    ):
        if task is not None and task not in checkpoint.layouts:
            raise unknown("task of this checkpoint", task, checkpoint.layouts)
        self.checkpoint, self.name, self.horizon = checkpoint, name, horizon
        self.limits = limits or Limits()
        self.limits.check()
        within("max_text", max_text, 1, checkpoint.model.config.context)
        within("horizon", horizon, 1, max(self.limits.queue - 1, 1))
        if temperature is not None:
            within("temperature", temperature, 0, 100)
        self.default_task = task or (next(iter(checkpoint.layouts)) if len(checkpoint.layouts) == 1 else None)
        self.prompts = {task: crop_prompt(prompt, checkpoint.model.config) for task, prompt in checkpoint.prompts.items()}
        self.metrics = Metrics()
        self.engine = Engine(
            checkpoint.model, checkpoint.tokenizer, self.limits.sessions + self.limits.chats, temperature=temperature, max_text=max_text
        )
        self.checker = Checker(checkpoint.tokenizer, self.limits.text_characters, max(checkpoint.model.config.context // 2, 1))
        self.compiler = BackgroundCompiler(self.engine) if checkpoint.model.compiled else None
        self.batcher = Batcher(self.engine, self.limits, self.metrics, self.compiler)
        self.penance = Penance()
        self.reader = ThreadPoolExecutor(1, thread_name_prefix="reader")  # of chats: one picture's memory at a time
        self.encoder = ThreadPoolExecutor(1, thread_name_prefix="encoder")  # of demonstrations, which no chat may hold up
        self.closing = False
        self.created = int(time.time())
        self.chats: set[asyncio.Task[Any]] = set()
        self.chatting = 0
        metadata = {
            "server": "opengato",
            "version": version("opengato"),
            "protocol": 1,
            "tasks": {task: layout.spaces_json() for task, layout in sorted(checkpoint.layouts.items())},
            "rates": {task: rate for task in sorted(checkpoint.layouts) if (rate := checkpoint.rate(task)) is not None},
            "default_task": self.default_task,
            "horizon": horizon,
            "limits": {
                "message_bytes": self.limits.message_bytes,
                "queue": self.limits.queue,
                "messages_per_second": self.limits.rate,
                "text_characters": self.limits.text_characters,
            },
        }
        self.greeting = wire.pack(metadata)

    def close(self) -> None:
        """End its threads, once nobody waits for them."""
        for threads in (self.reader, self.encoder):
            threads.shutdown(wait=False, cancel_futures=True)
        self.batcher.close()
