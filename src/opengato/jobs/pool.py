"""Episodes spread over processes, of this machine or of a Ray cluster; one that dies or hangs costs its own seeds alone.

The work is a function that runs some seeds of a task, one after the other or beside one another, and yields what becomes of them:

    def work(*arguments, seeds):
        for seed in seeds:
            yield Begun(seed)
            yield Done(seed, episode(*arguments, seed))

A seed fails where its process dies, where nothing is heard of it for too long, or where the work raises or says `Failed`. It is then
tried once more, alone; as its episode depends on nothing but the seed, nobody can tell. Seeds that had not begun are run again.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from opengato.console import detail
from opengato.errors import OpenGatoError
from opengato.jobs.process import Begun, Done, Failed, Lost, Raised, Ready, ThisMachine, Work

TIMEOUT_S = 900.0
_ATTEMPTS = 2
_STARTS = 3  # workers that die one after the other before they can work: then it is not chance
_LOOK_S = 1.0  # how often to look at the clock


@dataclass(frozen=True)
class Job:
    """Some seeds of one task for one worker: `work(*arguments, seeds)`. `name` tells in the results whose seeds they are."""

    name: Hashable
    arguments: tuple[Any, ...]
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Result:
    """What became of one seed: its value, or else the reason why it failed. `seconds`: what it took, all attempts together."""

    name: Hashable
    seed: int
    value: Any
    failure: str | None
    seconds: float


class _Worker(Protocol):
    def give(self, work: Work, arguments: tuple[Any, ...], seeds: tuple[int, ...]) -> None: ...
    def receive(self) -> Any: ...
    def kill(self) -> None: ...
    def close(self) -> None: ...


@dataclass(eq=False)
class _Post:
    """A worker and what it is at."""

    worker: Any
    deadline: float  # when it will be killed, unless something is heard of it
    ready: bool = False
    job: Job | None = None
    left: list[int] = field(default_factory=list)  # seeds of the job that are not over
    begun: dict[int, float] = field(default_factory=dict)  # those of them that began, and when


class Workers:
    """Processes that run jobs; a context manager, at whose end all of them are gone.

    Args:
        count: how many; default: one a core of this machine, or of the cluster.
        start: a callable without arguments that can be pickled; every process calls it first.
        timeout_s: a worker that says nothing for this long is killed.
        ray: the address of an existing Ray cluster, "auto" or "host:6379"; None: this machine.

    Raises:
        OpenGatoError: where `start` raises (its sentence), where processes die before they can work, where there is no such cluster.
    """

    def __init__(
        self, count: int | None = None, start: Callable[[], Any] | None = None, timeout_s: float = TIMEOUT_S, ray: str | None = None
    ):
        if count is not None and count < 1:
            raise OpenGatoError(f"workers is {count}: ask for 1 or more")
        if not timeout_s > 0:
            raise OpenGatoError(f"timeout is {timeout_s:g} s: give an episode some time, for example 900")
        if ray is None:
            self._place: Any = ThisMachine(start or _nothing)
        else:
            from opengato.jobs.ray_cluster import RayCluster

            self._place = RayCluster(ray, start or _nothing)
        self.count = count or self._place.workers
        self.timeout_s = timeout_s
        detail(f"{self.count} workers on {f'the Ray cluster at {ray}' if ray else 'this machine'}, {timeout_s:g} s an episode at most")
        self._posts: list[_Post] = []
        self._stillborn = 0

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, error: Any, *_: Any) -> None:
        for post in self._posts:
            if error is None and post.ready:
                post.worker.close()
            else:
                post.worker.kill()
        self._posts.clear()
        self._place.close()

    def run(self, work: Work, take: Callable[[], Job | None]) -> Iterator[Result]:
        """Run `work` on the jobs that `take` gives, and yield the result of every seed as it comes.

        `take` is called whenever a worker has nothing to do; it returns None where there is nothing for now, and is asked again after
        every result. The run is over when there is nothing and no seed is under way.
        """
        return _Run(self, work, take).results()


def _nothing() -> None:
    pass


class _Run:
    def __init__(self, workers: Workers, work: Work, take: Callable[[], Job | None]):
        self.workers, self.work, self.take = workers, work, take
        self.posts, self.place = workers._posts, workers._place
        self.waiting: deque[Job] = deque()  # taken, but with no worker
        self.tries: dict[tuple[Hashable, int], tuple[int, float]] = {}  # attempts that failed, and seconds they took

    def results(self) -> Iterator[Result]:
        try:
            while True:
                self._give()
                if not self.waiting and not any(post.job for post in self.posts):
                    return
                by_worker = {post.worker: post for post in self.posts}
                heard = [by_worker[w] for w in self.place.wait(list(by_worker), _LOOK_S)]
                for post in heard:
                    yield from self._hear(post, post.worker.receive())
                now = time.monotonic()
                for post in by_worker.values():
                    if post not in heard and now > post.deadline:
                        post.worker.kill()
                        limit = self.workers.timeout_s if post.ready else self.place.start_s
                        yield from self._hear(post, Lost(f"it took longer than {limit:g} s"))
        finally:
            for post in [post for post in self.posts if post.job]:  # the run was given up
                post.worker.kill()
                self.posts.remove(post)

    def _next(self) -> Job | None:
        return self.waiting.popleft() if self.waiting else self.take()

    def _give(self) -> None:
        """A job to every worker that has none, and as many new workers as there is work for."""
        for post in self.posts:
            if post.ready and post.job is None and (job := self._next()):
                post.job, post.left, post.begun = job, list(job.seeds), {}
                post.deadline = time.monotonic() + self.workers.timeout_s
                post.worker.give(self.work, job.arguments, job.seeds)
        while len(self.posts) < self.workers.count:
            if len(self.waiting) <= sum(not post.ready for post in self.posts):
                if (job := self.take()) is None:
                    return
                self.waiting.append(job)
            self.posts.append(_Post(self.place.make(), time.monotonic() + self.place.start_s))

    def _hear(self, post: _Post, message: Any) -> Iterator[Result]:
        now = time.monotonic()
        post.deadline = now + self.workers.timeout_s
        if isinstance(message, Lost):
            self.posts.remove(post)
        if not post.ready:
            self._started(post, message)
        elif isinstance(message, Begun):
            post.begun[message.seed] = now
        elif isinstance(message, Done):
            yield self._result(post, message.seed, message.value, None)
        elif isinstance(message, Failed):
            yield from self._again(post, message.seed, message.reason)
        elif isinstance(message, Raised | Lost):
            # Where none had begun, it fell over the job itself: the first seed has to answer for it, or this would never end.
            guilty = [seed for seed in post.left if seed in post.begun] or post.left[:1]
            for seed in guilty:
                yield from self._again(post, seed, message.reason)
        if isinstance(message, Ready | Lost):
            if post.job and post.left:
                assert len(post.left) < len(post.job.seeds), "the work has passed over its seeds"
                self.waiting.appendleft(replace(post.job, seeds=tuple(post.left)))
            post.job, post.left, post.deadline = None, [], math.inf

    def _started(self, post: _Post, message: Any) -> None:
        if isinstance(message, Raised):
            raise OpenGatoError(message.reason)
        post.ready = not isinstance(message, Lost)
        self.workers._stillborn = 0 if post.ready else self.workers._stillborn + 1
        if self.workers._stillborn == _STARTS:
            raise OpenGatoError(
                f"workers end before they can work ({message.reason}): is there memory for {self.workers.count} of them? Try --workers 1"
            )

    def _over(self, post: _Post, seed: int) -> tuple[Hashable, float]:
        """The seed's attempt in this job is over: whose it is, and the seconds it took."""
        assert post.job is not None
        now = time.monotonic()
        post.left.remove(seed)
        return post.job.name, now - post.begun.pop(seed, now)

    def _result(self, post: _Post, seed: int, value: Any, failure: str | None) -> Result:
        name, seconds = self._over(post, seed)
        return Result(name, seed, value, failure, seconds + self.tries.pop((name, seed), (0, 0.0))[1])

    def _again(self, post: _Post, seed: int, reason: str) -> Iterator[Result]:
        """A seed failed: once more, alone, or for good."""
        assert post.job is not None
        tries, before = self.tries.get((post.job.name, seed), (0, 0.0))
        if tries + 1 == _ATTEMPTS:
            yield self._result(post, seed, None, reason)
        else:
            name, seconds = self._over(post, seed)
            self.tries[name, seed] = tries + 1, before + seconds
            self.waiting.append(replace(post.job, seeds=(seed,)))
