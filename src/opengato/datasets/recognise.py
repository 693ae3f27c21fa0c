"""Which format a file or folder is of, where it tells."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from opengato.datasets import d4rl, jat, lerobot, packed, rlds, robomimic
from opengato.errors import OpenGatoError


def _is_minari(path: Path) -> bool:
    return (path / "data" / "metadata.json").is_file()


RECOGNISED: dict[str, Callable[[Path], bool]] = {
    "minari": _is_minari,
    "lerobot": lerobot.recognises,
    "rlds": rlds.recognises,
    "robomimic": robomimic.recognises,
    "d4rl": d4rl.recognises,
    "jat": jat.recognises,
    "tokens": packed.recognises,
}


def format_of(path: Path) -> str:
    """The name of the format. Raises OpenGatoError where it is none that can be recognised."""
    for name, recognises in RECOGNISED.items():
        if recognises(path):
            return name
    what = "a folder" if path.is_dir() else "a file"
    raise OpenGatoError(
        f"{path} is {what}, but no dataset of a format that can be recognised ({', '.join(RECOGNISED)}): check it, or give FORMAT:PATH"
    )
