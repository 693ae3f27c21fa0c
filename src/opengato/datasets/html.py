"""Pages of HTML as texts: what is shown of them, a document a page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from opengato.datasets import files, text
from opengato.datasets.dataset import Stream
from opengato.datasets.markup import page_text
from opengato.datasets.reading import Reading
from opengato.datasets.records import Record, record_dataset
from opengato.episode import Episode

PATHS = "FILE_OR_FOLDER[,…]"
ENDINGS = (".html", ".htm", ".xhtml")


def open_html(paths: Sequence[str], reading: Reading) -> Stream:
    """Of html:FOLDER, .html files deep down, or single files, or a pattern with *."""
    found = files.expand(paths, ENDINGS, f"html:{PATHS}")
    task, name = f"text/{files.title(paths[0])}", f"html:{','.join(map(files.absolute, paths))}"
    return record_dataset(name, task, text.OBSERVATION_SPACE, found, whole_files, partial(_parse, task))


def whole_files(path: str) -> Iterator[Record]:
    """A file as one record, its bytes."""
    with files.reading(path, "a file"), files.open_file(path) as stream:
        content = stream.read()
    yield path, content


def _parse(task: str, content: bytes, where: str) -> list[Episode]:
    found = page_text(content.decode())
    if not found:
        raise ValueError("the page has no words")
    return [text.to_episode(found, task)]
