"""A cart whose every call is on record, and time that only passes where a test says so."""

import numpy as np
from gymnasium import spaces

from opengato.robots.control import Clock
from opengato.robots.thinker import Answer

PERIOD = 0.0625  # exact in binary, so that a test's times are


class FakeClock(Clock):
    """Sleeping takes exactly as long as it should, and `oversleep` seconds more; nothing else takes time by itself."""

    def __init__(self, oversleep=lambda: 0.0):
        self.time, self._oversleep = 100.0, oversleep

    def now(self):
        return self.time

    def sleep(self, seconds):
        assert seconds > 0
        self.time += seconds + self._oversleep()


def thinking(clock, latency):
    """A thinker without a thread: its n-th answer takes `latency(n)` seconds of the clock."""

    class FakeThinker:
        def __init__(self, act):
            self._act, self._ready, self._waiting, self._busy, self._count = act, None, None, None, 0

        def _begin(self, at, shown, observation):
            self._busy = (at + latency(self._count), shown, observation)
            self._count += 1

        def show(self, observation):
            self._go_on()
            if self._busy is None:
                self._begin(clock.time, clock.time, observation)
            else:
                self._waiting = (clock.time, observation)

        def _go_on(self):
            while self._busy is not None and self._busy[0] <= clock.time:
                at, shown, observation = self._busy
                self._busy, self._ready = None, Answer(self._act(observation), 0.0, shown)
                if self._waiting is not None:
                    self._begin(at, *self._waiting)
                    self._waiting = None

        def answer(self, timeout=0.0):
            if timeout and self._busy is not None:
                clock.time = max(clock.time, self._busy[0])
            self._go_on()
            answer, self._ready = self._ready, None
            return answer

        def close(self, timeout=5.0):
            pass

    return FakeThinker


class Cart:
    """Two positions, moved by what it is told. Faults: {(verb, n): an exception to raise at its n-th call, or what to return}.

    Args:
        limit: it moves by no more than this at once, and says so. work: seconds of the clock that its n-th act takes.
    """

    observation_space = spaces.Box(-10, 10, (2,), np.float32)
    action_space = spaces.Box(-5, 5, (2,), np.float32)
    rate = 1 / PERIOD

    def __init__(self, clock=None, faults=None, limit=None, work=lambda n: 0.0):
        self.clock, self._faults, self._limit, self._work = clock, faults or {}, limit, work
        self.calls = {"observe": 0, "act": 0, "stop": 0}
        self.position, self.told, self.done_, self.times = np.zeros(2, np.float32), [], [], []

    def _fault(self, verb):
        self.calls[verb] += 1
        fault = self._faults.get((verb, self.calls[verb] - 1))
        if isinstance(fault, BaseException):
            raise fault
        return fault() if callable(fault) else fault

    def observe(self):
        fault = self._fault("observe")
        # The same buffer every time, as a camera has it: whoever keeps it must copy it.
        return self.position if fault is None else fault

    def act(self, action):
        if self.clock:
            self.times.append(self.clock.now())
        fault = self._fault("act")
        done = action if self._limit is None else np.clip(action, -self._limit, self._limit)
        self.position[:] = np.clip(self.position + done, -10, 10)
        self.told.append(np.array(action))
        self.done_.append(np.array(done))
        if self.clock:
            self.clock.time += self._work(len(self.told) - 1)
        if fault is not None:
            return fault
        return None if self._limit is None else done

    def stop(self):
        self._fault("stop")


class Numbered:
    """Its n-th action is `number(n)`; `faults`: {n: an exception to raise, or what to return}."""

    def __init__(self, faults=None):
        self.faults, self.seen, self.resets = faults or {}, [], []

    def reset(self, task):
        self.resets.append(task)

    def act(self, observation):
        self.seen.append(np.array(observation))
        fault = self.faults.get(len(self.seen) - 1)
        if isinstance(fault, BaseException):
            raise fault
        return number(len(self.seen) - 1) if fault is None else fault


def number(n):
    """(1, -2) times (1 + n) / 8, over and over from 16 on."""
    return np.array([1, -2], np.float32) * np.float32((n % 16 + 1) / 8)
