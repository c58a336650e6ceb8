"""The archive as it runs: real process, real PostgreSQL, DIMSE in, DICOMweb out, digests compared."""

import email
import io
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import httpx
import psycopg
import pytest
from dicomweb_client.api import DICOMwebClient
from pydicom import dcmread
from pynetdicom import AE
from pynetdicom.association import Association

from services.common.requestor import associate
from services.packs.instance import scan
from tests.integration.archive_process import ArchiveProcess
from tests.integration.postgres import PostgresServer, database, postgres
from tests.services.archive.samples import file_bytes, synthetic
from tests.services.archive.tokens import Issuer

__all__ = ["database", "postgres"]
pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

FILES = (
    "CT_small.dcm", "MR_small.dcm", "MR_small_bigendian.dcm", "image_dfl.dcm", "JPEG2000.dcm", "JPEG-LL.dcm",
    "MR_small_RLE.dcm", "SC_rgb_small_odd.dcm", "rtplan.dcm", "liver_1frame.dcm", "MR_small_jpeg_ls_lossless.dcm",
    "chrX1.dcm", "chrX2.dcm", "chrH31.dcm", "chrI2.dcm",
)  # fmt: skip


def available(name: str) -> bytes | None:
    """The file as a study of its own, or None where this pydicom does not bring it."""
    try:
        content = file_bytes(name)
        scan(content)
    except (AssertionError, ValueError):
        return None
    data_set = dcmread(io.BytesIO(content))
    own = f"2.25.{int(sha256(name.encode()).hexdigest()[:30], 16)}"
    data_set.StudyInstanceUID, data_set.SeriesInstanceUID = own, f"{own}.1"
    data_set.SOPInstanceUID = data_set.file_meta.MediaStorageSOPInstanceUID = f"{own}.1.1"
    target = io.BytesIO()
    data_set.save_as(target, enforce_file_format=True)
    return target.getvalue()


@contextmanager
def association(archive: ArchiveProcess, *files: bytes) -> Iterator[Association]:
    ae = AE("MODALITY")
    for one in {(i.sop_class_uid, i.transfer_syntax) for i in map(scan, files)}:
        ae.add_requested_context(*one)
    opened = associate(ae, "127.0.0.1", archive.ports["dimse"], ae_title="PACS")
    assert opened.is_established
    try:
        yield opened
    finally:
        opened.release()


def send(archive: ArchiveProcess, *files: bytes) -> None:
    """C-STORE each; every answer must be success."""
    with association(archive, *files) as opened:
        for one in files:
            assert opened.send_c_store(dcmread(io.BytesIO(one))).Status == 0


def eventually(check: Callable[[], bool], archive: ArchiveProcess, what: str) -> None:
    """Ask the archive until it is so: at most 20 s, paced by the requests themselves."""
    for _ in range(400):
        if check():
            return
        archive.get("/readyz")
        signal.sigtimedwait([], 0.05)
    raise AssertionError(f"{what} did not come about; last log lines: {archive.log[-8:]}")


def stored(archive: ArchiveProcess, study: str) -> int:
    answer = archive.get(f"/dicom-web/studies/{study}/instances")
    return len(answer.json()) if answer.status_code == 200 else 0


def parts(response: httpx.Response) -> list[bytes]:
    head = f"Content-Type: {response.headers['content-type']}\r\n\r\n".encode()
    message = email.message_from_bytes(head + response.content)
    boundary = message.get_boundary()
    assert boundary is not None
    pieces = response.content.split(b"--" + boundary.encode())[1:-1]
    return [piece.split(b"\r\n\r\n", 1)[1][:-2] for piece in pieces]


def digest_at(archive: ArchiveProcess, one: bytes) -> str:
    """The digest of the stored instance, read back raw."""
    instance = scan(one)
    path = f"/dicom-web/studies/{instance.study_uid}/series/{instance.series_uid}/instances/{instance.sop_instance_uid}"
    response = archive.get(path, Accept='multipart/related; type="application/dicom"; transfer-syntax=*')
    assert response.status_code == 200, response.text
    [body] = parts(response)
    return scan(body).digest


@pytest.fixture
def archive(tmp_path: Path, database: str) -> Iterator[ArchiveProcess]:
    process = ArchiveProcess(tmp_path, database, Issuer())
    yield process
    process.close()


def test_every_kind_of_file_comes_back_with_the_digest_it_was_sent_with(archive: ArchiveProcess) -> None:
    files = [content for name in FILES if (content := available(name)) is not None]
    assert len(files) >= 10
    archive.start()
    send(archive, *files)
    eventually(lambda: all(stored(archive, scan(one).study_uid) for one in files), archive, "every file")
    for one in files:
        assert digest_at(archive, one) == scan(one).digest
    client = DICOMwebClient(archive.url(), headers=archive.issuer.bearer())
    for name, asked in (
        ("chrX1.dcm", "王^小東"),
        ("chrX2.dcm", "王*东"),
        ("chrH31.dcm", "山田*"),
        ("chrI2.dcm", "홍^길동"),
    ):
        content = available(name)
        assert content is not None
        found = client.search_for_studies(search_filters={"PatientName": asked})
        assert [study["0020000D"]["Value"] for study in found] == [[scan(content).study_uid]], asked
    assert archive.stop() == 0
    assert not any(line.get("raw") for line in archive.log), "something wrote past the structured log"
    logged = json.dumps(archive.log, ensure_ascii=False)
    assert "Wang" not in logged
    assert "王" not in logged


def test_dicomweb_client_reads_metadata_frames_and_instances(archive: ArchiveProcess) -> None:
    slices = [
        synthetic(f"1.2.3.1.{n}", InstanceNumber=n, pixels=bytes([n] * 32), frames=2) for n in range(1, 6)
    ]
    archive.start()
    send(archive, *slices)
    eventually(lambda: stored(archive, "1.2.3") == 5, archive, "five slices")
    client = DICOMwebClient(archive.url(), headers=archive.issuer.bearer())
    metadata = client.retrieve_series_metadata("1.2.3", "1.2.3.1")
    assert [one["00200013"]["Value"][0] for one in metadata] == [1, 2, 3, 4, 5]
    assert metadata[0]["00100010"]["Value"][0]["Ideographic"] == "王^小東"
    frames = client.retrieve_instance_frames("1.2.3", "1.2.3.1", "1.2.3.1.4", [2, 1])
    assert frames == [bytes([4] * 32), bytes([4] * 32)]
    instances = client.retrieve_study("1.2.3")
    assert sorted(int(i.InstanceNumber) for i in instances) == [1, 2, 3, 4, 5]
    assert metadata[0]["7FE00010"]["BulkDataURI"].endswith("/bulkdata/7FE00010")


def test_stow_by_dicomweb_client_is_stored_and_a_conflict_keeps_both(archive: ArchiveProcess) -> None:
    archive.start()
    client = DICOMwebClient(archive.url(), headers=archive.issuer.bearer())
    first, other = synthetic("1.2.3.1.1"), synthetic("1.2.3.1.1", pixels=bytes(32))
    for one in (first, other, first, other):
        answer = client.store_instances([dcmread(io.BytesIO(one))])
        assert len(answer.ReferencedSOPSequence) == 1

    def conflicts() -> list[dict[str, str]]:
        return archive.get("/dicom-web/studies/1.2.3/conflicts").json()

    eventually(lambda: len(conflicts()) == 1, archive, "the conflict")
    [conflict] = conflicts()
    kept = digest_at(archive, first)
    assert {kept, conflict["digest"]} == {scan(first).digest, scan(other).digest}
    assert conflict["first_digest"] == kept
    version = archive.get(conflict["url"], Accept="application/dicom; transfer-syntax=*")
    assert scan(version.content).digest == conflict["digest"]


def test_what_was_acknowledged_before_kill_9_is_there_after_the_next_start(archive: ArchiveProcess) -> None:
    slices = [synthetic(f"1.2.3.1.{n}") for n in range(20)]
    archive.start()
    send(archive, *slices)
    archive.stop(signal.SIGKILL)
    archive.start()
    eventually(lambda: stored(archive, "1.2.3") == 20, archive, "all slices after kill -9")


def test_a_clean_stop_leaves_nothing_in_the_spool(archive: ArchiveProcess) -> None:
    archive.start()
    eventually(lambda: archive.get("/readyz").status_code == 200, archive, "readiness")
    send(archive, *(synthetic(f"1.2.3.1.{n}") for n in range(3)))
    assert archive.stop() == 0
    assert list((archive.directory / "spool" / "sealed").iterdir()) == []
    assert len(list((archive.directory / "store").rglob("*.pack"))) >= 1


def test_the_index_is_rebuilt_from_packs_alone(archive: ArchiveProcess, postgres: PostgresServer) -> None:
    slices = [synthetic(f"1.2.3.1.{n}") for n in range(4)]
    archive.start()
    send(archive, *slices, synthetic("1.2.3.1.0", pixels=bytes(32)))
    eventually(lambda: stored(archive, "1.2.3") == 4, archive, "four slices")
    before = archive.get("/dicom-web/studies/1.2.3/metadata").content
    archive.stop()
    (archive.directory / "dsn").write_text(postgres.new_database())
    assert json.loads(archive.run("rebuild"))["damaged"] == 0
    archive.start()
    eventually(lambda: archive.get("/readyz").status_code == 200, archive, "readiness")
    assert archive.get("/dicom-web/studies/1.2.3/metadata").content == before
    assert len(archive.get("/dicom-web/studies/1.2.3/conflicts").json()) == 1


def test_images_are_taken_while_postgresql_is_away_and_served_when_it_is_back(
    archive: ArchiveProcess, postgres: PostgresServer, database: str
) -> None:
    postgres.stop()
    try:
        archive.start()
        answer = httpx.get(archive.url("/readyz"), timeout=30)
        assert answer.status_code == 503
        assert "index" in answer.json()["reasons"]
        send(archive, synthetic("1.2.3.1.1"))
        query = archive.get("/dicom-web/studies")
        assert query.status_code == 503
        assert query.json()["type"] == "urn:pacs:problem:index-unavailable"
    finally:
        postgres.start()
    eventually(lambda: stored(archive, "1.2.3") == 1, archive, "the slice after PostgreSQL came back")
    with psycopg.connect(database) as connection:
        assert connection.execute("SELECT institution, site FROM instance").fetchall() == [
            ("yanan", "yanchang")
        ]


@pytest.mark.parametrize("name", ["HTTP", "INTERNAL", "DIMSE"])
def test_a_taken_port_ends_the_archive_with_its_number_the_reason_and_what_to_do(
    archive: ArchiveProcess, name: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        archive.environment[f"PACS_{name}_PORT"] = str(port)
        done = subprocess.run(
            [sys.executable, "-m", "services.archive"],
            env={**os.environ, **archive.environment}, stderr=subprocess.PIPE, text=True, timeout=60, check=False,
        )  # fmt: skip
    assert done.returncode == 1
    told = done.stderr.splitlines()[-1]
    assert told.startswith("the archive cannot run: ")
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use" in told
    assert f"`ss -ltnp sport = :{port}`" in told


def test_metrics_are_on_the_internal_listener_alone(archive: ArchiveProcess) -> None:
    archive.start()
    assert archive.get("/metrics").status_code == 404
    text = archive.get("/metrics", listener="internal").text
    for name in (
        "pacs_archive_unsealed_bytes",
        "pacs_archive_unsealed_oldest_age_seconds",
        "pacs_archive_dependency_up",
    ):
        assert name in text
    assert httpx.get(archive.url("/dicom-web/studies", "internal")).status_code == 404
