"""Messages as msgpack with NumPy arrays, as openpi writes them. Shared by server and client; nothing is ever unpickled.

An array is the map {b"__ndarray__": True, b"data": bytes, b"dtype": dtype.str, b"shape": shape}, a NumPy scalar the map
{b"__npgeneric__": True, b"data": item, b"dtype": dtype.str}.
"""

from __future__ import annotations

import math
import re
from typing import Any

import msgpack
import numpy as np

from opengato.errors import OpenGatoError
from opengato.sentences import short

# What a message may hold, beside its bytes: a parser that believes every header is an easy victim.
DEPTH = 16
ENTRIES = 4096  # of one list or map
NODES = 16_384  # entries of all lists and maps
DIMENSIONS = 8

# Booleans, integers, floats and strings of one size: np.dtype itself would take records, objects and "(1000000000,)f8" too.
_DTYPE = re.compile(r"[<>|=]?[biufSU][0-9]{1,7}")
_SCALARS: dict[str, tuple[type, ...]] = {"b": (bool,), "i": (int,), "u": (int,), "f": (int, float), "S": (bytes,), "U": (str,)}


def pack(message: Any) -> bytes:
    """A message of maps, lists, texts, numbers and NumPy arrays as bytes. Raises OpenGatoError for what has no form."""
    try:
        return msgpack.packb(message, default=_to_map)
    except (TypeError, ValueError, OverflowError) as error:
        raise OpenGatoError(f"the message cannot be sent: {error}") from None


def unpack(data: bytes, entries: int = ENTRIES, nodes: int = NODES) -> Any:
    """The message of these bytes, with at most `entries` in one list or map and `nodes` in all; arrays are read-only views of them.

    Raises OpenGatoError, naming the field where there is one, for bytes that are no message or one beyond the limits above.
    """
    found = 0

    def count(container: Any) -> Any:
        # Called as soon as a list or map is complete, so that a message of millions of them is dropped on its way.
        nonlocal found
        found += len(container)
        if found > nodes:
            raise OpenGatoError(f"the message has more than {nodes} entries: send numbers as arrays, not as lists")
        return container

    try:
        message = msgpack.unpackb(
            data, object_hook=count, list_hook=count, max_array_len=entries, max_map_len=entries, max_ext_len=0, strict_map_key=True
        )
    except msgpack.exceptions.ExtraData:
        raise OpenGatoError("the message goes on after its end: send one msgpack map in a frame") from None
    except (ValueError, TypeError, OverflowError, RecursionError, msgpack.exceptions.UnpackException) as error:
        raise OpenGatoError(f"the message is no msgpack that can be read: {short(str(error) or type(error).__name__, 120)}") from None
    return _revive(message, None, 0)


def _to_map(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "VOc":
        raise OpenGatoError(f"an array of dtype {value.dtype} cannot be sent: send booleans, integers, floats or texts")
    if isinstance(value, np.ndarray):
        return {b"__ndarray__": True, b"data": value.tobytes(), b"dtype": value.dtype.str, b"shape": value.shape}
    if isinstance(value, np.generic):
        return {b"__npgeneric__": True, b"data": value.item(), b"dtype": value.dtype.str}
    raise TypeError(f"{type(value).__name__} {short(value)} is no map, list, text, number or array")


# What a list of nothing else need not be gone through for, entry by entry: of a message of thousands of numbers that took most of its time.
_PLAIN = frozenset({type(None), bool, int, float, str, bytes})

# Where a value lies, as (the path of what holds it, its key): written out only for an error, since a message may have many long keys.
_Path = tuple[Any, Any] | None


def _named(path: _Path) -> str:
    keys: list[str] = []
    while path is not None:
        path, key = path
        keys.append(short(str(key)))
    return short(".".join(reversed(keys)))


def _revive(value: Any, path: _Path, depth: int) -> Any:
    """The same message with its arrays, checked."""
    if depth > DEPTH:
        raise OpenGatoError(f"the message is nested more than {DEPTH} deep at field {_named(path)!r}: flatten it")
    if isinstance(value, dict):
        if b"__ndarray__" in value:
            return _array(value, path)
        if b"__npgeneric__" in value:
            return _scalar(value, path)
        for key in value:
            if not isinstance(key, str):
                raise OpenGatoError(f"key {short(key)} of field {_named(path) or '(root)'} is no text: name fields by texts")
        return {key: _revive(entry, (path, key), depth + 1) for key, entry in value.items()}
    if isinstance(value, list):
        if _PLAIN.issuperset(map(type, value)):
            return value
        return [_revive(entry, (path, i), depth + 1) for i, entry in enumerate(value)]
    if value is None or isinstance(value, bool | int | float | str | bytes):
        return value
    raise OpenGatoError(
        f"field {_named(path) or '(root)'} is a msgpack {type(value).__name__}: send maps, lists, texts, numbers and arrays"
    )


def _dtype(value: dict, path: _Path) -> np.dtype:
    name = value.get(b"dtype")
    try:
        if isinstance(name, str) and _DTYPE.fullmatch(name):
            return np.dtype(name)
    except TypeError:  # a size that NumPy does not have, such as f3
        pass
    raise OpenGatoError(f"field {_named(path) or '(root)'} has dtype {short(name)}: send booleans, integers, floats or texts")


def _array(value: dict, path: _Path) -> np.ndarray:
    name, dtype, data, shape = _named(path) or "(root)", _dtype(value, path), value.get(b"data"), value.get(b"shape")
    sizes = shape if isinstance(shape, list) else [shape]
    if not isinstance(shape, list) or len(shape) > DIMENSIONS or any(type(n) is not int or n < 0 for n in sizes):
        raise OpenGatoError(f"field {name} has no shape of at most {DIMENSIONS} sizes: send a list of them")
    if not isinstance(data, bytes) or math.prod(shape) * dtype.itemsize != len(data):
        found = f"{len(data)} bytes" if isinstance(data, bytes) else "no bytes"
        raise OpenGatoError(
            f"field {name} has {found} where {dtype} of shape {short(str(tuple(shape)))} takes {short(math.prod(shape) * dtype.itemsize)}"
        )
    if max(shape, default=0) > np.iinfo(np.intp).max // max(dtype.itemsize, 1) or not dtype.itemsize:  # an empty array with a vast side
        raise OpenGatoError(f"field {name} has shape {short(str(tuple(shape)))}: no array has such a side")
    try:
        array = np.ndarray(shape, dtype, buffer=data)
    except (ValueError, TypeError) as error:
        raise OpenGatoError(f"field {name} is no array: {short(str(error), 120)}") from None
    if dtype.kind == "U" and array.size:
        points = np.frombuffer(data, np.dtype(np.uint32).newbyteorder(dtype.byteorder))
        if ((points > 0x10FFFF) | ((points >= 0xD800) & (points <= 0xDFFF))).any():  # NumPy would fail on them, or write what is no UTF-8
            raise OpenGatoError(f"field {name} has a code point that is no letter: send valid Unicode")
    return array.view(np.uint8) != 0 if dtype.kind == "b" else array  # a boolean may arrive as any byte


def _scalar(value: dict, path: _Path) -> np.generic:
    dtype, data = _dtype(value, path), value.get(b"data")
    if isinstance(data, _SCALARS[dtype.kind]) and (dtype.kind == "b" or not isinstance(data, bool)):
        try:
            return dtype.type(data)
        except (ValueError, TypeError, OverflowError):
            pass
    raise OpenGatoError(f"field {_named(path) or '(root)'} is {short(data)}, which is no {dtype}")
