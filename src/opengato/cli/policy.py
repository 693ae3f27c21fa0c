"""Commands that talk with an agent: caption, ask, chat."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro
from tyro.conf import Positional

from opengato.cli.app import Precision, command

if TYPE_CHECKING:
    from opengato.policy.policy import Policy


@dataclass(frozen=True)
class Speech:
    """How words are chosen."""

    temperature: float = 0.0
    """of the words; the paper samples at 0.9"""
    top_p: float = 1.0
    """sample from the likeliest words that have this share of the probability"""
    seed: int = 0
    """of the sampling"""
    precision: Precision = "float32"
    """of the weights; bfloat16 and int8 are quicker on a CPU"""

    def policy(self, checkpoint: Path) -> Policy:
        """The checkpoint's agent, speaking so."""
        from opengato.policy.policy import Policy

        return Policy.from_pretrained(checkpoint, precision=self.precision, temperature=self.temperature, top_p=self.top_p, seed=self.seed)


LIKELIEST, CHATTING = Speech(), Speech(0.9, 0.95)


@command
def caption(
    checkpoint: Positional[Path],
    image: Positional[Path],
    speech: Annotated[Speech, tyro.conf.arg(name="")] = LIKELIEST,
) -> None:
    """Say what an image shows, word by word.

    Args:
        checkpoint: a checkpoint folder that was trained on captions.
        image: any image file.
    """
    from opengato.policy.language import caption as run

    run(speech.policy(checkpoint), image, _say)
    print()


@command
def ask(
    checkpoint: Positional[Path],
    image: Positional[Path],
    question: Positional[str],
    speech: Annotated[Speech, tyro.conf.arg(name="")] = LIKELIEST,
) -> None:
    """Answer a question about an image, word by word.

    Args:
        checkpoint: a checkpoint folder that was trained on questions about images.
        image: any image file.
        question: what to ask.
    """
    from opengato.policy.language import ask as run

    run(speech.policy(checkpoint), image, question, _say)
    print()


def _say(words: str) -> None:
    print(words, end="", flush=True)


@command
def chat(checkpoint: Positional[Path], speech: Annotated[Speech, tyro.conf.arg(name="")] = CHATTING) -> None:
    """Talk with an agent; an empty line or Ctrl-D ends it.

    Args:
        checkpoint: a checkpoint folder that was trained on dialogue.
    """
    from opengato.policy.language import chat as run

    run(speech.policy(checkpoint), sys.stdin, _say)
