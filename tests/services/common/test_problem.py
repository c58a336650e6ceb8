"""Rules of problem documents (RFC 9457): every error has one, and none tells of the inside."""

from collections.abc import Iterator

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.testclient import TestClient

from services.common import errors
from services.common.errors import PacsError, Unauthenticated
from services.common.problem import EXCEPTION_HANDLERS

PATIENT = "Wang^XiaoDong"


def all_errors(kind: type[PacsError] = PacsError) -> Iterator[type[PacsError]]:
    yield kind
    for one in kind.__subclasses__():
        yield from all_errors(one)


def application(error: Exception) -> TestClient:
    def fail(_: Request) -> Response:
        raise error

    app = Starlette(routes=[Route("/", fail)], exception_handlers=EXCEPTION_HANDLERS)
    return TestClient(app, raise_server_exceptions=False)


def test_every_error_becomes_a_problem_document_with_its_status() -> None:
    kinds = [kind for kind in all_errors() if kind.__module__ == errors.__name__]
    assert len(kinds) == 12
    for kind in kinds:
        answer = application(kind("What happened.", action="What to do.")).get("/")
        assert answer.status_code == kind.status
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json() == {
            "type": f"urn:pacs:problem:{kind.slug}", "title": kind.title, "status": kind.status,
            "detail": "What happened.", "action": "What to do.",
        }  # fmt: skip
        assert ("retry-after" in answer.headers) is (kind.retry_after is not None)
    assert application(Unauthenticated("x")).get("/").headers["www-authenticate"].startswith("Bearer")


def test_a_body_that_breaks_off_is_told_as_a_matter_of_the_line() -> None:
    answer = application(ClientDisconnect()).get("/")
    assert answer.status_code == 408
    assert (answer.json()["type"], answer.json()["action"]) == (
        "urn:pacs:problem:client-gone",
        "Send it again.",
    )


def test_an_unexpected_error_tells_a_client_nothing_of_its_inside() -> None:
    answer = application(RuntimeError(f"{PATIENT} in /srv/secret")).get("/")
    assert answer.status_code == 500
    assert PATIENT not in answer.text
    assert "Traceback" not in answer.text
    assert "secret" not in answer.text


def test_a_missing_route_and_a_wrong_method_are_problem_documents() -> None:
    client = application(HTTPException(418, "teapot"))
    for answer, status in ((client.get("/nothing"), 404), (client.post("/"), 405), (client.get("/"), 418)):
        assert answer.status_code == status
        assert answer.json()["status"] == status
