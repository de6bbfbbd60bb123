"""Metrics for Prometheus, at /metrics.

prometheus-fastapi-instrumentator would rename the request metrics of docs/web.md.
"""

from collections.abc import Callable
from time import perf_counter

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
IMAGES = (1, 2, 4, 8, 16, 32)


class Meters:
    """The metrics of one server; gauges (queues, memory) are computed when they are read."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        own = {"registry": self.registry, "namespace": "leukobench"}
        self.requests = Counter("requests", "Answered requests.", ("route", "method", "status"), **own)
        self.seconds = Histogram("request_seconds", "Response time in seconds.", ("route",), buckets=SECONDS, **own)
        self.images = Counter("images", "Uploaded images by outcome.", ("outcome",), **own)
        self.answers = Counter("answers", "Answers of models by outcome.", ("outcome",), **own)
        self.batches = Histogram("batch_images", "Images in one batch of the models.", buckets=IMAGES, **own)
        self._gauge = lambda name, words: Gauge(name, words, **own)

    def watch(self, name: str, words: str, read: Callable[[], float]) -> None:
        """Add a gauge whose value is computed when the metrics are read."""
        self._gauge(name, words).set_function(read)

    def count(self, scope: Scope, status: int, seconds: float) -> None:
        """Count one request under the pattern of its route, not under the path it sent."""
        route = getattr(scope.get("route"), "path", "none")
        method = scope["method"] if scope["method"] in ("GET", "HEAD", "POST") else "other"
        self.requests.labels(route, method, status).inc()
        self.seconds.labels(route).observe(seconds)


class Metered:
    """Count and time every request (ASGI middleware)."""

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
