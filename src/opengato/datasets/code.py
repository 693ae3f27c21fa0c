"""Source code as texts: a document a file of a folder, or a row of The Stack's Parquet or JSON lines with a field `content`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from opengato.datasets import files, text
from opengato.datasets.dataset import Stream
from opengato.datasets.html import whole_files
from opengato.datasets.reading import Reading
from opengato.datasets.records import Record, json_object, one_of, parquet_rows, record_dataset, text_lines
from opengato.episode import Episode

PATHS = "FILE_OR_FOLDER[,…]"
LANGUAGES = tuple(
    """
    .py .pyi .c .h .cc .cpp .cxx .hpp .cu .java .kt .scala .js .jsx .ts .tsx .go .rs .rb .php .pl .lua .jl .r .m .swift .cs .hs .ml
    .ex .erl .clj .sh .sql .f90 .zig
    """.split()
)
TABLES = (".parquet", ".jsonl", ".jsonl.gz", ".json.gz")


def open_code(paths: Sequence[str], reading: Reading) -> Stream:
    """Of code:FOLDER, files of a programming language deep down, or single files; or tables, see the module."""
    found = files.expand(paths, (*LANGUAGES, *TABLES), f"code:{PATHS}")
    task, name = f"text/{files.title(paths[0])}", f"code:{','.join(map(files.absolute, paths))}"
    return record_dataset(name, task, text.OBSERVATION_SPACE, found, _read, partial(_parse, task))


def _read(path: str) -> Iterator[Record]:
    if path.endswith(".parquet"):
        return parquet_rows(path, lambda names: [one_of(path, names, ["content", "code"])])
    return text_lines(path) if path.endswith(TABLES) else whole_files(path)


def _parse(task: str, record: bytes | dict[str, str], where: str) -> list[Episode]:
    if isinstance(record, dict):
        (content,) = record.values()
    elif where.partition(", line ")[0].endswith(TABLES):
        content = json_object(record)["content"]
    else:
        content = record.decode()
    return text.documents_of(content, task)
