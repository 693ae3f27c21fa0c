"""Workers on an existing Ray cluster: an actor in the place of each process."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from opengato.errors import OpenGatoError
from opengato.jobs.process import Lost, Ready, Work, begin, perform

_LOST = "its process on the cluster died (Ray's logs have more)"


class _Host:
    """What runs on the cluster: Ray makes an actor of it."""

    def begin(self, start: Callable[[], Any]) -> Any:
        return begin(start)

    def perform(self, work: Work, arguments: tuple[Any, ...], seeds: tuple[int, ...]) -> Iterator[Any]:
        yield from perform(work, arguments, seeds)


class RayWorker:
    """An actor. Its messages come as a stream, one object each."""

    def __init__(self, ray: Any, actor: Any, start: Any):
        self._ray, self._actor = ray, actor
        self.coming: Any = actor.begin.remote(start)  # a reference, later a stream of references

    def give(self, work: Work, arguments: tuple[Any, ...], seeds: tuple[int, ...]) -> None:
        """Send the next job."""
        self.coming = self._actor.perform.options(num_returns="streaming").remote(work, arguments, seeds)

    def receive(self) -> Any:
        """The next message, or `Lost`."""
        try:
            message = self._ray.get(self.coming if isinstance(self.coming, self._ray.ObjectRef) else next(self.coming))
        except (StopIteration, self._ray.exceptions.RayError):
            self.kill()  # it may only be out of reach
            message = Lost(_LOST)
        if isinstance(message, Ready | Lost):
            self.coming = None
        return message

    def kill(self) -> None:
        """End the actor's process now, whatever it is at."""
        self._ray.kill(self._actor)

    close = kill


def _knock(address: str) -> None:
    """Raises where nobody listens: Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    if port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()


class RayCluster:
    """Where actors run: they need the same version of this package as the driver, and one core each.

    Args:
        address: of a cluster that this machine is part of: "auto", or host:port of its head. A session with Ray that the program
            has opened already is used as it is.
        start: a callable without arguments; it travels to each node once.

    Raises:
        OpenGatoError: where Ray is not installed, or no cluster answers.
    """

    start_s = float("inf")  # they may wait until the cluster has room

    def __init__(self, address: str, start: Callable[[], Any]):
        try:
            import ray
        except ImportError:
            raise OpenGatoError('a Ray cluster needs Ray, which is not installed: pip install "opengato[ray]"') from None
        self._ray, self._ours = ray, not ray.is_initialized()
        if self._ours:
            try:
                _knock(address)
                ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
            except Exception as error:
                raise OpenGatoError(
                    f"no Ray cluster answers at {address!r} ({' '.join(str(error).split())[:200]}): start one with `ray start --head`, "
                    f'and give its host:port, or "auto" on a machine of it'
                ) from None
        self.workers = int(ray.cluster_resources().get("CPU", 0))
        if self.workers < 1:
            self.close()
            raise OpenGatoError(f"the Ray cluster at {address!r} has no cores: add a node to it")
        self._start = ray.put(start)
        self._actor = ray.remote(num_cpus=1, max_restarts=0, max_task_retries=0)(_Host)

    def make(self) -> RayWorker:
        return RayWorker(self._ray, self._actor.remote(), self._start)

    def wait(self, workers: Sequence[RayWorker], seconds: float) -> list[RayWorker]:
        """Those with something to `receive`, as soon as there are any, or none after some seconds."""
        by_coming = {worker.coming: worker for worker in workers if worker.coming is not None}
        first, rest = self._ray.wait(list(by_coming), num_returns=1, timeout=seconds)
        more = self._ray.wait(rest, num_returns=len(rest), timeout=0)[0] if first and rest else []
        return [by_coming[coming] for coming in [*first, *more]]

    def close(self) -> None:
        if self._ours:
            self._ray.shutdown()
