"""An agent that thinks in a thread of its own, so that however long it takes, no control tick waits for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass
class Answer:
    """An action.

    Attributes:
        seconds: that the agent took for it. shown: the time (`time.perf_counter`) when its observation was given.
    """

    action: Any
    seconds: float
    shown: float


class Thinker:
    """One thread that answers observations; of those that come while it is busy, the newest replaces the others.

    Args:
        act: observation to action.
    """

    def __init__(self, act: Callable[[Any], Any]):
        self._act = act
        self._changed = threading.Condition()
        self._observation: Any = None
        self._shown = 0.0
        self._waiting = self._closed = False
        self._answer: Answer | None = None
        self._error: BaseException | None = None
        # A daemon: one that hangs must not keep the process from its end.
        self._thread = threading.Thread(target=self._work, name="opengato-thinker", daemon=True)
        self._thread.start()

    def show(self, observation: Any) -> None:
        """Give it the newest observation, and return at once."""
        with self._changed:
            self._observation, self._shown, self._waiting = observation, time.perf_counter(), True
            self._changed.notify_all()

    def answer(self, timeout: float = 0.0) -> Answer | None:
        """The newest answer that was not yet taken, within `timeout` seconds, or None. Raises what the agent raised."""
        with self._changed:
            self._changed.wait_for(lambda: self._answer is not None or self._error is not None, timeout)
            if self._error is not None:
                raise self._error
            answer, self._answer = self._answer, None
            return answer

    def close(self, timeout: float = 5.0) -> None:
        """End the thread, after the action it is at; one that takes longer than `timeout` seconds is left behind."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(timeout)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if self._closed:
                    return
                observation, shown, self._waiting = self._observation, self._shown, False
            began = time.perf_counter()
            answer, failure = None, None
            try:
                action = self._act(observation)
                answer = Answer(action, time.perf_counter() - began, shown)
            except BaseException as error:  # raised where the robot can be stopped
                failure = error
            with self._changed:
                if answer is not None:
                    self._answer = answer
                self._error = failure
                self._changed.notify_all()
            if failure is not None:
                return
