"""The workflow's routes: what they take, what they refuse in which words, and whose they show."""

import json
from typing import Any

import httpx
import pytest

from services.archive.workflow.performed_step import changed
from tests.services.archive.harness import Harness, harness
from tests.services.archive.workflow.orders import NOON, STEP, a_step, document, final

__all__ = ["harness"]
READ, WRITE, BOTH = "workflow:read", "workflow:write", "workflow:read workflow:write"
LIST = "/workflow/v1/institutions/yanan/worklist"


def ask(
    harness: Harness,
    method: str,
    path: str,
    body: Any = None,
    *,
    scope: str = BOTH,
    institutions: Any = ("yanan",),
) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode() if body is not None else None
    headers = harness.issuer.bearer(scope=scope, institutions=list(institutions))
    return harness.http.request(method, path, content=content, headers=headers)


def put(harness: Harness, entry_id: str = "E1", **changes: Any) -> httpx.Response:
    return ask(harness, "PUT", f"{LIST}/{entry_id}", document(**changes))


def test_an_order_is_put_read_listed_and_cancelled(harness: Harness) -> None:
    made = put(harness)
    assert made.status_code == 201, made.text
    assert put(harness).status_code == 200
    one = ask(harness, "GET", f"{LIST}/E1").json()
    assert one == made.json()
    assert (one["state"], one["study_instance_uid"], one["site"]) == ("SCHEDULED", "1.2.3", "centre")
    assert one["order"]["patient"]["name"]["ideographic"] == "王^小东"
    assert ask(harness, "GET", LIST).json() == [one]
    for _ in range(2):
        assert ask(harness, "DELETE", f"{LIST}/E1").status_code == 204
    assert ask(harness, "GET", LIST).json() == []
    assert ask(harness, "GET", f"{LIST}?state=CANCELLED").json()[0]["id"] == "E1"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"step__modality": "ct"}, "step.modality"), ({"step__modality": ""}, "step.modality"),
        ({"step__start": "2025-03-01T10:15:00+08:00"}, "step.start"), ({"step__start": "yesterday"}, "step.start"),
        ({"step__start": 1}, "step.start"), ({"step__station_ae_titles": []}, "step.station_ae_titles"),
        ({"step__station_ae_titles": ["A" * 17]}, "step.station_ae_titles.0"),
        ({"patient__id": ""}, "patient.id"), ({"patient__id": "A\\B"}, "patient.id"),
        ({"patient__id": "A\0"}, "patient.id"), ({"patient__id": " A"}, "patient.id"),
        ({"patient__id": 7}, "patient.id"), ({"patient__sex": "X"}, "patient.sex"),
        ({"patient__birth_date": "19700101"}, "patient.birth_date"), ({"patient__weight_kg": -1}, "patient.weight_kg"),
        ({"patient__weight_kg": "70"}, "patient.weight_kg"), ({"patient__name": {}}, "patient.name"),
        ({"patient__name__alphabetic": "A=B"}, "patient.name.alphabetic"),
        ({"patient__name__alphabetic": "A^B^C^D^E^F"}, "patient.name.alphabetic"),
        ({"patient__name__ideographic": "王" * 65}, "patient.name.ideographic"),
        ({"patient__nmae": "x"}, "patient.nmae"), ({"procedure__study_instance_uid": "../x"}, "study_instance_uid"),
        ({"procedure__priority": "NOW"}, "procedure.priority"), ({"procedure__description": ""}, "procedure"),
        ({"step__description": ""}, "step"), ({"accession_number": "A" * 17}, "accession_number"),
        ({"procedure__code": {"value": "1"}}, "procedure.code.scheme"),
    ],
)  # fmt: skip
def test_an_order_that_no_modality_could_read_is_refused_by_the_name_of_its_field(
    harness: Harness, changes: dict[str, Any], field: str
) -> None:
    answer = put(harness, **changes)
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert field in answer.json()["detail"]
    assert "Wang" not in answer.text
    assert ask(harness, "GET", LIST).json() == []


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff", b'{"patient":' * 300, b"[" * 60000])
def test_a_body_that_is_no_order_is_a_problem_document(harness: Harness, body: bytes) -> None:
    answer = ask(harness, "PUT", f"{LIST}/E1", body)
    assert answer.status_code == 400
    assert answer.json()["type"] == "urn:pacs:problem:bad-request"


def test_a_body_without_end_is_cut_off(harness: Harness) -> None:
    assert ask(harness, "PUT", f"{LIST}/E1", b" " * (64 << 10) + b"{}").status_code == 413


@pytest.mark.parametrize("entry_id", ["-a", "a" * 65, "a%20b", "%2e", "%E7%8E%8B"])
def test_an_id_that_cannot_be_one_is_refused(harness: Harness, entry_id: str) -> None:
    assert ask(harness, "PUT", f"{LIST}/{entry_id}", document()).status_code == 400


@pytest.mark.parametrize(
    "query",
    [
        "state=GONE",
        "limit=-1",
        "limit=x",
        "date=2025",
        "date=20250301-x",
        "colour=red",
        "patient_id=%00",
    ],
)
def test_a_question_that_cannot_be_honoured_is_refused(harness: Harness, query: str) -> None:
    assert ask(harness, "GET", f"{LIST}?{query}").status_code == 400


@pytest.mark.parametrize(
    ("query", "fits"),
    [
        ("date=20250301", True), ("date=20250302-", False), ("modality=CT", True), ("modality=MR", False),
        ("station_ae_title=CT2", True), ("patient_id=P1", True), ("patient_id=P2", False),
        ("patient_name=王*", True), ("accession_number=A1&date=20250301", True), ("limit=0", False),
    ],
)  # fmt: skip
def test_the_list_is_narrowed(harness: Harness, query: str, fits: bool) -> None:
    put(harness)
    assert bool(ask(harness, "GET", f"{LIST}?{query}").json()) is fits


def test_each_route_demands_its_scope_and_a_token(harness: Harness) -> None:
    for method, path, lacking in (
        ("GET", LIST, WRITE), ("GET", f"{LIST}/E1", WRITE), ("PUT", f"{LIST}/E1", READ), ("DELETE", f"{LIST}/E1", READ),
        ("GET", "/workflow/v1/institutions/yanan/performed-steps", WRITE),
        ("GET", "/workflow/v1/institutions/yanan/performed-steps/1.2", WRITE),
    ):  # fmt: skip
        assert harness.http.request(method, path).status_code == 401, path
        for scope in (lacking, "dicomweb:read dicomweb:store", "ops"):
            assert ask(harness, method, path, document(), scope=scope).status_code == 403, (path, scope)


def test_another_institutions_entries_are_neither_seen_nor_made(harness: Harness) -> None:
    put(harness)
    harness.archive.parts.workflow.steps.create(a_step())
    steps = "/workflow/v1/institutions/yanan/performed-steps"
    for path in (LIST, f"{LIST}/E1", steps, f"{steps}/{STEP}"):
        assert ask(harness, "GET", path, institutions=["zhidan"]).status_code == 404
        assert ask(harness, "GET", path, institutions=[], scope=f"{BOTH} ops").status_code == 404
        assert ask(harness, "GET", path, institutions=["*"]).status_code == 200
    assert ask(harness, "PUT", f"{LIST}/E1", document(), institutions=["zhidan"]).status_code == 403
    assert ask(harness, "DELETE", f"{LIST}/E1", institutions=["zhidan"]).status_code == 403
    assert ask(harness, "GET", f"{LIST}/E1").json()["state"] == "STARTED"


def test_a_performed_step_is_read_and_what_has_begun_stands(harness: Harness) -> None:
    put(harness)
    steps = harness.archive.parts.workflow.steps
    steps.create(a_step())
    steps.change("yanan", STEP, lambda step: changed(step, final("COMPLETED"), NOON)[0])
    path = "/workflow/v1/institutions/yanan/performed-steps"
    one = ask(harness, "GET", f"{path}/{STEP}").json()
    assert (one["status"], one["study_instance_uids"], one["calling_ae"]) == ("COMPLETED", ["1.2.3"], "CT1")
    assert one["attributes"]["00100010"]["Value"][0]["Ideographic"] == "王^小东"
    assert ask(harness, "GET", f"{path}?study=1.2.3&status=COMPLETED").json() == [one]
    assert ask(harness, "GET", f"{path}?status=DISCONTINUED").json() == []
    assert ask(harness, "GET", f"{path}/1.2.9").status_code == 404
    for query in ("study=../x", "status=GONE", "colour=red"):
        assert ask(harness, "GET", f"{path}?{query}").status_code == 400
    refused = put(harness, step__modality="MR")
    assert (refused.status_code, refused.json()["type"]) == (409, "urn:pacs:problem:entry-begun")
    entry = ask(harness, "GET", f"{LIST}/E1").json()
    assert (entry["state"], entry["performed_step"]) == ("COMPLETED", STEP)


def test_a_branch_takes_its_own_institutions_orders_alone(tmp_path: Any) -> None:
    branch = Harness(tmp_path, store_directory=tmp_path, outbox_directory=tmp_path / "outbox",
                     receipts_directory=tmp_path / "receipts")  # fmt: skip
    try:
        assert put(branch).status_code == 201
        other = LIST.replace("yanan", "zhidan")
        assert ask(branch, "PUT", f"{other}/E1", document(), institutions=["*"]).status_code == 403
    finally:
        branch.close()
