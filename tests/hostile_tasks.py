"""Simulators that do what simulators do: raise, end their process, crash it, hang in C code; each at one seed only."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from collect_tasks import CARTPOLE_SPACE, PoleBalancer, make_cartpole
from gymnasium import spaces

from opengato.domains.task import Reference, Task
from opengato.jobs import Begun, Done

STEP = 3  # the step at which it happens
WAYS = ("raise", "exit", "kill", "segfault", "hang", "flaky raise", "flaky exit")


def misbehave(how: str, memory: Path) -> None:
    """`memory`: a file by which a flaky simulator remembers that it has failed already."""
    if how.startswith("flaky"):
        if memory.exists():
            return
        memory.touch()
    match how.split()[-1]:
        case "raise":
            raise RuntimeError("the physics exploded")
        case "exit":
            os._exit(3)
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "segfault":
            ctypes.string_at(0)
        case "hang":  # no signal is delivered, and the interpreter is not let go
            signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
            ctypes.PyDLL(None).sleep(10_000)


class Hostile(gym.Wrapper):
    def __init__(self, env: gym.Env, how: str, seeds: tuple[int, ...], folder: Path):
        super().__init__(env)
        self._how, self._seeds, self._folder = how, seeds, folder

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> Any:
        self._seed, self._steps = seed, 0
        return super().reset(seed=seed, options=options)

    def step(self, action: Any) -> Any:
        self._steps += 1
        if self._steps == STEP and (self._seed in self._seeds or not self._seeds):
            misbehave(self._how, self._folder / f"{self._how}-{self._seed}")
        return super().step(action)


def make_hostile(how: str, seeds: tuple[int, ...], folder: Path) -> gym.Env:
    return Hostile(make_cartpole(), how, seeds, folder)


class ScoredTask(Task):
    """A task of which nobody has measured the scores."""

    @property
    def reference(self) -> Reference:
        return Reference(0.0, 60.0, 1, 1, "none")


def hostile(how: str, seeds: tuple[int, ...], folder: Path) -> Task:
    """CartPole that misbehaves in the third step of some seeds, or of all where none are given."""
    return ScoredTask(
        id=f"test/{how.replace(' ', '-')}{'' if seeds else '-always'}",
        observation_space=CARTPOLE_SPACE,
        action_space=spaces.Discrete(2),
        make_env=partial(make_hostile, how, seeds, folder),
        make_expert=PoleBalancer,
        requires="gymnasium",
        extra="demo",
        expert_name="linear controller",
    )


# ---- work of other kinds --------------------------------------------------------------------------------------------------------


def square(seeds: tuple[int, ...]) -> Iterator[Any]:
    for seed in seeds:
        yield Begun(seed)
        yield Done(seed, seed**2)


def chatter(seeds: tuple[int, ...]) -> Iterator[Any]:
    """Says something in Python, in C and in a program of its own."""
    print("python speaks")
    gym.logger.warn("Gymnasium speaks")
    os.write(1, b"c speaks\n")
    subprocess.run(["echo", "a program speaks"], check=True)
    yield from square(seeds)


def leave_files(folder: Path, seeds: tuple[int, ...]) -> Iterator[Any]:
    """Write what is temporary, say where, and hang on the second seed."""
    for seed in seeds:
        yield Begun(seed)
        path = Path(tempfile.mkdtemp()) / "maze.xml"
        path.write_text("temporary")
        (folder / str(seed)).write_text(str(path))
        while seed == 2:
            time.sleep(1)
        yield Done(seed, None)


def leave_a_child(folder: Path, seeds: tuple[int, ...]) -> Iterator[Any]:
    """Starts a program that would run for long, notes its id, and hangs."""
    yield Begun(seeds[0])
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    (folder / "child.partial").write_text(str(child.pid))
    (folder / "child.partial").rename(folder / "child")
    misbehave("hang", folder)


def fall_over_the_job(seeds: tuple[int, ...]) -> Iterator[Any]:
    """Dies before any seed begins, as where the job itself cannot be read."""
    if 2 in seeds:
        os._exit(5)
    yield from square(seeds)


def refuse() -> None:
    raise ValueError("no weights here")


def die() -> None:
    os._exit(7)


class Unreadable(gym.Wrapper):
    """Gives NaN instead of an observation after the third step of one seed."""

    def __init__(self, env: gym.Env, bad: int):
        super().__init__(env)
        self._bad = bad

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> Any:
        self._seed, self._steps = seed, 0
        return super().reset(seed=seed, options=options)

    def step(self, action: Any) -> Any:
        self._steps += 1
        observation, *rest = super().step(action)
        return (observation * np.nan if self._seed == self._bad and self._steps == STEP else observation, *rest)


def make_unreadable(bad: int) -> gym.Env:
    return Unreadable(make_cartpole(), bad)
