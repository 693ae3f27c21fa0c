"""Files by path or URL: whatever fsspec opens, a plain path, s3://, hf://, https://, memory://."""

from __future__ import annotations

import hashlib
import lzma
import posixpath
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from opengato.errors import OpenGatoError

_DAMAGE = (OSError, ValueError, EOFError, KeyError, TypeError, RuntimeError, ImportError, zlib.error, lzma.LZMAError, tarfile.TarError)
_CHANGES = ("mtime", "ETag", "etag", "LastModified", "last_modified", "created")  # what file systems say of a file's age or content


@contextmanager
def reading(path: str, what: str) -> Iterator[None]:
    """Whatever a library raises of a file becomes one sentence with its name; `what`: that it should be."""
    try:
        yield
    except OpenGatoError:
        raise
    except _DAMAGE as error:
        text = str(error).strip().partition("\n")[0]
        raise OpenGatoError(f"{path} cannot be read as {what}: {type(error).__name__}: {text}") from None


def system(path: str) -> tuple[Any, str]:
    """The fsspec file system of a path, and the path inside it. Raises OpenGatoError where its package is missing."""
    import fsspec

    try:
        found: tuple[Any, str] = fsspec.core.url_to_fs(path)
    except (ImportError, ValueError) as error:  # a protocol that nobody knows, or whose package is not there
        raise OpenGatoError(f"{path} cannot be opened: {error}") from None
    return found


def open_file(path: str, compression: str | None = None) -> IO[bytes]:
    """A file to read, its bytes decompressed where `compression` is "infer" and its name ends so."""
    import fsspec

    system(path)
    stream: IO[bytes] = fsspec.open(path, "rb", compression=compression).open()
    return stream


def join(folder: str, name: str) -> str:
    """A file of a folder."""
    return posixpath.join(folder, name) if "://" in folder else str(Path(folder) / name)


def expand(paths: Sequence[str], endings: tuple[str, ...], spelling: str) -> list[str]:
    """The files that paths name, in order: a file, a pattern with *, or a folder, of which those with one of the endings, deep down.

    Raises OpenGatoError where a path names none; it says the `spelling` of the format.
    """
    found: list[str] = []
    for path in paths:
        files, inside = system(path)
        if "*" in inside:
            names = [name for name, info in files.glob(inside, detail=True).items() if info["type"] == "file"]
        elif files.isdir(inside):
            names = [name for name in files.find(inside) if name.lower().endswith(endings)]
        else:
            names = [inside] if files.exists(inside) else []
        if not names:
            raise OpenGatoError(f"there is no file {path}: give {spelling}")
        found += [name if "://" not in path else files.unstrip_protocol(name) for name in sorted(names)]
    return found


def check_folder(path: str) -> None:
    """Raise OpenGatoError where there is no such folder."""
    at, inside = system(path)
    if not at.isdir(inside):
        raise OpenGatoError(f"there is no folder {path}: give the one that the pictures are in")


def names_in(folder: str) -> frozenset[str]:
    """The names of a folder's files."""
    at, inside = system(folder)
    return frozenset(posixpath.basename(name) for name in at.ls(inside, detail=False))


def facts(paths: Sequence[str]) -> str:
    """What changes with the content of files, read off their sizes and ages."""
    said = []
    for path in paths:
        files, inside = system(path)
        info = files.info(inside)
        said.append(f"{info.get('size')} {next((str(info[key]) for key in _CHANGES if info.get(key)), '')}")
    return hashlib.sha256("\n".join(said).encode()).hexdigest()[:16]


def absolute(path: str) -> str:
    """The same file's name from anywhere."""
    return path if "://" in path else str(Path(path).resolve())


def title(path: str) -> str:
    """What a dataset is called after its file, pattern or folder: "captions_train2014" of "annotations/captions_train2014.json"."""
    parts = [part for part in path.rstrip("/").split("/") if part and "*" not in part]
    return (parts[-1].split(".")[0] or "files") if parts else "files"
