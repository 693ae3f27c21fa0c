"""A worker: one process that runs jobs, one thread, silent, gone when its parent is, and killed without harm to any other.

What a worker says is a message: those that the work itself yields (`Begun`, `Done`, `Failed`, and None as a sign of life), and those
that frame them. Work and messages travel as multiprocessing, or Ray, has objects travel between a program and the processes it started
itself; nothing that came from a file or a stranger is unpickled.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

from opengato.errors import OpenGatoError

Work = Callable[..., Iterator[Any]]


@dataclass(frozen=True)
class Begun:
    """The seed's episode begins now."""

    seed: int


@dataclass(frozen=True)
class Done:
    """The seed's episode is over, and this is its result: anything that can be pickled."""

    seed: int
    value: Any


@dataclass(frozen=True)
class Failed:
    """The seed's episode failed, while the others of its job go on."""

    seed: int
    reason: str


@dataclass(frozen=True)
class Ready:
    """The worker has started, or its job is over: it waits for the next."""


@dataclass(frozen=True)
class Raised:
    """The start or the job ended with an exception."""

    reason: str


@dataclass(frozen=True)
class Lost:
    """The process is no more."""

    reason: str


def describe(error: Exception) -> str:
    """An exception as the reason of a failure."""
    return str(error) if isinstance(error, OpenGatoError) else repr(error)


def begin(start: Callable[[], Any]) -> Any:
    """In the worker, once: call `start`; the message that says how it went."""
    try:
        start()
    except Exception as error:
        return Raised(describe(error))
    return Ready()


def perform(work: Work, arguments: tuple[Any, ...], seeds: tuple[int, ...]) -> Iterator[Any]:
    """In the worker: the messages of one job."""
    try:
        yield from work(*arguments, seeds)
    except Exception as error:
        yield Raised(describe(error))
    yield Ready()


# ---- processes of this machine --------------------------------------------------------------------------------------------------

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_FOLDERS = ("TMPDIR", "TMP", "TEMP")
_PR_SET_PDEATHSIG = 1


@contextmanager
def _surroundings(folder: str) -> Iterator[None]:
    """Processes that start in here use one thread each, since simulators gain nothing from more and would fight over the cores.

    And they have a folder for what is temporary, whose files their end, if it is by force, does not leave to the user.
    """
    own = {**dict.fromkeys(_THREADS, "1"), **dict.fromkeys(_FOLDERS, folder)}
    before = {name: os.environ.get(name) for name in own}
    os.environ.update(own)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _settle() -> None:
    """Make this process a worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when to stop
    # Simulators chatter, in Python and in C, which tears the progress bar apart, or a result that is printed as JSON.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.stdout = open(os.devnull, "w")
    warnings.showwarning = lambda *_, **__: None  # not by a filter: Gymnasium has its own before it
    if hasattr(os, "setpgid"):
        os.setpgid(0, 0)  # what a simulator starts is killed with it
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        wait([parent.sentinel])
        _kill_group(0)  # the parent was killed: nobody is left to work for
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
    die_with_parent()  # a simulator that hangs in C code may hold the interpreter, and then no thread of Python's runs


def die_with_parent(_: int = 0) -> None:
    """Where the system can, let this process be killed as soon as the thread that started it is gone, however it went."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _kill_group(process: int) -> None:
    if hasattr(os, "killpg"):
        try:
            os.killpg(process, signal.SIGKILL)
        except OSError:  # it has no group of its own yet, or no more
            pass


def _serve(connection: Connection) -> None:
    _settle()
    try:
        said = begin(connection.recv())
    except Exception as error:  # of a module that cannot be imported here
        said = Raised(describe(error))
    connection.send(said)
    while isinstance(said, Ready):
        try:
            job = connection.recv()
        except EOFError:  # there is no more
            return
        except Exception as error:
            connection.send(Raised(describe(error)))
            connection.send(said)
            continue
        for said in perform(*job):
            connection.send(said)


class LocalWorker:
    """A process of this machine.

    Args:
        start: called first.
    """

    def __init__(self, start: Callable[[], Any]):
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs,))
        self._folder = tempfile.TemporaryDirectory(prefix="opengato-worker-", ignore_cleanup_errors=True)
        with _surroundings(self._folder.name):
            self.process.start()
        theirs.close()
        self._send(start)

    def give(self, work: Work, arguments: tuple[Any, ...], seeds: tuple[int, ...]) -> None:
        """Send the next job."""
        self._send((work, arguments, seeds))

    def _send(self, value: Any) -> None:
        try:
            self.connection.send(value)
        except OSError:  # it has died since: `receive` will say so
            pass

    def receive(self) -> Any:
        """The next message; `Lost` once the process is no more and all it said before was received."""
        try:
            if not self.connection.poll():
                raise EOFError  # dead, though something holds the pipe open
            return self.connection.recv()
        except (EOFError, OSError):
            self.process.join(5)
            code = self.process.exitcode
            self.kill()
        if code is None or code >= 0:
            return Lost(f"its process ended with exit code {code}")
        return Lost(f"its process was killed by {signal.Signals(-code).name}" + (" (out of memory?)" if code == -9 else ""))

    def kill(self) -> None:
        """End the process now, whatever it is at, and what it has started."""
        _kill_group(self.process.pid or 0)
        self.process.kill()
        self.process.join()
        self.connection.close()
        self._folder.cleanup()

    def close(self) -> None:
        """End the idle process."""
        self.connection.close()
        self.process.join(5)
        self.kill()


class ThisMachine:
    """Where local workers run."""

    start_s = 600.0  # what a process may take to start
    workers = os.cpu_count() or 1  # by default

    def __init__(self, start: Callable[[], Any]):
        self._start = start

    def make(self) -> LocalWorker:
        return LocalWorker(self._start)

    def wait(self, workers: Sequence[LocalWorker], seconds: float) -> list[LocalWorker]:
        """Those with something to `receive`, as soon as there are any, or none after some seconds."""
        by_connection = {worker.connection: worker for worker in workers}
        ready = [by_connection[c] for c in wait(list(by_connection), seconds)]  # type: ignore[index]
        # A child that the simulator forked may hold the pipe open when the worker itself is dead.
        return ready or [worker for worker in workers if not worker.process.is_alive()]

    def close(self) -> None:
        """There is nothing to give back."""
