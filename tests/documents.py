"""The code in the documents: its blocks, and which of them run.

A block runs where the line before its fence says so, in a comment that no reader sees:

    <!-- run -->                  a second or so: with the quick tests
    <!-- run: slow -->            with the slow ones
    <!-- run: file NAME -->       is written to the file NAME, before blocks that run
    <!-- run: slow, until PORT --> goes on in the background, once somebody listens at the port, until the document's last block has run

Blocks of one document run in their order in one folder, as a reader would; a shell block stops at its first error.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]

_FENCE = re.compile(r"(?:^<!-- run(?P<how>: [^\n>]+)? -->\n)?^```(?P<language>\w*)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """Attributes: runs: whether it is to be run, or written to `file`. port: until somebody listens there."""

    document: str
    language: str
    code: str
    runs: bool
    slow: bool
    file: str | None
    port: int | None


def blocks(document: Path) -> list[Block]:
    found = []
    for match in _FENCE.finditer(document.read_text()):
        marked, how = match[0].startswith("<!-- run"), (match["how"] or "").removeprefix(": ")
        file = re.search(r"file (\S+)", how)
        port = re.search(r"until (\d+)", how)
        name = str(document.relative_to(ROOT))
        found.append(Block(name, match["language"], match["code"], marked, "slow" in how, file and file[1], int(port[1]) if port else None))
    return found
