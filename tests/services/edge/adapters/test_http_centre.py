"""What each answer of the centre means for the pack, the line and the site."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.common.errors import (
    BadRequest,
    Forbidden,
    NoRoom,
    NotFound,
    TooLarge,
    TooManyRequests,
    Unavailable,
)
from services.common.problem import problem_of
from services.edge.adapters.http_centre import HttpCentre
from services.edge.errors import ForwardingError, IdentityRefused, LineDown, PackRefused, ReceiptRejected
from services.gateway.problems import PROBLEMS

PACK = "ab" * 32
DOCUMENT = {"pack_id": PACK, "receipts": ["one", "two"]}


def centre(answer: httpx.Response | Exception, seen: list[httpx.Request] | None = None) -> HttpCentre:
    def respond(request: httpx.Request) -> httpx.Response:
        if seen is not None:
            request.read()
            seen.append(request)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return HttpCentre(
        "https://pacs.pacs.local.test",
        ssl.create_default_context,
        connections=2,
        connect_seconds=1,
        answer_seconds=1,
        transport=httpx.MockTransport(respond),
    )


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    path = tmp_path / f"{PACK}.pack"
    path.write_bytes(b"x" * 200_000)
    return path


def problem(error: Any) -> httpx.Response:
    """The answer that a service of the centre gives for an error."""
    answer = problem_of(error)
    return httpx.Response(answer.status_code, headers=dict(answer.headers), content=bytes(answer.body))


def gateway_problem(name: str) -> httpx.Response:
    document = PROBLEMS[name]
    status = document["status"]
    assert isinstance(status, int)
    return httpx.Response(status, json=document, headers={"Content-Type": "application/problem+json"})


def test_a_pack_is_put_with_its_length_under_its_id(pack: Path) -> None:
    seen: list[httpx.Request] = []
    assert centre(httpx.Response(200, json=DOCUMENT), seen).put(PACK, pack) == ["one", "two"]
    [request] = seen
    assert (request.method, request.url.path) == ("PUT", f"/ingest/v1/packs/{PACK}")
    assert request.headers["content-length"] == "200000"
    assert "transfer-encoding" not in request.headers
    assert request.content == pack.read_bytes()


def test_a_pack_that_is_not_there_has_no_receipts() -> None:
    assert centre(problem(NotFound("not here"))).receipts(PACK) is None
    assert centre(httpx.Response(200, json=DOCUMENT)).receipts(PACK) == ["one", "two"]


@pytest.mark.parametrize("error", [BadRequest("not a pack"), Forbidden("another site's"), TooLarge("5 GiB")])
def test_a_problem_about_the_pack_refuses_it(pack: Path, error: Any) -> None:
    with pytest.raises(PackRefused) as refusal:
        centre(problem(error)).put(PACK, pack)
    assert refusal.value.reason == f"http_{error.status}"
    assert refusal.value.problem["detail"] == error.detail


@pytest.mark.parametrize("status", [400, 403, 413])
def test_a_bare_refusal_of_some_box_in_between_sets_nothing_aside(pack: Path, status: int) -> None:
    with pytest.raises(LineDown):
        centre(httpx.Response(status, text="<html>blocked</html>")).put(PACK, pack)


@pytest.mark.parametrize("name", ["certificate", "no_certificate"])
def test_a_refused_certificate_is_never_the_pack_s_fault(pack: Path, name: str) -> None:
    with pytest.raises(IdentityRefused):
        centre(gateway_problem(name)).put(PACK, pack)


@pytest.mark.parametrize("name", ["502", "503", "504"])
def test_a_gateway_without_its_archive_is_a_line_that_is_down(pack: Path, name: str) -> None:
    with pytest.raises(LineDown):
        centre(gateway_problem(name)).put(PACK, pack)


@pytest.mark.parametrize(
    ("error", "seconds"), [(TooManyRequests("busy"), 2), (Unavailable("busy"), 5), (NoRoom("full"), 60)]
)
def test_a_busy_or_full_centre_is_waited_for(pack: Path, error: Any, seconds: float) -> None:
    with pytest.raises(LineDown) as down:
        centre(problem(error)).put(PACK, pack)
    assert down.value.wait_seconds == seconds


@pytest.mark.parametrize("value", ["", "-5", "soon", "9" * 400, "Wed, 21 Oct 2015 07:28:00 GMT", "٣"])
def test_an_odd_retry_after_neither_fails_nor_waits_for_ever(pack: Path, value: str) -> None:
    answer = httpx.Response(503, headers=[(b"Retry-After", value.encode())])
    with pytest.raises(LineDown) as down:
        centre(answer).put(PACK, pack)
    assert down.value.wait_seconds is None or down.value.wait_seconds <= 3600


def test_a_centre_that_chokes_on_one_pack_does_not_take_the_line_down(pack: Path) -> None:
    answer = httpx.Response(500, json={"title": "x"}, headers={"Content-Type": "application/problem+json"})
    with pytest.raises(ForwardingError) as error:
        centre(answer).put(PACK, pack)
    assert not isinstance(error.value, LineDown | PackRefused)


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (httpx.ConnectError("refused"), "network"),
        (httpx.ReadError("reset"), "network"),
        (httpx.RemoteProtocolError("half an answer"), "network"),
        (httpx.ReadTimeout("200 silent seconds"), "timeout"),
        (httpx.WriteTimeout("stalled"), "timeout"),
    ],
)
def test_network_trouble_is_the_line_s(pack: Path, failure: Exception, reason: str) -> None:
    with pytest.raises(LineDown) as down:
        centre(failure).put(PACK, pack)
    assert down.value.reason == reason


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(200, text="ok"),
        httpx.Response(200, json=[]),
        httpx.Response(200, json={"pack_id": PACK}),
        httpx.Response(200, json={"pack_id": "cd" * 32, "receipts": []}),
        httpx.Response(200, json={"pack_id": PACK, "receipts": [1]}),
        httpx.Response(200, json={"pack_id": PACK, "receipts": 7}),
    ],
)
def test_a_200_without_the_document_proves_nothing(pack: Path, answer: httpx.Response) -> None:
    with pytest.raises(ReceiptRejected):
        centre(answer).put(PACK, pack)
