"""Long work in stages: what each took, and what the work was begun with, is kept beside what it made, over interruptions."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from opengato.atomic import write_text
from opengato.console import notice
from opengato.errors import OpenGatoError


class Clock:
    """Adds up the seconds of every stage over interrupted runs: `with clock("train"): …`."""

    def __init__(self, path: Path):
        self.path = path
        self.spent: dict[str, float] = json.loads(path.read_text()) if path.is_file() else {}

    def __call__(self, stage: str) -> Clock:
        self.stage, self.started = stage, time.monotonic()
        return self

    def __enter__(self) -> None:
        notice(f"── {self.stage}")

    def __exit__(self, *exception: Any) -> None:
        self.spent[self.stage] = round(self.spent.get(self.stage, 0.0) + time.monotonic() - self.started, 1)
        write_text(self.path, json.dumps(self.spent))


def begun_with(path: Path, settings: Mapping[str, Any]) -> None:
    """Keep what a folder's work is begun with in its file `path`, as JSON.

    Raises OpenGatoError where it was begun with something else, naming the first difference.
    """
    if not path.is_file():
        write_text(path, json.dumps(dict(settings), indent=1))
        return
    for name, begun in json.loads(path.read_text()).items():
        if begun != settings[name]:
            raise OpenGatoError(f"{path.parent} was begun with {name} {begun!r}, not {settings[name]!r}: choose another --out")
