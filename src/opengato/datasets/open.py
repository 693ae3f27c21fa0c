"""Look any dataset up by its name, and open it tokenised."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from opengato.console import detail
from opengato.datasets import (
    captions,
    chat,
    coco,
    code,
    conceptual,
    dialogue,
    hf,
    html,
    mmc4,
    obelics,
    pages,
    questions,
    tars,
    text,
    vqa,
)
from opengato.datasets.d4rl import load_d4rl
from opengato.datasets.dataset import Dataset
from opengato.datasets.jat import load_jat
from opengato.datasets.lerobot import load_lerobot
from opengato.datasets.minari import load_minari
from opengato.datasets.packed import open_packed
from opengato.datasets.rate import rate_of
from opengato.datasets.reading import Reading
from opengato.datasets.recognise import format_of
from opengato.datasets.rlds import load_rlds
from opengato.datasets.robomimic import load_robomimic
from opengato.datasets.store import TokenDataset
from opengato.datasets.tokenise import stored, tokenise
from opengato.datasets.viewed import Viewed
from opengato.errors import OpenGatoError
from opengato.jobs import Begun, Done, Job, Workers
from opengato.tokens.layout import Layout
from opengato.tokens.text import TextTokenizer


class Format(NamedTuple):
    """What is written after the colon of FORMAT:PATH[,PATH], and what opens it, given the paths."""

    paths: str
    open: Callable[[Sequence[str], Reading], Dataset]


FORMATS: dict[str, Format] = {
    "text": Format(text.PATHS, text.open_text),
    "code": Format(code.PATHS, code.open_code),
    "html": Format(html.PATHS, html.open_html),
    "coco": Format(coco.PATHS, coco.open_coco),
    "cc": Format(conceptual.PATHS, conceptual.open_conceptual),
    "tars": Format(tars.PATHS, tars.open_tars),
    "hf": Format(hf.PATHS, hf.open_hf),
    "vqa": Format(vqa.PATHS, vqa.VqaQuestions),
    "mmc4": Format(mmc4.PATHS, mmc4.open_mmc4),
    "obelics": Format(obelics.PATHS, obelics.open_obelics),
    "pages": Format(pages.PATHS, pages.open_pages),
    "chat": Format(chat.PATHS, chat.open_chat),
    "minari": Format("FOLDER", lambda paths, reading: load_minari(",".join(paths), reading.root)),
    "lerobot": Format("FOLDER", lambda paths, reading: load_lerobot(_one(paths))),
    "rlds": Format("FOLDER[,SPLIT]", lambda paths, reading: load_rlds(*map(Path, paths))),
    "jat": Format("FOLDER or FILE.parquet", lambda paths, reading: load_jat(_one(paths))),
    "robomimic": Format("FILE.hdf5", lambda paths, reading: load_robomimic(_one(paths))),
    "d4rl": Format("FILE.hdf5", lambda paths, reading: load_d4rl(_one(paths))),
    "tokens": Format("FILE.tokens", lambda paths, reading: open_packed(_one(paths))),
}
SHIPPED: dict[str, Callable[[Reading], Dataset]] = {
    text.TASK: lambda reading: text.shipped(reading.text_chars),
    dialogue.TASK: lambda _: dialogue.chitchat(),
    captions.TASK: lambda _: captions.emoji_captions(),
    questions.TASK: lambda _: questions.emoji_questions(),
}
NAMES = ", ".join([*SHIPPED, *(f"{name}:{form.paths}" for name, form in FORMATS.items())]) + ", or a Minari dataset's id or folder"


def _one(paths: Sequence[str]) -> Path:
    """The path of a format that has one, commas and all."""
    return Path(",".join(paths))


def weight_of(name: str) -> tuple[str, float | None]:
    """A name without its @weight, and the weight; None where it has none. What follows an @ and is no number belongs to the name."""
    plain, at, number = name.rpartition("@")
    try:
        weight = float(number) if at else None
    except ValueError:
        return name, None
    if weight is None:
        return name, None
    if not (math.isfinite(weight) and weight >= 0):
        raise OpenGatoError(f"the weight of dataset {plain!r} is {number}: give a number, 0 or more")
    return plain, weight


def find_dataset(name: str, reading: Reading | None = None) -> Dataset:
    """A dataset, not read yet.

    Args:
        name: one of `SHIPPED`; FORMAT:PATH[,PATH], the format being one of `FORMATS`; a path that tells its format, see `format_of`; or a
            Minari dataset's id. A @weight is passed over.

    Raises OpenGatoError where there is none.
    """
    reading, (name, _) = reading or Reading(), weight_of(name)
    if name in SHIPPED:
        return SHIPPED[name](reading)
    spelling, colon, paths = name.partition(":")
    if not colon:
        if not Path(name).exists():
            return load_minari(name, reading.root)
        spelling, paths = format_of(Path(name)), name
    if spelling not in FORMATS:
        raise OpenGatoError(f"dataset {name!r} is of no known format: give {NAMES}")
    return FORMATS[spelling].open(paths.split(","), reading)


def open_dataset(
    name: str,
    tokenizer: TextTokenizer,
    root: Path | None = None,
    cache: Path | None = None,
    skip_bad: float = 0.0,
    seen: Callable[[int], Any] | None = None,
    reading: Reading | None = None,
) -> TokenDataset:
    """A dataset from the token store, tokenised into it first where it is not there.

    Args:
        name: see `find_dataset`.
        root: the folder of the Minari datasets, where `reading` does not say it.
        cache: default: the user's cache folder. skip_bad, seen: see `tokenise`.
    """
    dataset = find_dataset(name, reading or Reading(root))
    data = tokenise(dataset, tokenizer, cache, skip_bad, seen)
    data.rate = rate_of(dataset)
    return data


def open_datasets(
    names: list[str],
    tokenizer: TextTokenizer,
    root: Path | None = None,
    cache: Path | None = None,
    skip_bad: float = 0.0,
    workers: int | None = None,
    done: Callable[[str], Any] | None = None,
    reading: Reading | None = None,
    views: Mapping[str, Layout] | None = None,
) -> list[TokenDataset]:
    """`open_dataset` of every name; what the store lacks is tokenised by several processes at once.

    Args:
        workers: processes; default: one a core. done: is told the name of every dataset that is there, as it comes.
        views: name -> how the dataset is read as another space, see `Viewed`, of those that are.

    Raises:
        OpenGatoError: before any work, where a name is of no dataset; of the first dataset that cannot be tokenised.
    """
    reading = reading or Reading(root)
    views = views or {}
    plain = {name: find_dataset(name, reading) for name in names}
    datasets = {name: Viewed(dataset, views[name]) if name in views else dataset for name, dataset in plain.items()}
    found = {name: stored(dataset, tokenizer, cache) for name, dataset in datasets.items()}
    told = done or (lambda name: None)
    missing = [name for name, data in found.items() if data is None]
    for name, data in found.items():
        detail(
            f"{name}: task {datasets[name].task}, " + ("to be tokenised" if data is None else f"{len(data):,} episodes in the token store")
        )
    for name in (name for name in names if name not in missing):
        told(name)
    if len(missing) > 1:
        by_name = [name for name in missing if name not in views]
        jobs = iter([Job(name, (name, tokenizer.bytes, cache, skip_bad, reading), (0,)) for name in by_name])
        with Workers(workers, timeout_s=math.inf) as pool:
            for result in pool.run(_tokenise, lambda: next(jobs, None)):
                if result.failure is not None:
                    raise OpenGatoError(result.failure)
                told(str(result.name))
    opened = []
    for name in names:
        data = found[name]
        opened.append(data if data is not None else tokenise(datasets[name], tokenizer, cache, skip_bad))
        opened[-1].rate = rate_of(datasets[name])
    if len(missing) == 1:
        told(missing[0])
    return opened


def _tokenise(
    name: str, tokenizer: bytes, cache: Path | None, skip_bad: float, reading: Reading, seeds: tuple[int, ...]
) -> Iterator[Begun | Done]:
    """The work of a process: one dataset into the store."""
    yield Begun(seeds[0])
    open_dataset(name, TextTokenizer(tokenizer), cache=cache, skip_bad=skip_bad, reading=reading)
    yield Done(seeds[0], None)
