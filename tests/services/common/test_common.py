"""Rules that every service keeps: logs without patients, errors that say what to do, honest health."""

import io
import json
import logging
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram
from pydantic import TypeAdapter, ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from services.common import errors
from services.common.clock import SystemClock, rfc3339
from services.common.errors import NotFound, PacsError, Unauthenticated, Unavailable
from services.common.health import health_routes
from services.common.logs import JsonLines, configure
from services.common.metrics import RequestTimer, metrics_route
from services.common.problem import EXCEPTION_HANDLERS
from services.common.settings import AETitle, DnsLabel, read_secret

PATIENT = "Wang^XiaoDong"


def line(logger: str, message: str, *arguments: object, **keywords: object) -> dict[str, object]:
    """What a call to this logger writes."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines("archive"))
    log = logging.getLogger(logger)
    log.addHandler(handler)
    try:
        log.error(message, *arguments, **keywords)  # type: ignore[arg-type]
    finally:
        log.removeHandler(handler)
    written: dict[str, object] = json.loads(stream.getvalue())
    return written


def raised(error: Exception) -> Exception:
    try:
        raise error
    except Exception as caught:
        return caught


def test_a_log_line_is_one_json_object_with_the_allowed_fields() -> None:
    written = line("services.archive.x", "pack committed", extra={"pack_id": "ab", "patient_name": PATIENT})
    assert written["message"] == "pack committed"
    assert written["pack_id"] == "ab"
    assert written["service"] == "archive"
    assert PATIENT not in json.dumps(written)


def test_a_librarys_message_comes_without_its_arguments() -> None:
    written = line("pydicom.valuerep", "Invalid value for VR PN: %s", PATIENT)
    assert written["message"] == "Invalid value for VR PN: %s"


def test_an_exceptions_text_is_written_only_when_it_is_ours_or_the_systems() -> None:
    foreign = line("services.x", "failed", exc_info=raised(ValueError(f"bad value {PATIENT}")))
    assert PATIENT not in json.dumps(foreign)
    assert str(foreign["error"]).startswith("ValueError() at test_common.py:")
    ours = line("services.x", "failed", exc_info=raised(Unavailable("The index does not answer.")))
    assert "The index does not answer." in str(ours["error"])
    system = line("services.x", "failed", exc_info=raised(OSError(28, "No space left on device")))
    assert "No space left" in str(system["error"])


def test_the_cause_of_an_error_is_named_too() -> None:
    def fail() -> None:
        try:
            raise KeyError(PATIENT)
        except KeyError as cause:
            raise NotFound("It is not there.") from cause

    with pytest.raises(NotFound) as caught:
        fail()
    written = json.dumps(line("services.x", "failed", exc_info=caught.value))
    assert "caused by KeyError" in written
    assert PATIENT not in written


@pytest.fixture
def logging_restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    with warnings.catch_warnings():
        yield
    root.handlers[:] = handlers
    root.setLevel(level)


def test_configured_logging_writes_json_to_stderr(
    logging_restored: None, capsys: pytest.CaptureFixture[str]
) -> None:
    configure("edge", "INFO")
    logging.getLogger("services.edge").info("started")
    logging.getLogger("pydicom").warning("value %s", PATIENT)
    [written] = capsys.readouterr().err.splitlines()
    assert json.loads(written)["message"] == "started"


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


def test_readiness_is_503_with_every_reason_and_liveness_is_not_concerned() -> None:
    state: dict[str, str | None] = {"index": "away", "store": None}
    routes = health_routes({name: lambda name=name: state[name] for name in state})  # type: ignore[misc]
    client = TestClient(Starlette(routes=routes))
    assert client.get("/healthz").status_code == 200
    assert client.get("/readyz").status_code == 503
    assert client.get("/readyz").json()["reasons"] == {"index": "away"}
    state["index"] = None
    assert client.get("/readyz").status_code == 200


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


@pytest.mark.parametrize("good", ["A", "PACS", "CT 1", "SIXTEEN-LETTERS!", "[]^~"])
def test_an_ae_title_is_1_to_16_characters_of_the_default_repertoire(good: str) -> None:
    assert TypeAdapter(AETitle).validate_python(good) == good


@pytest.mark.parametrize("bad", ["", " ", " A", "A ", "SEVENTEEN-LETTERS", "A\\B", "Ä", "A\n", "医院"])
def test_what_is_no_ae_title_is_refused(bad: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(AETitle).validate_python(bad)


@given(st.text(max_size=70))
def test_a_name_that_is_accepted_can_stand_in_a_key_and_a_host_name(text: str) -> None:
    try:
        name = TypeAdapter(DnsLabel).validate_python(text)
    except ValidationError:
        return
    assert 1 <= len(name) <= 63
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert name.strip("-") == name


def test_a_secret_file_loses_its_newline_and_must_hold_something(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s3cret\n")
    assert read_secret(tmp_path / "secret") == "s3cret"
    (tmp_path / "secret").write_text(" \n")
    with pytest.raises(ValueError, match="is empty"):
        read_secret(tmp_path / "secret")
    with pytest.raises(FileNotFoundError):
        read_secret(tmp_path / "nothing")


def test_time_is_aware_utc_and_written_as_rfc_3339() -> None:
    clock = SystemClock()
    assert clock.now().tzinfo is UTC
    assert clock.monotonic() <= clock.monotonic()
    beijing = datetime(2025, 3, 1, 8, 0, tzinfo=timezone(timedelta(hours=8)))
    assert rfc3339(beijing) == "2025-03-01T00:00:00.000000Z"
