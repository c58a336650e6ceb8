"""Rules of request timing: by route, never by path."""

from prometheus_client import CollectorRegistry, Histogram
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from services.common.metrics import RequestTimer, metrics_route
from services.common.problem import EXCEPTION_HANDLERS


def test_a_request_is_timed_by_its_route_also_when_it_fails() -> None:
    registry = CollectorRegistry()
    histogram = Histogram("pacs_x_request_seconds", "x", ("method", "route", "status"), registry=registry)

    def item(request: Request) -> Response:
        if request.path_params["uid"] == "bad":
            raise RuntimeError
        return PlainTextResponse("ok")

    app = Starlette(
        routes=[Route("/items/{uid}", item), metrics_route(registry)], exception_handlers=EXCEPTION_HANDLERS
    )
    client = TestClient(RequestTimer(app, histogram), raise_server_exceptions=False)
    for path in ("/items/1.2.3", "/items/bad", "/nothing"):
        client.get(path)

    def count(route: str, status: str) -> float | None:
        labels = {"method": "GET", "route": route, "status": status}
        return registry.get_sample_value("pacs_x_request_seconds_count", labels)

    assert (count("/items/{uid}", "200"), count("/items/{uid}", "500"), count("unmatched", "404")) == (
        1,
        1,
        1,
    )
    assert "1.2.3" not in client.get("/metrics").text
