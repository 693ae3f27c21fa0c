"""The command that lets others act with an agent: serve."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from opengato.cli.app import Precision, command


@command
def serve(
    checkpoint: Positional[Path],
    host: str = "127.0.0.1",
    port: int = 8000,
    token_file: Path | None = None,
    task: str | None = None,
    name: str = "opengato",
    sessions: int = 64,
    chats: int = 4,
    queue: int = 16,
    rate: float = 1000.0,
    max_message: int = 8 * 2**20,
    temperature: float | None = None,
    max_text: int = 64,
    horizon: int = 1,
    compiled: bool = False,
    idle: float = 600.0,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    precision: Precision = "float32",
) -> None:
    """Let clients act with an agent over a network: openpi's websocket protocol and OpenAI's chat endpoint; Ctrl-C or SIGTERM ends it.

    Args:
        checkpoint: a checkpoint folder.
        host: address to listen on; any but a loopback one needs a token file.
        port: to listen on; 0 takes a free one.
        token_file: a file with the token that clients must send.
        task: of clients that name none; default: the checkpoint's only task.
        name: of the model for OpenAI's clients.
        sessions: websocket connections at a time, each with a memory of its own.
        chats: chat requests at a time.
        queue: requests of one connection that may wait.
        rate: messages a second of one connection.
        max_message: bytes of one message.
        temperature: of the actions, 0 is greedy; default: 0.7 for discrete, 0 for continuous ones.
        max_text: tokens of an answer in words, at most.
        horizon: actions in an answer to openpi's clients, all chosen from one observation; at most one less than the queue.
        compiled: run the network through torch.compile, which needs a C++ compiler; in the background, for the batches that come often.
        idle: seconds without a message after which a connection loses its place.
        device: where the network runs; auto: on a GPU where there is one.
        precision: of the weights; bfloat16 and int8 are quicker on a CPU.
    """
    from opengato.errors import OpenGatoError

    try:
        from opengato.serving.app import serve as run
        from opengato.serving.limits import Limits
    except ImportError as error:
        raise OpenGatoError(f"serving needs a package that is not installed ({error.name}): pip install 'opengato[serve]'") from None

    limits = Limits(sessions=sessions, chats=chats, queue=queue, rate=rate, message_bytes=max_message, idle=idle)
    run(
        checkpoint,
        token_file,
        device,
        precision,
        compiled,
        host=host,
        port=port,
        task=task,
        name=name,
        limits=limits,
        temperature=temperature,
        max_text=max_text,
        horizon=horizon,
    )
