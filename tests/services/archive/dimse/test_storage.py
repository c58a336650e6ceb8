"""Rules of `services.archive.dimse.storage`: what is acknowledged is durable, what is refused says why."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.uid import ExplicitVRLittleEndian

from services.archive.dimse.storage import Storage, StoreAnswer, StoreRequest
from services.packs.arrival import HELD_BYTES
from services.packs.instance import Limits, scan
from services.packs.segment import SegmentLog
from tests.services.packs.synthetic import CT, STUDY, ct, nested

UID = STUDY + ".1.1"


class Counter:
    """An observer that keeps what it was told."""

    def __init__(self) -> None:
        self.stored: list[str] = []
        self.refused: list[int] = []

    def instance_stored(self, institution: str, size: int, seconds: float) -> None:
        assert size > 0
        assert seconds >= 0
        self.stored.append(institution)

    def instance_refused(self, status: int) -> None:
        self.refused.append(status)


class Noon:
    def now(self) -> datetime:
        return datetime(2025, 3, 1, 12, tzinfo=UTC)

    def monotonic(self) -> float:
        return 0.0


REQUEST = StoreRequest(
    sop_class_uid=CT,
    sop_instance_uid=UID,
    transfer_syntax=ExplicitVRLittleEndian,
    calling_ae="CT1",
    called_ae="PACS",
    association="a1",
)
DATA_SET = ct(UID)[scan(ct(UID)).data_offset :]


def store(
    storage: Storage, data_set: bytes = DATA_SET, *, piece_bytes: int = 100, **changes: Any
) -> StoreAnswer:
    """What a peer is answered who sends this data set in pieces."""
    reception = storage.receive(replace(REQUEST, **changes), bytearray(HELD_BYTES))
    for start in range(0, len(data_set), piece_bytes):
        reception.write(memoryview(data_set)[start : start + piece_bytes])
    return reception.complete()


@pytest.fixture
def log(tmp_path: Path) -> Iterator[SegmentLog]:
    with SegmentLog(tmp_path, headroom_bytes=0) as opened:
        yield opened


@pytest.fixture
def observer() -> Counter:
    return Counter()


@pytest.fixture
def storage(log: SegmentLog, observer: Counter) -> Storage:
    return Storage(
        log, institution="yanan", site="yanchang",
        observer=observer, clock=Noon(),
    )  # fmt: skip


def test_a_stored_instance_is_in_the_log_byte_for_byte_under_a_new_file_head(
    storage: Storage, log: SegmentLog, observer: Counter
) -> None:
    records = []
    log.subscribe(records.append)
    assert store(storage).status == 0x0000
    body = log.read(records[0])
    assert body[scan(body).data_offset :] == DATA_SET
    meta = pydicom.dcmread(io.BytesIO(body)).file_meta
    assert (meta.MediaStorageSOPInstanceUID, meta.SourceApplicationEntityTitle) == (UID, "CT1")
    header = records[0].header
    assert (header.institution, header.site, header.called_ae) == ("yanan", "yanchang", "PACS")
    assert header.received_at == "2025-03-01T12:00:00.000000Z"
    assert header.digest == scan(ct(UID)).digest
    assert observer.stored == ["yanan"]


def test_every_device_stores_for_the_sites_own_institution(storage: Storage, log: SegmentLog) -> None:
    records = []
    log.subscribe(records.append)
    store(storage, calling_ae="GUEST")
    assert records[0].header.institution == "yanan"


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"sop_instance_uid": "../../../../etc/cron.d/x"}, 0x0117),
        ({"sop_instance_uid": ""}, 0x0117),
        ({"sop_class_uid": "1.2\n"}, 0x0117),
        ({"sop_instance_uid": "1.2.3"}, 0xA900),
        ({"sop_class_uid": "1.2.840.10008.5.1.4.1.1.4"}, 0xA900),
        ({"data_set": b""}, 0xC000),
        ({"data_set": b"\x08\x00 not a data set at all"}, 0xC000),
    ],
)
def test_what_cannot_be_kept_is_refused_with_the_status_of_its_kind(
    storage: Storage, log: SegmentLog, observer: Counter, changes: dict[str, Any], status: int
) -> None:
    answer = store(storage, **changes)
    assert (answer.status, observer.refused) == (status, [status])
    assert answer.comment
    assert log.live_records == 0


@pytest.mark.parametrize(
    ("changes", "status", "comment"),
    [
        ({"sop_instance_uid": "../../etc/cron.d/x"}, 0x0117,
         "Correct it: Affected SOP Instance UID is no UID (1-64 digits ..."),
        ({"sop_instance_uid": "1.2.3"}, 0xA900,
         "Mend the sender: its SOP Instance UID is not the command's"),
        ({"data_set": b"<html><body>not an image</body></html>"}, 0xC000,
         "Send it again whole: "),
        ({"data_set": b""}, 0xC000, "Complete it: the data set has no SOP Class UID (0008,0016)"),
    ],
)  # fmt: skip
def test_a_comment_says_what_to_do_before_it_says_why(
    storage: Storage, changes: dict[str, Any], status: int, comment: str
) -> None:
    answer = store(storage, **changes)
    assert (answer.status, answer.comment[: len(comment)]) == (status, comment)
    assert len(answer.comment) <= 64


def test_a_path_as_the_uid_of_the_data_set_is_refused(storage: Storage) -> None:
    data = ct(UID).replace(UID.encode(), b"../../../../../../../../../etc/shadow"[: len(UID)])
    answer = store(storage, data[scan(ct(UID)).data_offset :])
    assert answer.status == 0x0117
    assert answer.comment.startswith("Correct it: SOP Instance UID (0008,0018) is no UID")


def test_a_data_set_that_nests_too_deep_or_is_too_long_is_refused(tmp_path: Path, storage: Storage) -> None:
    assert store(storage, nested(2000, undefined=True)[scan(ct(UID)).data_offset :]).status == 0xC000
    with SegmentLog(tmp_path / "small", headroom_bytes=0) as log:
        small = Storage(log, institution="a", site="b", limits=Limits(instance_bytes=100))
        assert store(small).status == 0xC000


def test_a_full_disk_is_refused_with_a700_and_takes_again_when_there_is_room(tmp_path: Path) -> None:
    with SegmentLog(tmp_path / "full", headroom_bytes=1 << 60) as log:
        answer = store(Storage(log, institution="yanan", site="a"))
        assert answer.status == 0xA700
        assert answer.comment == "Not stored: the archive's disk is full. Keep it, send it later"
    with SegmentLog(tmp_path / "full", headroom_bytes=0) as log:
        assert log.take_recovered() == []
        assert store(Storage(log, institution="yanan", site="a")).status == 0x0000


def test_a_stopping_service_says_that_it_failed(storage: Storage, log: SegmentLog) -> None:
    log.close()
    answer = store(storage)
    assert answer.status == 0x0110
    assert answer.comment == "Not stored: the archive's disk fails or it stops. Send it later"


def test_comments_fit_the_error_comment_element(storage: Storage) -> None:
    answer = store(storage, sop_instance_uid="é\\" * 40)
    assert answer.comment.isascii()
    assert "\\" not in answer.comment
    assert len(answer.comment) <= 64


def test_refusals_are_logged_without_the_patients_name(
    storage: Storage, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        store(storage, sop_instance_uid="1.2.3")
    assert "0xA900" in caplog.text
    assert "Synthetic" not in caplog.text
