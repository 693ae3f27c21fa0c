"""Pages as they are: files of HTML with the figures that they show."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from functools import partial
from urllib.parse import unquote, urlsplit

from opengato.datasets import files, interleaved
from opengato.datasets.dataset import Stream
from opengato.datasets.html import ENDINGS, whole_files
from opengato.datasets.interleaved import Seen
from opengato.datasets.markup import Figure, read_page
from opengato.datasets.photographs import ENDINGS as IMAGE_ENDINGS
from opengato.datasets.reading import Reading
from opengato.datasets.records import record_dataset
from opengato.episode import Episode

PATHS = "FILE_OR_FOLDER[,…]"
ICON = 48  # pixels: what is smaller both ways is no figure


def open_pages(paths: Sequence[str], reading: Reading) -> Stream:
    """Of pages:FOLDER, .html files deep down, or single files; a figure is found from its page, as a browser does.

    Figures that are elsewhere on the web, or drawings (SVG), or icons, are left out; a page that has lost all of its own cannot be read.
    """
    found = files.expand(paths, ENDINGS, f"pages:{PATHS}")
    task, size = f"pages/{files.title(paths[0])}", reading.pictures.size
    name = f"pages:{','.join(map(files.absolute, paths))} {reading.pictures}"
    return record_dataset(name, task, interleaved.observation_space(reading.pictures), found, whole_files, partial(_parse, size, task))


def _parse(size: tuple[int, int], task: str, content: bytes, where: str) -> list[Episode]:
    parts: list[str | Seen] = []
    own = missing = 0
    for part in read_page(content.decode()):
        if isinstance(part, str):
            parts.append(part)
        elif (path := _own_path(part, where)) is not None:
            own += 1
            at, inside = files.system(path)
            if not at.exists(inside):
                missing += 1
            elif not _is_icon(path):
                parts.append(Seen(path))
    if own and missing == own:
        raise ValueError(f"none of its {own} pictures is where it says")
    return [interleaved.to_episode(parts, task, size, where)]


def _own_path(figure: Figure, page: str) -> str | None:
    """Where a figure of the page's own lies; None of one elsewhere, or that is no photograph."""
    address = urlsplit(figure.address)
    if address.scheme or address.netloc or not address.path.lower().endswith(IMAGE_ENDINGS):
        return None
    folder = page.rpartition("/")[0] or "."
    scheme, slashes, inside = folder.rpartition("://")
    return scheme + slashes + posixpath.normpath(posixpath.join(inside, unquote(address.path)))


def _is_icon(path: str) -> bool:
    from PIL import Image

    try:
        with files.open_file(path) as stream, Image.open(stream) as image:
            return max(image.size) < ICON
    except OSError:
        return False  # it is damaged, which is told when it is looked at
