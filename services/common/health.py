"""`/healthz` (the process is alive) and `/readyz` (what it depends on answers; 503 with reasons)."""

from collections.abc import Callable, Mapping

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

Probe = Callable[[], str | None]
"""Answers None when all is well, else the reason; it must come back within seconds."""


def health_routes(probes: Mapping[str, Probe]) -> list[Route]:
    """The two routes; every probe runs at each `/readyz`, off the event loop."""

    async def healthz(_: Request) -> Response:
        return JSONResponse({"status": "alive"})

    async def readyz(_: Request) -> Response:
        reasons = {
            name: reason for name, probe in probes.items() if (reason := await run_in_threadpool(probe))
        }
        if reasons:
            return JSONResponse({"status": "not ready", "reasons": reasons}, status_code=503)
        return JSONResponse({"status": "ready"})

    return [Route("/healthz", healthz), Route("/readyz", readyz)]
