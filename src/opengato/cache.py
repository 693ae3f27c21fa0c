"""Where the user's cache is, and what lies in it: all of it is made again where it is missing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from opengato.errors import unknown

# Folder below the cache's root -> what is kept there.
PARTS = {
    "tokens": "the token store: datasets, tokenised",
    "surveys": "what one pass over a dataset found: its spaces, ranges and faults",
    "compiled": "code that torch.compile made of networks",
    "textworld": "games of TextWorld, as they were made",
    "packages": "packages of registries, from which `opengato data build` builds",
}


def cache_root() -> Path:
    """$OPENGATO_CACHE, or opengato/ in the user's cache folder."""
    base = os.environ.get("OPENGATO_CACHE")
    return Path(base) if base else Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "opengato"


@dataclass(frozen=True)
class Part:
    """A folder of the cache, which need not be there.

    Attributes:
        name: see `PARTS`. bytes: of its files. files: how many they are.
    """

    name: str
    folder: Path
    bytes: int
    files: int


def parts() -> list[Part]:
    """What lies in the cache, part by part, in the order of `PARTS`."""
    found = []
    for name in PARTS:
        folder = cache_root() / name
        sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
        found.append(Part(name, folder, sum(sizes), len(sizes)))
    return found


def clear(names: Iterable[str] = ()) -> list[Part]:
    """Delete parts of the cache, all where none is named; returns what they were. Raises OpenGatoError for one that there is none of.

    A training that is under way opens its shards as it needs them, and stops where one has gone.
    """
    wanted = list(names)
    for name in wanted:
        if name not in PARTS:
            raise unknown("part of the cache", name, PARTS)
    chosen = [part for part in parts() if not wanted or part.name in wanted]
    for part in chosen:
        shutil.rmtree(part.folder, ignore_errors=True)
    return chosen
