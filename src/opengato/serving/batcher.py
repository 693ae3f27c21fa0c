"""One engine for all sessions: what waits is gathered, acted upon in one batch, and answered.

An answer in words takes a pass a token. Such answers are made beside the batches, one pass after each, so that no robot waits for a
sentence to end.

All queues live on the event loop; the engine lives in one thread, which gets a list of work and gives a list of results back. Neither
ever waits for a lock.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol

from opengato.policy.engine import Engine
from opengato.serving.compiling import BackgroundCompiler
from opengato.serving.limits import Limits, Refusal
from opengato.tokens.encode import Encoded
from opengato.tokens.layout import Layout

_log = logging.getLogger(__name__)


@dataclass(eq=False)
class Start:
    """Begin an episode, as `Engine.reset`."""

    layout: Layout
    prompt: Encoded | None = None
    seed: int = 0
    temperature: float | None = None
    top_p: float | None = None


@dataclass(eq=False)
class Act:
    """Answer an observation, a member of the space of the seat's last Start.

    Attributes:
        deadline: seconds from its arrival; None: any time. on_token: hears every token, in the engine's thread.
        steps: actions in a row that are chosen; more than one only of what is not answered in words.
    """

    observation: Any
    deadline: float | None = None
    on_token: Callable[[int], None] | None = None
    steps: int = 1


@dataclass(frozen=True)
class Acted:
    """Actions in a row and the seconds that their batch took."""

    actions: list[Any]
    seconds: float


@dataclass(eq=False)
class _Job:
    work: Start | Act
    arrived: float
    answer: asyncio.Future[Any]

    def refuse(self, refusal: Refusal) -> None:
        if not self.answer.done():
            self.answer.set_exception(refusal)

    def late(self, now: float) -> bool:
        deadline = self.work.deadline if isinstance(self.work, Act) else None
        return deadline is not None and now - self.arrived >= deadline


@dataclass(eq=False)
class Seat:
    """One session's place: its slot of the engine and what it waits for.

    Attributes:
        newest_wins: a new observation replaces one that still waits.
    """

    slot: int
    newest_wins: bool = False
    _waiting: deque[_Job] = field(default_factory=deque)
    _running: int = 0
    _left: bool = False
    _broken: bool = False

    @property
    def queued(self) -> int:
        """Requests that wait or run."""
        return len(self._waiting) + self._running


class Watcher(Protocol):
    """What hears of the batcher's work, the metrics."""

    def batch(self, size: int, seconds: float) -> None:
        """A batch of `size` actions took so long."""

    def queue(self, length: int) -> None:
        """So many requests wait."""


class Batcher:
    """Shares an engine's slots among sessions. To be used from one event loop, where `run` runs as a task.

    Args:
        engine: with one slot a seat. limits: of the queues.
        compiler: is told what the batches were; None where nothing is to be compiled.
        gather: seconds to wait for the sessions of the last batches before the next one begins, since a batch costs about the same
            however many are in it.
    """

    def __init__(
        self,
        engine: Engine,
        limits: Limits,
        watcher: Watcher,
        compiler: BackgroundCompiler | None = None,
        gather: float = 0.002,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._compiler = compiler
        self.engine, self._limits, self._watcher, self._gather_seconds, self._clock = engine, limits, watcher, gather, clock
        self._free = list(range(len(engine.slots)))
        self._ready: dict[Seat, None] = {}  # seats where something waits, in the order of its arrival
        self._regulars: dict[Seat, int] = {}  # seats of the last batches, and the number of their last one
        self._batches = 0
        self._arrival, self._all_here = asyncio.Event(), asyncio.Event()
        self._total = 0
        self._speaking: dict[int, tuple[Seat, _Job]] = {}  # whose answers in words are being made, by slot
        self._words: dict[int, list[int]] = {}  # their tokens so far, touched by the thread only while the loop waits for it
        self._word_seconds: dict[int, float] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="engine")

    def sit(self) -> Seat:
        """A free seat. Raises Refusal."""
        if not self._free:
            raise Refusal("busy", f"all {len(self.engine.slots)} seats are taken: try again later")
        return Seat(heapq.heappop(self._free))  # the lowest: few slots from the first on make the smallest batches

    def leave(self, seat: Seat) -> None:
        """Give a seat back; what waits is dropped, what runs is finished first."""
        seat._left = True
        for job in seat._waiting:
            job.answer.cancel()
        self._total -= len(seat._waiting)
        seat._waiting.clear()
        self._ready.pop(seat, None)
        self._regulars.pop(seat, None)
        self._watcher.queue(self._total)
        if not seat._running:
            heapq.heappush(self._free, seat.slot)

    def need(self, seat: Seat, count: int) -> None:
        """Raises Refusal where so many more requests find no room in the queues."""
        if seat.queued + count > self._limits.queue:
            raise Refusal("busy", f"{seat.queued} requests of this connection wait, as many as are allowed: wait for their answers")
        if self._total + count > self._limits.total_queue:
            raise Refusal("busy", f"{self._total} requests wait at this server, as many as are allowed: try again later")

    def submit(self, seat: Seat, work: Start | Act) -> asyncio.Future[Any]:
        """Queue work; the future gives None for a Start, Acted for an Act, or a Refusal. Raises Refusal where the queue is full."""
        job = _Job(work, self._clock(), asyncio.get_running_loop().create_future())
        job.answer.add_done_callback(heard)
        last = seat._waiting[-1] if seat._waiting else None
        if seat.newest_wins and last is not None and isinstance(work, Act) and isinstance(last.work, Act):
            last.refuse(Refusal("replaced", "the observation was replaced by a newer one before its turn: no action was chosen for it"))
            seat._waiting[-1] = job
            return job.answer
        self.need(seat, 1)
        seat._waiting.append(job)
        self._total += 1
        self._ready[seat] = None
        self._arrival.set()
        self._all_here_if()
        self._watcher.queue(self._total)
        return job.answer

    def close(self) -> None:
        """End the engine's thread, and the compiler's."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        if self._compiler is not None:
            self._compiler.close()

    async def run(self) -> None:
        """Answer what is submitted, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            if not self._speaking:
                await self._arrival.wait()
                await self._others()
            if batch := self._gather():
                self._deliver(batch, *await loop.run_in_executor(self._thread, self._work, batch))
            self._silence()
            if self._speaking:
                self._deliver_words(*await loop.run_in_executor(self._thread, self._speak))

    def _all_here_if(self) -> None:
        if all(seat in self._ready for seat in self._regulars):
            self._all_here.set()

    async def _others(self) -> None:
        """Wait a little for the seats that were in the last batches: their clients have just been answered."""
        self._all_here.clear()
        self._all_here_if()
        if self._gather_seconds and not self._all_here.is_set():
            try:
                await asyncio.wait_for(self._all_here.wait(), self._gather_seconds)
            except TimeoutError:
                pass

    def _gather(self) -> list[tuple[Seat, list[_Job]]]:
        """Of every seat what waits up to its first observation, without what is late already."""
        now, batch = self._clock(), []
        for seat in [seat for seat in self._ready if not seat._running]:
            jobs: list[_Job] = []
            while seat._waiting and not (jobs and isinstance(jobs[-1].work, Act)):
                job = seat._waiting.popleft()
                self._total -= 1
                if job.late(now):
                    job.refuse(_late(job, now, "its turn came"))
                elif isinstance(job.work, Act) and seat._broken and not jobs:
                    job.refuse(Refusal("internal", "the session's memory was lost when the server failed: send a reset"))
                else:
                    jobs.append(job)
            if not seat._waiting:
                del self._ready[seat]
            if jobs:
                seat._running = len(jobs)
                batch.append((seat, jobs))
        if not self._ready:
            self._arrival.clear()
        self._watcher.queue(self._total)
        return batch

    def _work(self, batch: list[tuple[Seat, list[_Job]]]) -> tuple[dict[int, Any], float, Exception | None]:
        """In the engine's thread: actions in a row by slot, without those in words only begun; the seconds it took; what went wrong."""
        started = time.perf_counter()
        observations: dict[int, Any] = {}
        questions: dict[int, Any] = {}
        listeners: dict[int, Callable[[int], None]] = {}
        actions: dict[int, list[Any]] = {}
        steps: dict[int, int] = {}
        try:
            for seat, jobs in batch:
                for job in jobs:
                    if isinstance(job.work, Start):
                        s = job.work
                        self.engine.reset(seat.slot, s.layout, s.prompt, s.seed, s.temperature, s.top_p)
                    else:
                        (questions if self.engine.speaks(seat.slot) else observations)[seat.slot] = job.work.observation
                        steps[seat.slot] = job.work.steps
                        if job.work.on_token:
                            listeners[seat.slot] = job.work.on_token
            # A first observation brings its prompt along: hundreds of positions, to which the batch's other rows would be padded.
            prompted = {slot for slot in observations if (state := self.engine.slots[slot]) is not None and state.prompt is not None}
            for group in (observations.keys() - prompted, prompted):
                for count in {steps[slot] for slot in group}:
                    actions |= self.engine.plan({slot: observations[slot] for slot in group if steps[slot] == count}, count)
            if self._compiler is not None and observations:
                self._compiler.saw(
                    (slot, state.layout, seen) for slot, seen in observations.items() if (state := self.engine.slots[slot]) is not None
                )
            if questions:
                whole, begun = self.engine.begin(questions, lambda slot, token: listeners[slot](token) if slot in listeners else None)
                actions |= {slot: [action] for slot, action in whole.items()}
                self._words |= begun
        except Exception as error:
            return {}, time.perf_counter() - started, error
        return actions, time.perf_counter() - started, None

    def _speak(self) -> tuple[dict[int, Any], float, Exception | None]:
        """In the engine's thread: one more pass for every answer in words."""
        started = time.perf_counter()

        def hear(slot: int, token: int) -> None:
            work = self._speaking[slot][1].work
            if isinstance(work, Act) and work.on_token:
                work.on_token(token)

        try:
            actions = self.engine.go_on(self._words, hear)
        except Exception as error:
            return {}, time.perf_counter() - started, error
        return actions, time.perf_counter() - started, None

    def _deliver(self, batch: list[tuple[Seat, list[_Job]]], actions: dict[int, Any], seconds: float, error: Exception | None) -> None:
        if error is not None:
            _log.error("a batch of %d sessions failed", len(batch), exc_info=error)
        elif actions:
            self._watcher.batch(len(actions), seconds)
        self._batches += 1
        for seat, jobs in batch:
            if error is None and seat.slot in self._words:
                *jobs, question = jobs
                self._speaking[seat.slot], self._word_seconds[seat.slot] = (seat, question), seconds
            elif seat.slot in actions:
                self._regulars[seat] = self._batches
            self._answer(seat, jobs, actions.get(seat.slot), seconds, error)
        for seat in [s for s, last in self._regulars.items() if self._batches - last > 2 or s._left]:
            del self._regulars[seat]

    def _deliver_words(self, actions: dict[int, Any], seconds: float, error: Exception | None) -> None:
        if error is not None:
            _log.error("%d answers in words failed", len(self._speaking), exc_info=error)
            self._words.clear()
        for slot in self._speaking:
            self._word_seconds[slot] += seconds
        for slot in list(self._speaking if error is not None else actions):
            seat, job = self._speaking.pop(slot)
            self._answer(seat, [job], [actions[slot]] if slot in actions else None, self._word_seconds.pop(slot), error)

    def _silence(self) -> None:
        """Stop the answers in words that nobody waits for any more."""
        for slot, (seat, _) in list(self._speaking.items()):
            if seat._left:
                del self._speaking[slot], self._words[slot], self._word_seconds[slot]
                self._answer(seat, [], None, 0.0, None)

    def _answer(self, seat: Seat, jobs: list[_Job], actions: list[Any] | None, seconds: float, error: Exception | None) -> None:
        """Answer a seat's jobs, the last of which may be the Act of these actions; the seat runs no more, unless it begins to speak."""
        now = self._clock()
        seat._broken = error is not None
        for job in jobs:
            if error is not None:
                job.refuse(Refusal("internal", "the server failed and the session's memory was lost: send a reset"))
            elif job.late(now):
                job.refuse(_late(job, now, "its action was chosen"))
            elif not job.answer.done():
                job.answer.set_result(Acted(actions or [], seconds) if isinstance(job.work, Act) else None)
        seat._running = 1 if seat.slot in self._speaking else 0
        if seat._left and not seat._running:
            heapq.heappush(self._free, seat.slot)


def heard(answer: asyncio.Future[Any]) -> None:
    """Look at an answer whose client may be gone, so that asyncio does not complain that nobody did."""
    if not answer.cancelled():
        answer.exception()


def _late(job: _Job, now: float, when: str) -> Refusal:
    assert isinstance(job.work, Act) and job.work.deadline is not None
    waited, allowed = (now - job.arrived) * 1000, job.work.deadline * 1000
    return Refusal("late", f"the observation is {waited:.0f} ms old when {when}, past its deadline of {allowed:g} ms: send a newer one")
