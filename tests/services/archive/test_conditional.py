"""Conditional and range requests (RFC 9110 13, 14): a client pays once for bytes that it has, and may take a part."""

import io
import zipfile

import pytest

from services.packs.instance import scan
from tests.services.archive.harness import AS_STORED, Harness, harness, parts_of
from tests.services.archive.samples import data_set_of, file_bytes, synthetic
from tests.services.archive.test_wado import path_of

__all__ = ["harness"]

SERIES = "/studies/1.2.3/series/1.2.3.1"
ONE = SERIES + "/instances/1.1"
SINGLE = "application/dicom; transfer-syntax=*"


def get(harness: Harness, path: str, accept: str, **headers: str):  # type: ignore[no-untyped-def]
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return harness.http.get("/dicom-web" + path, headers=harness.issuer.bearer() | {"Accept": accept} | named)


@pytest.mark.parametrize(
    ("path", "accept"),
    [
        (ONE, SINGLE), (ONE, AS_STORED), (SERIES, AS_STORED), (ONE + "/frames/1", "application/octet-stream"),
        (ONE + "/bulkdata/7FE00010", "application/octet-stream"), (ONE + "/rendered", "image/png"),
        (SERIES + "/thumbnail", "image/jpeg"),
    ],
)  # fmt: skip
def test_what_a_client_has_already_is_not_sent_again(harness: Harness, path: str, accept: str) -> None:
    harness.keep(synthetic("1.1"))
    first = get(harness, path, accept)
    assert first.status_code == 200
    assert first.headers["cache-control"] == "private, no-cache"
    etag = first.headers["etag"]
    for asked in (etag, f'"other", {etag}', "*"):
        again = get(harness, path, accept, if_none_match=asked)
        assert (again.status_code, again.content, again.headers["etag"].removeprefix("W/")) == (
            304, b"", etag.removeprefix("W/"),
        )  # fmt: skip
    assert get(harness, path, accept, if_none_match='"other"').status_code == 200


def test_other_bytes_have_another_validator(harness: Harness) -> None:
    harness.keep(synthetic("1.1", frames=2), synthetic("1.2", frames=2))
    other = SERIES + "/instances/1.2"
    tags = [
        get(harness, path, accept).headers["etag"]
        for path, accept in (
            (ONE, SINGLE), (other, SINGLE), (ONE, "application/dicom; transfer-syntax=1.2.840.10008.1.2"),
            (ONE + "/frames/1", "application/octet-stream"), (ONE + "/frames/2", "application/octet-stream"),
            (ONE + "/rendered", "image/png"), (ONE + "/rendered?quality=5", "image/png"), (ONE + "/rendered", "image/jpeg"),
        )
    ]  # fmt: skip
    assert len(set(tags)) == len(tags)


def test_a_validator_opens_nothing_that_the_caller_may_not_see(harness: Harness) -> None:
    harness.keep(synthetic("1.1"))
    etag = get(harness, ONE, SINGLE).headers["etag"]
    foreign = harness.issuer.bearer(institutions=["zhidan"]) | {"Accept": SINGLE, "If-None-Match": etag}
    assert harness.http.get("/dicom-web" + ONE, headers=foreign).status_code == 404


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        ("bytes=0-99", slice(0, 100)), ("bytes=100-", slice(100, None)), ("bytes=-50", slice(-50, None)),
        ("bytes=10-99999999", slice(10, None)),
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    ("path", "accept"), [(ONE, SINGLE), (ONE + "/bulkdata/7FE00010", "application/octet-stream")]
)
def test_a_part_can_be_had_alone(harness: Harness, path: str, accept: str, asked: str, meant: slice) -> None:
    harness.keep(synthetic("1.1", frames=10))
    whole = get(harness, path, accept)
    assert whole.headers["accept-ranges"] == "bytes"
    expected = whole.content[meant]
    part = get(harness, path, accept, range=asked)
    assert (part.status_code, part.content) == (206, expected)
    start, end, _ = meant.indices(len(whole.content))
    assert part.headers["content-range"] == f"bytes {start}-{end - 1}/{len(whole.content)}"
    assert part.headers["etag"] == whole.headers["etag"]


def test_a_range_behind_the_end_is_refused_and_one_that_cannot_be_read_is_ignored(harness: Harness) -> None:
    harness.keep(synthetic("1.1"))
    length = len(get(harness, ONE, SINGLE).content)
    refused = get(harness, ONE, SINGLE, range=f"bytes={length}-")
    assert refused.status_code == 416
    assert str(length) in refused.json()["detail"]
    for asked in ("bytes=5-2", "bytes=0-1,4-5", "items=0-1", "bytes=-"):
        assert get(harness, ONE, SINGLE, range=asked).status_code == 200
    assert get(harness, ONE, AS_STORED, range="bytes=0-1").status_code == 200


def test_a_range_of_what_was_changed_meanwhile_is_the_whole(harness: Harness) -> None:
    harness.keep(synthetic("1.1"))
    etag = get(harness, ONE, SINGLE).headers["etag"]
    assert get(harness, ONE, SINGLE, range="bytes=0-9", if_range=etag).status_code == 206
    assert get(harness, ONE, SINGLE, range="bytes=0-9", if_range='"older"').status_code == 200


def test_a_study_a_series_and_an_instance_come_as_a_zip_archive(harness: Harness) -> None:
    files = [synthetic(f"1.{n}", InstanceNumber=n, pixels=bytes([n] * 32)) for n in range(1, 4)]
    harness.keep(*files)
    for path, count in (("/studies/1.2.3", 3), (SERIES, 3), (ONE, 1)):
        answer = get(harness, path, "application/zip")
        assert answer.headers["content-type"] == "application/zip"
        archive = zipfile.ZipFile(io.BytesIO(answer.content))
        assert archive.testzip() is None
        assert archive.namelist() == [f"1.2.3/1.2.3.1/1.{n}.dcm" for n in range(1, count + 1)]
        for name, file in zip(archive.namelist(), files, strict=False):
            assert scan(archive.read(name)).digest == scan(file).digest


def test_a_zip_archive_holds_files_as_stored_unless_another_syntax_is_asked_for(harness: Harness) -> None:
    content = file_bytes("JPEG2000.dcm")
    harness.keep(content)
    for accept, syntax in (
        ("application/zip", "1.2.840.10008.1.2.4.91"),
        ("application/zip; transfer-syntax=1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1"),
    ):
        archive = zipfile.ZipFile(io.BytesIO(get(harness, path_of(content), accept).content))
        [name] = archive.namelist()
        assert data_set_of(archive.read(name)).file_meta.TransferSyntaxUID == syntax
    refused = get(harness, path_of(content), "application/zip; transfer-syntax=1.2.840.10008.1.2.4.50")
    assert refused.status_code == 406


def test_multipart_answers_name_what_they_hold_and_are_compared_weakly(harness: Harness) -> None:
    harness.keep(synthetic("1.1"))
    answer = get(harness, ONE, AS_STORED)
    assert len(parts_of(answer)) == 1
    assert answer.headers["etag"].startswith('W/"')
