"""What a server counts, in the form that Prometheus reads."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from opengato.serving.limits import Refusal

_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


class Metrics:
    """One server's metrics, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter("opengato_requests", "requests, by kind", ["kind"], registry=self.registry)
        self.errors = Counter("opengato_errors", "requests that were refused, by reason", ["kind"], registry=self.registry)
        self.sessions = Gauge("opengato_sessions", "open websocket sessions", registry=self.registry)
        self.chats = Gauge("opengato_chats", "chat requests at work", registry=self.registry)
        self.queued = Gauge("opengato_queue_length", "requests that wait for a batch", registry=self.registry)
        self.sizes = Histogram("opengato_batch_size", "observations a batch", registry=self.registry, buckets=_SIZES)
        self.batch_seconds = Histogram("opengato_batch_seconds", "time a batch takes", registry=self.registry, buckets=_SECONDS)
        self.latency = Histogram(
            "opengato_latency_seconds", "from a request's arrival to its answer", ["kind"], registry=self.registry, buckets=_SECONDS
        )
        for kind in ("act", "reset", "chat"):
            self.requests.labels(kind)
            self.latency.labels(kind)
        for kind in Refusal.KINDS:
            self.errors.labels(kind)

    def batch(self, size: int, seconds: float) -> None:
        """A batch of `size` actions took so long."""
        self.sizes.observe(size)
        self.batch_seconds.observe(seconds)

    def queue(self, length: int) -> None:
        """So many requests wait."""
        self.queued.set(length)

    def text(self) -> bytes:
        """All of them in Prometheus' text format."""
        return generate_latest(self.registry)
