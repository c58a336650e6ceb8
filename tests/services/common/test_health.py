"""Rules of health: alive and ready are two things, and not being ready has reasons."""

from starlette.applications import Starlette
from starlette.testclient import TestClient

from services.common.health import health_routes


def test_readiness_is_503_with_every_reason_and_liveness_is_not_concerned() -> None:
    state: dict[str, str | None] = {"index": "away", "store": None}
    routes = health_routes({name: lambda name=name: state[name] for name in state})  # type: ignore[misc]
    client = TestClient(Starlette(routes=routes))
    assert client.get("/healthz").status_code == 200
    assert client.get("/readyz").status_code == 503
    assert client.get("/readyz").json()["reasons"] == {"index": "away"}
    state["index"] = None
    assert client.get("/readyz").status_code == 200
