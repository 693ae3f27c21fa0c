"""Open any dataset by its name, tokenised."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from types import ModuleType

from opengato.datasets import captions, dialogue, questions, text
from opengato.datasets.cache import TokenDataset, build_cache
from opengato.datasets.minari import load_minari
from opengato.episode import Episode
from opengato.tokens.text import TextTokenizer


def open_dataset(
    name: str, tokenizer: TextTokenizer, root: Path | None = None, cache: Path | None = None, text_chars: int = 4_000_000
) -> TokenDataset:
    """Tokenise a dataset into the cache, or find it there.

    Args:
        name: "text/plain", "dialogue/chitchat", "captions/emoji", "questions/emoji", or a Minari dataset's id or folder.
        root: the folder of the Minari datasets; default: Minari's own.
        cache: default: the user's cache folder.
        text_chars: how much plain text to read.
    """
    shipped: dict[str, tuple[ModuleType, Callable[[], Iterable[Episode]], str]] = {
        text.TASK: (text, partial(text.load_text, limit_chars=text_chars), f"speeches {text_chars}"),
        dialogue.TASK: (dialogue, dialogue.load_dialogue, "chitchat"),
        captions.TASK: (captions, captions.load_emoji, captions.fingerprint()),
        questions.TASK: (questions, questions.load_emoji, captions.fingerprint()),
    }
    if name in shipped:
        module, load, fingerprint = shipped[name]
        return build_cache(name, module.OBSERVATION_SPACE, module.ACTION_SPACE, load(), tokenizer, fingerprint, cache)
    episodes = load_minari(name, root)
    return build_cache(episodes.task, episodes.observation_space, episodes.action_space, episodes, tokenizer, episodes.fingerprint, cache)
