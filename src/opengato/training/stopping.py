"""Being told to stop: schedulers of clusters, and `timeout`, send SIGTERM some seconds before they kill."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Stopped(SystemExit):
    """Ends the program as SIGTERM does, once what was trained is safe."""

    def __init__(self) -> None:
        super().__init__(128 + signal.SIGTERM)


@contextmanager
def told_to_stop() -> Iterator[threading.Event]:
    """An event that SIGTERM sets inside, in place of ending the program; in a thread that is not the main one nothing sets it."""
    told = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield told
        return
    before = signal.signal(signal.SIGTERM, lambda *_: told.set())
    try:
        yield told
    finally:
        signal.signal(signal.SIGTERM, before)
