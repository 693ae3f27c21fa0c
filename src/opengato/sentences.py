"""Values and names as an error's sentence says them: on one line, and short, whoever they come from."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from typing import Any

LISTED = 20  # names in one sentence at most


def short(value: Any, length: int = 60) -> str:
    """A value for an error's sentence, on one line, in at most about `length` characters."""
    if hasattr(value, "dtype") and getattr(value, "ndim", None):
        return f"{value.dtype} of shape {tuple(value.shape)}"
    if isinstance(value, dict | list | tuple):
        return f"a {type(value).__name__} of {len(value)}"
    text = value if isinstance(value, str) else repr(value[:length] if isinstance(value, bytes) else value)
    cut = text if len(text) <= length else text[: length - 1] + "…"
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in cut)


def listed(names: Iterable[Any]) -> str:
    """Names for an error's sentence, the first ones of many."""
    return short(", ".join(short(str(name)) for name in heapq.nsmallest(LISTED, map(str, names))), 400) or "nothing"
