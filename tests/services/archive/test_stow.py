"""Rules of STOW-RS (PS3.18 10.5): durable before the answer, one verdict a part, nothing of a bad body hidden."""

import errno
import os
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from services.packs.instance import scan
from services.packs.segment import LogFailed, OutOfRoom
from tests.services.archive.harness import Harness, harness
from tests.services.archive.samples import file_bytes, synthetic

__all__ = ["harness"]

KIND = 'multipart/related; type="application/dicom"; boundary=b'


def post(harness: Harness, body: bytes, kind: str = KIND, path: str = "/dicom-web/studies") -> Any:
    return harness.http.post(path, content=body, headers={"Content-Type": kind, **harness.issuer.bearer()})


def test_stored_instances_are_durable_before_the_answer_names_them(harness: Harness) -> None:
    response = harness.stow(synthetic("1.1"), synthetic("1.2"))
    assert response.status_code == 200
    assert harness.archive.log.live_records == 2
    document = response.json()
    assert [one["00081155"]["Value"] for one in document["00081199"]["Value"]] == [["1.1"], ["1.2"]]
    assert document["00081190"]["Value"] == ["http://testserver/dicom-web/studies/1.2.3"]
    assert "00081198" not in document
    assert harness.counted("pacs_archive_received_instances_total", interface="stow") == 2


def test_a_part_that_is_no_dicom_fails_alone(harness: Harness) -> None:
    response = harness.stow(synthetic("1.1"), b"<html>", b"")
    assert response.status_code == 202
    document = response.json()
    assert len(document["00081199"]["Value"]) == 1
    assert [one["00081197"]["Value"] for one in document["0008119A"]["Value"]] == [[0xC000], [0xC000]]


def test_a_file_that_is_not_dicom_is_refused_in_words_too(harness: Harness) -> None:
    response = harness.stow(b"\xff\xd8\xff\xe0 a holiday picture")
    assert response.status_code == 409
    [failed] = response.json()["0008119A"]["Value"]
    assert failed["00081197"]["Value"] == [0xC000]
    assert response.headers["warning"] == (
        '299 pacs "part 1 was not stored: this is not a DICOM file: no DICM prefix after a 128 byte preamble '
        '(PS3.10 7.1); export it as DICOM and send that"'
    )
    assert "warning" not in harness.stow(synthetic("1.1")).headers


def test_the_warning_names_the_first_part_that_failed_and_counts_the_others(harness: Harness) -> None:
    response = harness.stow(
        synthetic("1.1"), b"no", synthetic("9.1", study="9"), path="/dicom-web/studies/1.2.3"
    )
    assert response.status_code == 202
    assert response.headers["warning"].startswith('299 pacs "part 2 was not stored: ')
    assert response.headers["warning"].endswith(' (1 more parts were not stored)"')


def test_instances_of_another_study_than_the_urls_are_refused_by_name(harness: Harness) -> None:
    response = harness.stow(synthetic("1.1"), synthetic("9.1", study="9"), path="/dicom-web/studies/1.2.3")
    assert response.status_code == 202
    [failed] = response.json()["00081198"]["Value"]
    assert failed["00081155"]["Value"] == ["9.1"]
    alone = harness.stow(synthetic("9.1", study="9"), path="/dicom-web/studies/1.2.3")
    assert alone.status_code == 409
    assert harness.archive.log.live_records == 1


@pytest.mark.parametrize(
    ("error", "status", "reason"), [(OutOfRoom("full"), 507, None), (LogFailed("broken disk"), 409, 0x0110)]
)
def test_a_disk_that_does_not_take_it_is_a_failure_and_not_a_success(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int, reason: int | None
) -> None:
    def refuse(*_: object) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_exception(error)
        return future

    monkeypatch.setattr(harness.archive.log, "append", refuse)
    response = harness.stow(synthetic("1.1"))
    assert response.status_code == status
    if reason is not None:
        assert response.json()["00081198"]["Value"][0]["00081197"]["Value"] == [reason]
    else:
        assert response.headers["retry-after"]


def test_a_preamble_of_another_format_goes_out_as_zeros(harness: Harness) -> None:
    content = b"\x7fELF" + synthetic("1.1")[4:]
    harness.keep(content)
    body = harness.get("/studies/1.2.3/series/1.2.3.1/instances/1.1", "application/dicom").content
    assert body[:128] == bytes(128)
    assert scan(body).digest == scan(content).digest


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"", KIND, 400), (b"--b--\r\n", KIND, 400), (b"--b\r\n\r\nabc", KIND, 400), (b"no boundary at all", KIND, 400),
        (b"--b\r\nbroken header\r\n\r\n\r\n--b--", KIND, 400), (b"x", "application/dicom", 415), (b"x", "", 415),
        (b"x", 'multipart/related; type="application/dicom+json"; boundary=b', 415), (b"x", "multipart/related", 400),
        (b"x", 'multipart/related; type="application/dicom"; boundary="' + "b" * 201 + '"', 400),
        (b"x", "multipart/form-data; boundary=b", 415),
    ],
)  # fmt: skip
def test_a_body_that_is_no_store_request_is_refused_with_a_reason(
    harness: Harness, body: bytes, kind: str, status: int
) -> None:
    response = post(harness, body, kind)
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    assert list((harness.directory / "spool" / "incoming").iterdir()) == []


def test_a_body_cut_short_keeps_the_whole_parts_and_is_still_an_error(harness: Harness) -> None:
    body = b"--b\r\n\r\n" + synthetic("1.1") + b"\r\n--b\r\n\r\n" + synthetic("1.2")[:200]
    assert post(harness, body).status_code == 400
    assert harness.archive.log.live_records == 1


@pytest.mark.parametrize(
    ("institutions", "owner"),
    [
        (["*"], "yanan"),
        (["yanan", "zhidan"], "yanan"),
        (["zhidan"], "zhidan"),
        (["zhidan", "yanchang"], None),
        ([], None),
    ],
)
def test_instances_belong_to_the_tokens_institution(
    harness: Harness, institutions: list[str], owner: str | None
) -> None:
    response = harness.stow(synthetic("1.1"), institutions=institutions)
    if owner is None:
        assert response.status_code == 403
        return
    harness.settle()
    assert harness.get("/studies", institutions=[owner]).status_code == 200


def test_a_disk_that_fails_is_not_called_full(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> int:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "write", broken)
    response = harness.stow(synthetic("1.1"))
    assert response.status_code == 503
    assert "Input/output error" in response.json()["detail"]
    assert response.json()["action"]


@pytest.mark.parametrize(
    ("institutions", "status"),
    [(["*"], 200), (["yanan"], 200), (["yanan", "zhidan"], 200), (["zhidan"], 403), ([], 403)],
)
def test_a_branch_stores_for_its_own_institution_alone_because_it_can_forward_no_other(
    tmp_path: Path, institutions: list[str], status: int
) -> None:
    branch = Harness(
        tmp_path,
        site="yanchang",
        outbox_directory=tmp_path / "outbox",
        receipts_directory=tmp_path / "receipts",
    )
    response = branch.stow(synthetic("1.1"), institutions=institutions)
    assert response.status_code == status
    assert branch.archive.log.live_records == (1 if status == 200 else 0)
    if status == 403:
        assert response.json()["detail"] == (
            "The token is not for yanan, and this site stores for no other institution."
        )
    branch.close()


def test_a_uid_that_is_a_path_never_gets_in(harness: Harness) -> None:
    hostile = synthetic("1.1").replace(b"1.2.3\0", b"../../").replace(b"1.2.3.1\0", b"../../x\0")
    response = harness.stow(hostile)
    assert response.status_code == 409
    assert "(0020,000D) is no UID (1-64 digits and dots, PS3.5 9.1): '../../'" in response.headers["warning"]
    assert harness.archive.log.live_records == 0


def test_a_resend_is_a_success_that_changes_nothing(harness: Harness) -> None:
    content = file_bytes("CT_small.dcm")
    harness.keep(content)
    harness.keep(content)
    assert harness.counted("pacs_archive_committed_instances_total", result="added") == 1
    assert harness.counted("pacs_archive_committed_instances_total", result="duplicate") == 1
