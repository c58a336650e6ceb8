"""`/healthz` (the process can do its work) and `/readyz` (what it depends on answers too); 503 with reasons.

Whoever runs the process starts it anew when `/healthz` fails, so that fails only where a new start helps.
"""

import threading
from collections.abc import Callable, Iterable, Mapping

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

Probe = Callable[[], str | None]
"""Answers None when all is well, else the reason; it must come back within seconds."""


def health_routes(probes: Mapping[str, Probe], *, vital: Mapping[str, Probe] | None = None) -> list[Route]:
    """The two routes: `vital` probes run at each `/healthz`, all of them at each `/readyz`, off the event loop."""
    vital = vital or {}

    def route(path: str, asked: Mapping[str, Probe], good: str, bad: str) -> Route:
        async def answer(_: Request) -> Response:
            reasons = {
                name: reason for name, probe in asked.items() if (reason := await run_in_threadpool(probe))
            }
            if reasons:
                return JSONResponse({"status": bad, "reasons": reasons}, status_code=503)
            return JSONResponse({"status": good})

        return Route(path, answer)

    return [
        route("/healthz", vital, "alive", "not alive"),
        route("/readyz", {**vital, **probes}, "ready", "not ready"),
    ]


def ended(threads: Iterable[threading.Thread]) -> str | None:
    """A probe's answer for threads that should run for as long as the process does."""
    dead = [thread.name for thread in threads if not thread.is_alive()]
    return f"stopped: {', '.join(dead)}; the process has to be started anew" if dead else None
