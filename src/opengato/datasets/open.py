"""Open any dataset by its name, tokenised."""

from __future__ import annotations

from pathlib import Path

from opengato.datasets import captions, dialogue, text
from opengato.datasets.cache import TokenDataset, build_cache
from opengato.datasets.minari import load_minari
from opengato.tokens.text import TextTokenizer


def open_dataset(
    name: str, tokenizer: TextTokenizer, root: Path | None = None, cache: Path | None = None, text_chars: int = 4_000_000
) -> TokenDataset:
    """Tokenise a dataset into the cache, or find it there.

    Args:
        name: "text/plain", "dialogue/chitchat", "captions/emoji", or a Minari dataset's id or folder.
        root: the folder of the Minari datasets; default: Minari's own.
        cache: default: the user's cache folder.
        text_chars: how much plain text to read.
    """
    if name == text.TASK:
        return build_cache(
            name,
            text.OBSERVATION_SPACE,
            text.ACTION_SPACE,
            text.load_text(limit_chars=text_chars),
            tokenizer,
            f"speeches {text_chars}",
            cache,
        )
    if name == dialogue.TASK:
        return build_cache(name, dialogue.OBSERVATION_SPACE, dialogue.ACTION_SPACE, dialogue.load_dialogue(), tokenizer, "chitchat", cache)
    if name == captions.TASK:
        return build_cache(
            name, captions.OBSERVATION_SPACE, captions.ACTION_SPACE, captions.load_emoji("train"), tokenizer, captions.fingerprint(), cache
        )
    episodes = load_minari(name, root)
    return build_cache(episodes.task, episodes.observation_space, episodes.action_space, episodes, tokenizer, episodes.fingerprint, cache)
