"""Compiles a server's network in the background for the batches that come often, while it goes on acting."""

from __future__ import annotations

import logging
import os
import threading
from collections import Counter
from collections.abc import Iterable
from queue import SimpleQueue
from typing import Any

from opengato.model.batch import GRAIN
from opengato.policy.engine import Engine
from opengato.tokens.layout import Layout

_log = logging.getLogger(__name__)
_OFTEN = 50  # batches of one kind after which it is compiled for
_BEHIND = 15  # nice value of the compiling thread and its compilers


class BackgroundCompiler:
    """Watches an engine's batches; what it compiles, in a thread that stands back, the engine uses from then on.

    Only batches of one layout are compiled for, a power of two of slots at a time: more of them make too many kinds. While it compiles,
    a second memory of as many slots is held.
    """

    def __init__(self, engine: Engine):
        self._engine = engine
        self._seen: Counter[tuple[int, int, int]] = Counter()
        self.busy = False  # whether something is being compiled
        self._work: SimpleQueue[tuple[Layout, Any, int] | None] = SimpleQueue()
        # A daemon: a server that stops does not wait for a compiler.
        threading.Thread(target=self._run, name="compiler", daemon=True).start()

    def saw(self, acted: Iterable[tuple[int, Layout, Any]]) -> None:
        """A batch was acted upon: slot, layout and observation of each of its seats. To be called from the engine's thread."""
        acted = list(acted)
        layouts = {id(layout): layout for _, layout, _ in acted}
        if len(layouts) != 1:
            return
        slot, layout, observation = max(acted, key=lambda one: one[0])
        count = min(1 << slot.bit_length(), len(self._engine.slots))
        if self._engine.expects(layout, count):
            return
        kind = id(layout), count, -(-self._engine.size(layout, observation) // GRAIN)
        self._seen[kind] += 1
        if self._seen[kind] == _OFTEN:
            self._work.put((layout, observation, count))

    def close(self) -> None:
        """Compile nothing more than what is begun."""
        self._work.put(None)

    def _run(self) -> None:
        _stand_back()
        while (work := self._work.get()) is not None:
            layout, observation, count = work
            self.busy = True
            try:
                Engine(self._engine.model, self._engine.tokenizer, len(self._engine.slots)).warm_up(layout, observation, count=count)
                self._engine.expect(layout, count)
            except Exception:  # acting goes on uncompiled
                _log.exception("compiling for %d slots failed", count)
            finally:
                self.busy = False


def _stand_back() -> None:
    """Let this thread, and the compilers it starts, run when others need not: on Linux every thread has a priority of its own."""
    try:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _BEHIND)
    except (AttributeError, OSError):
        pass
