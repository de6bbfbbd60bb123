"""Counts and times for Prometheus, at /metrics."""

from collections.abc import Callable
from time import perf_counter

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
IMAGES = (1, 2, 4, 8, 16, 32)


class Meters:
    """The meters of one server; what a moment shows (queues, memory) is asked for when they are read."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        own = {"registry": self.registry, "namespace": "leukobench"}
        self.requests = Counter("requests", "Requests answered.", ("route", "method", "status"), **own)
        self.seconds = Histogram("request_seconds", "Time to the answer.", ("route",), buckets=SECONDS, **own)
        self.images = Counter("images", "Images asked about, by what became of them.", ("outcome",), **own)
        self.answers = Counter("answers", "Answers of single models.", ("outcome",), **own)
        self.batches = Histogram("batch_images", "Images that went to the models at once.", buckets=IMAGES, **own)
        self._gauge = lambda name, words: Gauge(name, words, **own)

    def watch(self, name: str, words: str, read: Callable[[], float]) -> None:
        """Show a value that is read whenever the meters are."""
        self._gauge(name, words).set_function(read)

    def count(self, scope: Scope, status: int, seconds: float) -> None:
        """Count one request under its route's pattern, never under the path that was sent."""
        route = getattr(scope.get("route"), "path", "none")
        method = scope["method"] if scope["method"] in ("GET", "HEAD", "POST") else "other"
        self.requests.labels(route, method, status).inc()
        self.seconds.labels(route).observe(seconds)


class Metered:
    """Counts and times every request (ASGI)."""

    def __init__(self, app: ASGIApp, meters: Meters) -> None:
        self.app, self.meters = app, meters

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun, status = perf_counter(), 500

        async def told(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, told)
        finally:
            self.meters.count(scope, status, perf_counter() - begun)
