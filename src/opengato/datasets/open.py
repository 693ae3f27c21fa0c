"""Open any dataset by its name, tokenised."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType

from gymnasium import spaces

from opengato.datasets import captions, dialogue, questions, text
from opengato.datasets.cache import TokenDataset, build_cache, cache_folder
from opengato.datasets.minari import load_minari
from opengato.episode import Episode
from opengato.errors import OpenGatoError
from opengato.jobs import Begun, Done, Job, Workers
from opengato.tokens.text import TextTokenizer


@dataclass(frozen=True)
class _Source:
    """Episodes of a task, not read yet; `fingerprint` names their content."""

    task: str
    observation_space: spaces.Space
    action_space: spaces.Space
    episodes: Iterable[Episode]
    fingerprint: str


def _source(name: str, root: Path | None, text_chars: int) -> _Source:
    shipped: dict[str, tuple[ModuleType, Callable[[], Iterable[Episode]], str]] = {
        text.TASK: (text, partial(text.load_text, limit_chars=text_chars), f"speeches {text_chars}"),
        dialogue.TASK: (dialogue, dialogue.load_dialogue, "chitchat"),
        captions.TASK: (captions, captions.load_emoji, captions.fingerprint()),
        questions.TASK: (questions, questions.load_emoji, captions.fingerprint()),
    }
    if name in shipped:
        module, load, fingerprint = shipped[name]
        return _Source(name, module.OBSERVATION_SPACE, module.ACTION_SPACE, load(), fingerprint)
    episodes = load_minari(name, root)
    return _Source(episodes.task, episodes.observation_space, episodes.action_space, episodes, episodes.fingerprint)


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
    source = _source(name, root, text_chars)
    return build_cache(source.task, source.observation_space, source.action_space, source.episodes, tokenizer, source.fingerprint, cache)


def open_datasets(
    names: list[str],
    tokenizer: TextTokenizer,
    root: Path | None = None,
    cache: Path | None = None,
    text_chars: int = 4_000_000,
    workers: int | None = None,
) -> list[TokenDataset]:
    """`open_dataset` of every name; what the cache lacks is tokenised by several processes at once.

    Args:
        workers: processes; default: one a core.

    Raises:
        OpenGatoError: before any work, where a name is of no dataset; of the first dataset that cannot be tokenised.
    """
    settings = (root, cache, text_chars)
    sources = {name: _source(name, root, text_chars) for name in names}
    missing = [
        name
        for name, source in sources.items()
        if not (cache_folder(source.task, tokenizer, source.fingerprint, cache) / "meta.json").is_file()
    ]
    if len(missing) > 1:
        jobs = iter([Job(name, (name, tokenizer.bytes, *settings), (0,)) for name in missing])
        with Workers(workers, timeout_s=math.inf) as pool:
            for result in pool.run(_tokenise, lambda: next(jobs, None)):
                if result.failure is not None:
                    raise OpenGatoError(result.failure)
    return [open_dataset(name, tokenizer, *settings) for name in names]


def _tokenise(
    name: str, tokenizer: bytes, root: Path | None, cache: Path | None, text_chars: int, seeds: tuple[int, ...]
) -> Iterator[Begun | Done]:
    """The work of a process: one dataset into the cache."""
    yield Begun(seeds[0])
    open_dataset(name, TextTokenizer(tokenizer), root, cache, text_chars)
    yield Done(seeds[0], None)
