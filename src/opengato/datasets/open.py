"""Look any dataset up by its name, and open it tokenised."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from opengato.datasets import captions, dialogue, questions, text
from opengato.datasets.d4rl import load_d4rl
from opengato.datasets.dataset import Dataset
from opengato.datasets.jat import load_jat
from opengato.datasets.lerobot import load_lerobot
from opengato.datasets.minari import load_minari
from opengato.datasets.recognise import format_of
from opengato.datasets.rlds import load_rlds
from opengato.datasets.robomimic import load_robomimic
from opengato.datasets.store import TokenDataset
from opengato.datasets.tokenise import stored, tokenise
from opengato.errors import OpenGatoError
from opengato.jobs import Begun, Done, Job, Workers
from opengato.tokens.text import TextTokenizer

TEXT_CHARS = 4_000_000

NAMES = f"{text.TASK}, {dialogue.TASK}, {captions.TASK}, {questions.TASK}, text:FILE[,FILE], coco:ANNOTATIONS.json[,IMAGES], or a Minari "
NAMES += "dataset's id or folder, minari:FOLDER too"


def find_dataset(name: str, root: Path | None = None, text_chars: int = TEXT_CHARS) -> Dataset:
    """A dataset, not read yet.

    Args:
        name: one of those that are shipped, "text/plain", "dialogue/chitchat", "captions/emoji" and "questions/emoji"; FORMAT:PATH[,PATH],
            the format being "text", "coco" or "minari"; or a Minari dataset's id.
        root: the folder of the Minari datasets; default: Minari's own.
        text_chars: how much of the shipped text to read.

    Raises OpenGatoError where there is none.
    """
    shipped: dict[str, Callable[[], Dataset]] = {
        text.TASK: lambda: text.documents(limit_chars=text_chars),
        dialogue.TASK: dialogue.chitchat,
        captions.TASK: captions.emoji_captions,
        questions.TASK: questions.emoji_questions,
    }
    if name in shipped:
        return shipped[name]()
    formats: dict[str, Callable[..., Dataset]] = {
        "text": lambda *paths: text.documents(paths),
        "coco": captions.CocoCaptions,
        "minari": lambda folder: load_minari(folder, root),
        "lerobot": load_lerobot,
        "rlds": load_rlds,
        "jat": load_jat,
        "robomimic": load_robomimic,
        "d4rl": load_d4rl,
    }
    spelling, colon, paths = name.partition(":")
    if not colon:
        if not Path(name).exists():
            return load_minari(name, root)
        spelling, paths = format_of(Path(name)), name
    if spelling not in formats:
        raise OpenGatoError(f"dataset {name!r} is of no known format: give {NAMES}")
    return formats[spelling](*(Path(path) for path in paths.split(",")))


def open_dataset(
    name: str,
    tokenizer: TextTokenizer,
    root: Path | None = None,
    cache: Path | None = None,
    text_chars: int = TEXT_CHARS,
    skip_bad: float = 0.0,
    seen: Callable[[int], Any] | None = None,
) -> TokenDataset:
    """A dataset from the token store, tokenised into it first where it is not there.

    Args:
        name, root, text_chars: see `find_dataset`.
        cache: default: the user's cache folder. skip_bad, seen: see `tokenise`.
    """
    return tokenise(find_dataset(name, root, text_chars), tokenizer, cache, skip_bad, seen)


def open_datasets(
    names: list[str],
    tokenizer: TextTokenizer,
    root: Path | None = None,
    cache: Path | None = None,
    text_chars: int = TEXT_CHARS,
    skip_bad: float = 0.0,
    workers: int | None = None,
    done: Callable[[str], Any] | None = None,
) -> list[TokenDataset]:
    """`open_dataset` of every name; what the store lacks is tokenised by several processes at once.

    Args:
        workers: processes; default: one a core. done: is told the name of every dataset that is there, as it comes.

    Raises:
        OpenGatoError: before any work, where a name is of no dataset; of the first dataset that cannot be tokenised.
    """
    settings = (root, cache, text_chars, skip_bad)
    datasets = {name: find_dataset(name, root, text_chars) for name in names}
    found = {name: stored(dataset, tokenizer, cache) for name, dataset in datasets.items()}
    told = done or (lambda name: None)
    missing = [name for name, data in found.items() if data is None]
    for name in (name for name in names if name not in missing):
        told(name)
    if len(missing) > 1:
        jobs = iter([Job(name, (name, tokenizer.bytes, *settings), (0,)) for name in missing])
        with Workers(workers, timeout_s=math.inf) as pool:
            for result in pool.run(_tokenise, lambda: next(jobs, None)):
                if result.failure is not None:
                    raise OpenGatoError(result.failure)
                told(str(result.name))
    opened = []
    for name in names:
        data = found[name]
        opened.append(data if data is not None else tokenise(datasets[name], tokenizer, cache, skip_bad))
    if len(missing) == 1:
        told(missing[0])
    return opened


def _tokenise(
    name: str, tokenizer: bytes, root: Path | None, cache: Path | None, text_chars: int, skip_bad: float, seeds: tuple[int, ...]
) -> Iterator[Begun | Done]:
    """The work of a process: one dataset into the store."""
    yield Begun(seeds[0])
    open_dataset(name, TextTokenizer(tokenizer), root, cache, text_chars, skip_bad)
    yield Done(seeds[0], None)
