"""Errors that a user can act on: one sentence with the field, the value and the remedy."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class OpenGatoError(Exception):
    """Stops the program with one clear sentence; the command line prints it without a traceback."""


def unknown(kind: str, name: str, known: Iterable[str]) -> OpenGatoError:
    """An error for a name that does not exist, with its nearest match."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.3)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
    return OpenGatoError(f"unknown {kind} {name!r}: {hint}")
