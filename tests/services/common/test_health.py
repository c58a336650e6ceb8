"""Rules of health: alive and ready are two things, and not being ready has reasons."""

import threading

from starlette.applications import Starlette
from starlette.testclient import TestClient

from services.common.health import ended, health_routes


def test_readiness_is_503_with_every_reason_and_liveness_is_not_concerned() -> None:
    state: dict[str, str | None] = {"index": "away", "store": None}
    routes = health_routes({name: lambda name=name: state[name] for name in state})  # type: ignore[misc]
    client = TestClient(Starlette(routes=routes))
    assert client.get("/healthz").status_code == 200
    assert client.get("/readyz").status_code == 503
    assert client.get("/readyz").json()["reasons"] == {"index": "away"}
    state["index"] = None
    assert client.get("/readyz").status_code == 200


def test_liveness_is_503_where_only_a_new_start_helps_and_readiness_then_too() -> None:
    thread = threading.Thread(target=lambda: None, name="packs-seal")
    client = TestClient(Starlette(routes=health_routes({}, vital={"threads": lambda: ended([thread])})))
    thread.start()
    thread.join()
    for path in ("/healthz", "/readyz"):
        answer = client.get(path)
        assert answer.status_code == 503
        assert "packs-seal" in answer.json()["reasons"]["threads"]
