"""DELETE over HTTP: who may, what is asked for, what is hidden, and that a rebuild knows it from objects alone."""

import io
import json
from hashlib import sha256
from typing import Any

import httpx
import pytest

from services.archive.adapters.memory_index import MemoryIndex
from services.archive.index.rebuild import enter_missing
from services.archive.ports import StoreUnavailable
from services.archive.tombstones.burial import Burial, stored_tombstone
from tests.services.archive.harness import Harness, harness
from tests.services.archive.samples import synthetic

__all__ = ["harness"]

STUDY = "/studies/1.2.3"
SERIES = STUDY + "/series/1.2.3.1"
ONE = SERIES + "/instances/1.1"
MAY: dict[str, Any] = {"scope": "dicomweb:read dicomweb:delete", "institutions": ["yanan"]}


def delete(harness: Harness, path: str, body: Any = None, **claims: Any) -> httpx.Response:
    given = {"reason": "sent for the wrong patient"} if body is None else body
    answer: httpx.Response = harness.http.request(
        "DELETE",
        "/dicom-web" + path,
        content=given if isinstance(given, bytes) else json.dumps(given).encode(),
        headers=harness.issuer.bearer(**(MAY | claims)),
    )
    return answer


@pytest.fixture
def filled(harness: Harness) -> Harness:
    harness.keep(
        synthetic("1.1"), synthetic("1.2"), synthetic("2.1", series="1.2.3.2", Modality="MR"),
        synthetic("9.1", study="9.9", series="9.9.1"),
    )  # fmt: skip
    return harness


@pytest.mark.parametrize(
    ("path", "hidden", "left"),
    [(ONE, 1, 2), (SERIES, 2, 1), (STUDY, 3, 0)],
    ids=["instance", "series", "study"],
)
def test_what_is_deleted_vanishes_from_search_and_retrieval(
    filled: Harness, path: str, hidden: int, left: int
) -> None:
    answer = delete(filled, path)
    assert (answer.status_code, answer.json()["instances"]) == (200, hidden)
    assert filled.get(path + "/metadata").status_code == 404
    assert filled.get(path).status_code == 404
    found = filled.get("/instances?StudyInstanceUID=1.2.3")
    assert (len(found.json()) if left else found.status_code) == (left or 204)
    assert len(filled.get("/studies/9.9/metadata").json()) == 1
    assert filled.counted("pacs_archive_buried_instances_total", code="deletion") == hidden


def test_the_tombstone_says_who_deleted_what_and_why(filled: Harness) -> None:
    document_id = delete(filled, SERIES, {"reason": "左右弄反", "code": "113037"}).json()["tombstone"]
    [key] = filled.store.list("tombstones/")
    tombstone = stored_tombstone(filled.store, key)
    assert tombstone.document_id == document_id
    assert (tombstone.deleted_by, tombstone.reason, tombstone.code) == ("dr-li", "左右弄反", "113037")
    assert (tombstone.institution, tombstone.until) == ("yanan", None)


def test_a_resend_after_a_deletion_is_kept_and_after_a_rejection_for_safety_stays_hidden(
    filled: Harness,
) -> None:
    delete(filled, ONE)
    delete(filled, SERIES + "/instances/1.2", {"reason": "burnt-in name of another", "code": "113037"})
    filled.keep(synthetic("1.1"), synthetic("1.2"))
    assert filled.get(ONE).status_code == 200
    assert filled.get(SERIES + "/instances/1.2").status_code == 404


def test_an_index_made_anew_from_objects_hides_the_same(filled: Harness) -> None:
    delete(filled, ONE)
    delete(filled, STUDY + "/series/1.2.3.2", {"reason": "quality", "code": "113001"})
    filled.keep(synthetic("1.1"))
    before = filled.get("/instances?includefield=all").json()
    (directory := filled.directory / "anew").mkdir()
    anew = Harness(directory, store=filled.store, index=MemoryIndex())
    try:
        tombstones, damaged = Burial(anew.store, anew.index, anew.metrics).enter_missing()
        assert (tombstones, damaged) == (2, 0)
        assert enter_missing(anew.store, anew.index, anew.archive.sink).damaged == 0
        assert anew.get("/instances?includefield=all").json() == before
        assert Burial(anew.store, anew.index, anew.metrics).enter_missing() == (0, 0)
    finally:
        anew.close()


def test_a_damaged_tombstone_is_counted_and_the_others_are_entered(filled: Harness) -> None:
    delete(filled, ONE)
    content = b"{}"
    key = f"tombstones/yanan/00/{'0' * 64}.json"
    filled.store.put(key, io.BytesIO(content), len(content), sha256(content).hexdigest())
    assert Burial(filled.store, MemoryIndex(), filled.metrics).enter_missing() == (1, 1)


def test_without_the_scope_nothing_is_deleted(filled: Harness) -> None:
    answer = delete(filled, ONE, scope="dicomweb:read dicomweb:store ops")
    assert (answer.status_code, answer.json()["type"]) == (403, "urn:pacs:problem:forbidden")
    assert filled.get(ONE).status_code == 200
    assert list(filled.store.list("tombstones/")) == []


def test_another_institutions_study_is_not_there(filled: Harness) -> None:
    assert delete(filled, STUDY, institutions=["zhidan"]).status_code == 404
    named = {"reason": "x", "institution": "yanan"}
    assert delete(filled, STUDY, named, institutions=["zhidan"]).status_code == 403
    assert filled.get(ONE).status_code == 200


def test_a_token_of_several_institutions_must_name_one(filled: Harness) -> None:
    assert delete(filled, STUDY, institutions=["*"]).status_code == 400
    assert (
        delete(filled, STUDY, {"reason": "x", "institution": "yanan"}, institutions=["*"]).status_code == 200
    )


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b"[" * 20_000, {}, {"reason": "  "}, {"reason": 7}, {"reason": "x" * 1025},
        {"reason": "a\0b"}, b'{"reason": "\\ud800"}', {"reason": "x", "code": "113000"},
        {"reason": "x", "until": "now"},
    ],
    ids=lambda body: str(body)[:30],
)  # fmt: skip
def test_a_body_without_a_usable_reason_is_refused(filled: Harness, body: Any) -> None:
    answer = delete(filled, ONE, body)
    assert answer.status_code in (400, 413), answer.text
    assert answer.json()["action"]
    assert filled.get(ONE).status_code == 200


def test_a_uid_that_is_none_is_refused(filled: Harness) -> None:
    assert delete(filled, "/studies/1..2").status_code == 400


def test_without_the_object_store_nothing_is_hidden(filled: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any) -> None:
        raise StoreUnavailable("away")

    monkeypatch.setattr(filled.store, "put", away)
    assert delete(filled, ONE).status_code == 503
    monkeypatch.undo()
    assert filled.get(ONE).status_code == 200
