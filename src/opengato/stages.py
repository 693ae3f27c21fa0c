"""Stages of long work: what each took is kept, over interruptions, beside what it made."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from opengato.atomic import write_text
from opengato.console import notice


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
