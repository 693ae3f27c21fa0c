"""What is said beside results: notices and progress bars, which -q silences, and details, which -v adds.

How much is said is in the environment, so that worker processes say as much as the one that began them.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from rich.progress import Progress

VARIABLE = "OPENGATO_VERBOSITY"
Verbosity = Literal["quiet", "normal", "debug"]


def set_verbosity(verbosity: Verbosity) -> None:
    """Of this process and those that it begins."""
    os.environ[VARIABLE] = verbosity


def is_quiet() -> bool:
    return os.environ.get(VARIABLE) == "quiet"


def is_debugging() -> bool:
    return os.environ.get(VARIABLE) == "debug"


def notice(text: str) -> None:
    """Something that a user should know and need not act on."""
    if not is_quiet():
        print(text, file=sys.stderr, flush=True)


def detail(text: str) -> None:
    """Something that helps to find out what went on."""
    if is_debugging():
        print(f"debug: {text}", file=sys.stderr, flush=True)


def progress(*columns: Any, show: bool = True, **settings: Any) -> Progress:
    """A rich progress display, nothing of which is seen where `show` is False or the program is to be quiet."""
    from rich.progress import Progress

    return Progress(*columns, disable=not show or is_quiet(), **settings)
