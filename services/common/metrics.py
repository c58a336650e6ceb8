"""Prometheus, the same way in every service: bucket scales, a timed ASGI application, `/metrics`."""

import time

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, Histogram, generate_latest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# From a cached row (1 ms) to a whole study over a thin line (a minute).
REQUEST_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
# From one small instance to the largest pack.
SIZE_BYTES = tuple(float(1 << power) for power in range(12, 33, 2))


class RequestTimer:
    """ASGI middleware: observes seconds until the last byte of each answer, by method, route and status.

    The histogram needs the labels `method, route, status`. The route label is the route's
    template, never the path: paths hold UIDs and would make a series per study.
    """

    def __init__(self, app: ASGIApp, histogram: Histogram) -> None:
        self._app = app
        self._histogram = histogram

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 500
        started = time.perf_counter()

        async def note_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, note_status)
        finally:
            route = scope.get("route")
            template = getattr(route, "path", None) or "unmatched"
            self._histogram.labels(scope["method"], template, str(status)).observe(
                time.perf_counter() - started
            )


def metrics_route(registry: CollectorRegistry = REGISTRY) -> Route:
    """`GET /metrics` in the text format; it holds no patient data, yet only inner listeners show it."""

    def metrics(_: Request) -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return Route("/metrics", metrics)
