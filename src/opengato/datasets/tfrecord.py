"""TFRecord files and the `tf.train.Example` messages in them, without TensorFlow.

A record is a length (uint64), a checksum of it, that many bytes, and a checksum of these. An Example is a protocol buffer, a map from names
to lists of bytes, of floats or of integers; only what is asked for of it is looked at, so that pictures stay where they are.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Collection
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from opengato.errors import OpenGatoError

_HEADER = struct.Struct("<QI")


@lru_cache(maxsize=4)
def _mapped(path: Path) -> memoryview:
    with open(path, "rb") as file:
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)) if path.stat().st_size else memoryview(b"")


@lru_cache(maxsize=64)
def places(path: Path) -> list[tuple[int, int]]:
    """Where each record's bytes are, [first, stop). Raises OpenGatoError where the file is cut short, or is none of this kind."""
    data, at = _mapped(path), 0
    found: list[tuple[int, int]] = []
    while at < len(data):
        if at + _HEADER.size > len(data):
            raise OpenGatoError(f"{path} is cut short in record {len(found)}: fetch it again")
        length, checksum = _HEADER.unpack_from(data, at)
        if checksum != _masked(_crc32c(bytes(data[at : at + 8]))):
            raise OpenGatoError(f"{path} is no TFRecord file, or is damaged before record {len(found)}: fetch it again")
        first = at + _HEADER.size
        at = first + length + 4
        if at > len(data):
            raise OpenGatoError(f"{path} is cut short in record {len(found)}: fetch it again")
        found.append((first, first + length))
    return found


def record(path: Path, place: tuple[int, int]) -> memoryview:
    """The bytes of a record, not read before they are looked at."""
    return _mapped(path)[slice(*place)]


def parse_example(data: memoryview, wanted: Collection[str]) -> dict[str, Any]:
    """Of an Example what is wanted of it, and there: lists of bytes, float32 (N,) or int64 (N,) arrays.

    Raises OpenGatoError where it is no Example.
    """
    found: dict[str, Any] = {}
    try:
        for number, features in _fields(data):
            if number != 1:
                continue
            for _, entry in _fields(features):
                parts = dict(_fields(entry))
                name = bytes(parts[1]).decode()
                if name in wanted and 2 in parts:
                    found[name] = _values(parts[2])
    except (IndexError, KeyError, ValueError, struct.error) as error:
        raise OpenGatoError(f"a record is no tf.train.Example, or is damaged ({error}): fetch its file again") from None
    return found


def _values(feature: memoryview) -> Any:
    for number, content in _fields(feature):
        if number == 1:
            return [entry for _, entry in _fields(content)]
        packed = [entry for _, entry in _fields(content)]
        if number == 2:  # floats, packed or one by one
            return np.frombuffer(b"".join(packed), "<f4").copy()
        if number == 3:
            return np.concatenate([_varints(np.frombuffer(entry, np.uint8)) for entry in packed] or [np.zeros(0, np.int64)])
    return []


def _fields(data: memoryview) -> list[tuple[int, Any]]:
    """Of a message each field's number and its bytes; a lone varint stays as it is written."""
    at, end = 0, len(data)
    found: list[tuple[int, Any]] = []
    while at < end:
        tag, at = _varint(data, at)
        kind, start = tag & 7, at
        if kind == 2:
            length, start = _varint(data, at)
            at = start + length
        elif kind == 0:
            _, at = _varint(data, at)
        elif kind in (1, 5):
            at += 8 if kind == 1 else 4
        else:
            raise ValueError(f"wire type {kind}")
        if at > end:
            raise ValueError("a field ends behind its message")
        found.append((tag >> 3, data[start:at]))
    return found


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """A number of seven bits a byte, and where the next thing begins."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def _varints(data: np.ndarray) -> np.ndarray:
    """Numbers end to end, int64 (N,)."""
    last = data < 0x80
    if not len(data):
        return np.zeros(0, np.int64)
    if not last[-1]:
        raise ValueError("a number is cut short")
    starts = np.concatenate([[0], np.flatnonzero(last)[:-1] + 1])
    inside = np.arange(len(data)) - np.repeat(starts, np.diff([*starts, len(data)]))
    if inside.max() > 9:
        raise ValueError("a number is longer than 64 bits")
    parts = (data & 0x7F).astype(np.uint64) << (7 * inside).astype(np.uint64)
    return np.add.reduceat(parts, starts).astype(np.int64)


@lru_cache(maxsize=1)
def _table() -> list[int]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


def _crc32c(data: bytes) -> int:
    crc, table = 0xFFFFFFFF, _table()
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def _masked(crc: int) -> int:
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
