"""Where the user's cache is: all in it is made again where it is missing."""

from __future__ import annotations

import os
from pathlib import Path


def cache_root() -> Path:
    """$OPENGATO_CACHE, or opengato/ in the user's cache folder."""
    base = os.environ.get("OPENGATO_CACHE")
    return Path(base) if base else Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "opengato"
