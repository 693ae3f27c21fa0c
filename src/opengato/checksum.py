"""Checksums of files: what was written is what is read."""

from __future__ import annotations

import zlib
from pathlib import Path


def checksum(path: Path) -> int:
    """CRC-32 of a file."""
    value = 0
    with open(path, "rb") as file:
        while chunk := file.read(1 << 22):
            value = zlib.crc32(chunk, value)
    return value
