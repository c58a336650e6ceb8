"""A branch whose disk is full refuses with A700, loses nothing, serves nothing half, and goes on by itself."""

from __future__ import annotations

import io
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from pydicom import dcmread
from pynetdicom.association import Association

from bench.network import free_port
from services.packs.instance import scan
from services.packs.pack import verify
from tests.integration.archive_process import ArchiveProcess
from tests.integration.ingest_centre import IngestCentre
from tests.integration.postgres import database, postgres
from tests.integration.region_door import Door, resolve_locally
from tests.integration.small_disk import SmallDisk, small_disk
from tests.integration.test_archive_end_to_end import association, digest_at, eventually, send, stored
from tests.integration.test_branch_without_index import WholeBranch
from tests.services.archive.samples import synthetic
from tests.services.archive.tokens import Issuer
from tests.services.edge.branch import ReceiptOffice
from tests.waiting import wait_for

__all__ = ["database", "postgres"]

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(180),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root for a mount"),
]

MIB = 1 << 20
COMMENT = "Not stored: the archive's disk is full. Keep it, send it later"


def slice_of(number: int) -> bytes:
    """An instance of a MiB."""
    return synthetic(f"1.2.3.1.{number}", pixels=bytes([number % 251]) * MIB)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path, 40 * MIB) as made:
        yield made


@pytest.fixture
def archive(disk: SmallDisk, database: str) -> Iterator[ArchiveProcess]:
    """A branch's archive on the small disk; it seals when an association ends and keeps 4 MiB in reserve."""
    root = disk.path / "pacs"
    root.mkdir()
    process = ArchiveProcess(
        root, database, Issuer(), PACS_SPOOL_RESERVE_BYTES=str(4 * MIB), PACS_SEAL_IDLE_SECONDS="600",
        PACS_SEAL_AGE_SECONDS="600", PACS_STORE_DIRECTORY=str(root), PACS_OUTBOX_DIRECTORY=str(root / "outbox"),
        PACS_RECEIPTS_DIRECTORY=str(root / "receipts"),
    )  # fmt: skip
    yield process
    process.close()


def fill_with_images(opened: Association, first: int) -> list[bytes]:
    """Send until the archive refuses; what it acknowledged."""
    acknowledged: list[bytes] = []
    for number in range(first, first + 100):
        content = slice_of(number)
        answer = opened.send_c_store(dcmread(io.BytesIO(content)))
        if answer.Status:
            assert (answer.Status, answer.ErrorComment) == (0xA700, COMMENT)
            return acknowledged
        acknowledged.append(content)
    raise AssertionError("the disk never got full")


def counted(archive: ArchiveProcess, sample: str) -> float:
    """A metric as Prometheus would read it; 0 where it was never counted."""
    lines = archive.get("/metrics", listener="internal").text.splitlines()
    return next((float(line.split()[-1]) for line in lines if line.startswith(sample + " ")), 0.0)


def test_a_full_disk_refuses_loses_nothing_and_goes_on_when_there_is_room(
    archive: ArchiveProcess, disk: SmallDisk
) -> None:
    a700 = 'pacs_archive_refused_requests_total{interface="dimse",reason="A700"}'
    archive.start()
    send(archive, slice_of(0))
    eventually(lambda: stored(archive, "1.2.3") == 1, archive, "the first slice")
    with association(archive, slice_of(0)) as opened:
        kept = [slice_of(0), *fill_with_images(opened, 1)]
        assert len(kept) > 10
        assert disk.free > len(kept) * MIB, "the room that sealing needs is not given away"
        # Now something else takes even that: no pack can be made, not a byte be noted.
        disk.fill()
        refused = dcmread(io.BytesIO(slice_of(99)))
        assert opened.send_c_store(refused).Status == 0xA700
    assert counted(archive, a700) == 2
    eventually(
        lambda: counted(archive, 'pacs_archive_failed_steps_total{step="seal"}') > 0, archive, "a failed seal"
    )
    reasons = httpx.get(archive.url("/readyz"), timeout=30).json()["reasons"]
    assert "0 bytes free" in reasons["spool"]

    # Not even a crash and a start on the full disk change that: it reads, and it refuses.
    archive.stop(signal.SIGKILL)
    archive.environment |= {"PACS_SEAL_IDLE_SECONDS": "0.2", "PACS_SEAL_AGE_SECONDS": "0.5"}
    archive.start()
    assert digest_at(archive, kept[0]) == scan(kept[0]).digest
    with association(archive, slice_of(99)) as opened:
        assert opened.send_c_store(refused).Status == 0xA700
    eventually(
        lambda: counted(archive, 'pacs_archive_failed_steps_total{step="seal"}') > 0, archive, "a failed seal"
    )
    for path in (archive.directory / "packs").rglob("*.pack"):
        verify(path)
    assert stored(archive, "1.2.3") == 1

    disk.make_room()
    eventually(lambda: stored(archive, "1.2.3") == len(kept), archive, "every acknowledged slice")
    for one in kept:
        assert digest_at(archive, one) == scan(one).digest
    # The images themselves leave little: their packs are the second copy only until the log lets go.
    eventually(lambda: counted(archive, "pacs_archive_unsealed_bytes") == 0, archive, "an empty log")
    eventually(lambda: httpx.get(archive.url("/readyz"), timeout=30).status_code == 200, archive, "readiness")
    send(archive, slice_of(99))
    eventually(lambda: stored(archive, "1.2.3") == len(kept) + 1, archive, "the slice that was refused")
    assert {path.name for path in (archive.directory / "spool" / "sealed").iterdir()} == set()


def test_stow_on_a_full_disk_is_a_problem_document_that_says_what_to_do(
    archive: ArchiveProcess, disk: SmallDisk
) -> None:
    archive.start()
    disk.fill()
    body = b"--b\r\nContent-Type: application/dicom\r\n\r\n" + slice_of(1) + b"\r\n--b--\r\n"
    kind = 'multipart/related; type="application/dicom"; boundary=b'
    headers = {**archive.issuer.bearer(), "Content-Type": kind}
    answer = httpx.post(archive.url("/dicom-web/studies"), content=body, headers=headers, timeout=30)
    assert (answer.status_code, answer.headers["content-type"]) == (507, "application/problem+json")
    problem = answer.json()
    assert problem["type"] == "urn:pacs:problem:no-room"
    assert "no room" in problem["detail"]
    assert "Free space" in problem["action"]
    assert answer.headers["retry-after"]
    assert list((archive.directory / "spool" / "incoming").iterdir()) == []


def test_receipts_that_find_no_room_are_asked_for_again_and_the_pack_is_sent_once(
    disk: SmallDisk, tmp_path: Path, database: str
) -> None:
    door = Door(tmp_path, archive_port=free_port(), prometheus_port=1)
    door.ingest_port = free_port()
    centre = IngestCentre(ReceiptOffice(door.secrets), door.server())
    centre.port = door.ingest_port
    with pytest.MonkeyPatch.context() as patch:
        resolve_locally(patch)
        with door.step_ca(), door.gateway(), centre:
            root = disk.path / "yanan-full"
            shutil.copytree(door.enrol("yanan", "full").directory, root / "identity")
            branch = WholeBranch(door, centre, root, database)
            branch.log = tmp_path / "edge.log"
            branch.archive.start()
            try:
                with branch.edge():
                    send(branch.archive, slice_of(1))
                    branch.wait_until_proven(slice_of(1))
                    centre.pause = 1.0
                    send(branch.archive, slice_of(2))
                    wait_for(lambda: len(centre.puts) == 2, 20, "the second pack is on its way")
                    disk.fill()
                    failed = 'pacs_edge_failed_attempts_total{reason="OSError"}'
                    wait_for(lambda: failed in branch.metrics(), 20, "the full disk is counted")
                    assert len(branch.links()) == 1
                    centre.pause = 0.0
                    disk.make_room()
                    branch.wait_until_proven(slice_of(1), slice_of(2))
            finally:
                branch.archive.close()
    assert len(centre.puts) == len(set(centre.puts)) == 2
