"""Texts of packages as lines of JSON with a `text`, as Dolma and C4 have them, and pages and code as the files they are."""

from __future__ import annotations

import gzip
import json
import shutil
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from opengato.datasets.splits import held_out

_GLOSSES = 200  # of a dictionary, a document


def write_texts(documents: Iterator[tuple[str, str]], folder: Path) -> None:
    """Names and texts into train.jsonl.gz and test.jsonl.gz of a folder."""
    with gzip.open(folder / "train.jsonl.gz", "wt") as train, gzip.open(folder / "test.jsonl.gz", "wt") as test:
        for name, text in documents:
            (test if held_out(name) else train).write(json.dumps({"id": name, "text": text}) + "\n")


def files_of(folder: Path, pattern: str) -> Iterator[tuple[str, str]]:
    """The text files of a package."""
    for path in sorted(folder.rglob(pattern)):
        text = path.read_text(errors="replace")
        if len(text) > 1000:
            yield path.stem, text


def glosses(folder: Path) -> Iterator[tuple[str, str]]:
    """WordNet's definitions, its files `data.noun` and so on: a line of words, and what they mean; some hundreds a document."""
    for path in sorted((folder / "usr/share/wordnet").glob("data.*")):
        lines = [line for line in path.read_text().splitlines() if not line.startswith("  ") and " | " in line]
        said = [f"{', '.join(_lemmas(line))}: {line.partition(' | ')[2].strip()}" for line in lines]
        for first in range(0, len(said), _GLOSSES):
            yield f"{path.name} {first}", "\n".join(said[first : first + _GLOSSES])


def _lemmas(line: str) -> list[str]:
    """The words of a line of WordNet: after offset, file and sort, their number in hexadecimal, then each with a number."""
    fields = line.split(" ")
    return [fields[4 + 2 * i].replace("_", " ") for i in range(int(fields[3], 16))]


def write_pages(source: Path, folder: Path, endings: tuple[str, ...] = (".html",)) -> None:
    """The pages of a package, with their pictures if these endings name them, into train and test; pictures stand beside both."""
    for path in sorted(source.rglob("*")):
        if not path.is_file() or path.suffix.lower() not in endings:
            continue
        inside = path.relative_to(source)
        sides = ["test" if held_out(str(inside)) else "train"] if path.suffix == ".html" else ["train", "test"]
        for side in sides:
            (folder / side / inside).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, folder / side / inside)


def write_code(folder: Path) -> None:
    """Python's own standard library, its tests left out, into train and test."""
    library = Path(sysconfig.get_paths()["stdlib"])
    for path in sorted(library.rglob("*.py")):
        inside = path.relative_to(library)
        if {"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__"} & set(inside.parts):
            continue
        side = folder / ("test" if held_out(str(inside)) else "train") / inside
        side.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, side)
