"""Rules of `services.packs.segment`: durable before acknowledged, whole or not at all, found again."""

from __future__ import annotations

import errno
import os
import threading
from concurrent.futures import Future
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.packs.instance import scan
from services.packs.segment import (
    LogBusy,
    LogFailed,
    OutOfRoom,
    Record,
    RecordDamaged,
    RecordHeader,
    SegmentLog,
)
from tests.services.packs.synthetic import STUDY, ct

WAIT = 10.0


def header(uid: str = STUDY + ".1.1", association: str = "a1") -> RecordHeader:
    return RecordHeader.for_instance(
        scan(ct(uid)),
        institution="yanan",
        site="yanchang",
        calling_ae="CT1",
        called_ae="PACS",
        received_at=datetime(2025, 3, 1, 12, tzinfo=UTC),
        association=association,
    )


def open_log(path: Path, **options: Any) -> SegmentLog:
    return SegmentLog(path, **{"headroom_bytes": 0, **options})


def append(log: SegmentLog, body: bytes, uid: str = STUDY + ".1.1") -> Record:
    return log.append(header(uid), body).result(WAIT)


def segments(path: Path) -> list[Path]:
    return sorted(path.glob("*.seg"))


def test_a_record_is_read_back_and_recovered_with_its_header(tmp_path: Path) -> None:
    with open_log(tmp_path) as log:
        record = log.append(header(), b"head", memoryview(b"body")).result(WAIT)
        assert log.read(record) == b"headbody"
    with open_log(tmp_path) as log:
        assert log.take_recovered() == [record]
        assert log.take_recovered() == []
        assert log.read(record) == b"headbody"


def test_the_layout_is_the_one_that_the_contract_describes(tmp_path: Path) -> None:
    with open_log(tmp_path) as log:
        record = append(log, b"body")
        content = segments(tmp_path)[0].read_bytes()
    assert segments(tmp_path)[0].name == "0000000000000001.seg"
    assert content[:8] == b"PACSSEG1"
    assert content[8:12] == b"REC1"
    size = int.from_bytes(content[12:16], "little")
    assert int.from_bytes(content[16:24], "little") == 4
    assert b'"sop_instance_uid":"' + STUDY.encode() in content[24 : 24 + size]
    assert content[24 + size : 28 + size] == b"body"
    assert (record.offset, record.length, len(content)) == (8, 4, 32 + size)


def test_success_is_not_reported_before_fdatasync_returned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, leave = threading.Event(), threading.Event()
    real = os.fdatasync

    def slow(descriptor: int) -> None:
        entered.set()
        assert leave.wait(WAIT)
        real(descriptor)

    with open_log(tmp_path) as log:
        monkeypatch.setattr(os, "fdatasync", slow)
        future = log.append(header(), b"body")
        assert entered.wait(WAIT)
        assert not future.done()
        leave.set()
        assert future.result(WAIT).length == 4


def test_records_that_wait_together_share_one_fdatasync(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, leave, calls = threading.Event(), threading.Event(), []
    real = os.fdatasync

    def counted(descriptor: int) -> None:
        calls.append(descriptor)
        first.set()
        assert leave.wait(WAIT)
        real(descriptor)

    with open_log(tmp_path) as log:
        monkeypatch.setattr(os, "fdatasync", counted)
        futures = [log.append(header(), b"first")]
        assert first.wait(WAIT)
        futures += [log.append(header(), b"later") for _ in range(20)]
        leave.set()
        assert len({future.result(WAIT).offset for future in futures}) == 21
    assert len(calls) == 2


def test_listeners_know_a_record_before_its_sender_does(tmp_path: Path) -> None:
    seen: list[Record] = []
    with open_log(tmp_path) as log:
        log.subscribe(seen.append)
        assert seen == [append(log, b"body")]


def test_a_full_segment_is_followed_by_the_next(tmp_path: Path) -> None:
    with open_log(tmp_path, segment_bytes=2000) as log:
        records = [append(log, bytes(500)) for _ in range(4)]
        assert len(segments(tmp_path)) > 1
        assert [len(log.read(record)) for record in records] == [500] * 4
        assert log.read(append(log, bytes(9000))) == bytes(9000)


def test_a_segment_is_deleted_only_when_its_last_record_is_released(tmp_path: Path) -> None:
    with open_log(tmp_path) as log:
        one, two = append(log, b"one"), append(log, b"two")
        log.release([one])
        assert log.read(two) == b"two"
        log.release([two])
        assert segments(tmp_path) == []
        log.release([two])
        assert log.read(append(log, b"three")) == b"three"
    assert list(tmp_path.glob("*.released")) == []


def test_a_released_record_does_not_come_back_after_a_restart(tmp_path: Path) -> None:
    with open_log(tmp_path) as log:
        one, two = append(log, b"one"), append(log, b"two")
        log.release([one])
    with open_log(tmp_path) as log:
        assert log.take_recovered() == [two]


def test_recovery_keeps_what_is_before_a_torn_record(tmp_path: Path) -> None:
    with open_log(tmp_path) as log:
        kept = [append(log, b"one"), append(log, b"two")]
        torn = append(log, bytes(100))
    path = segments(tmp_path)[0]
    whole = path.read_bytes()
    for length in range(torn.offset, len(whole)):
        path.write_bytes(whole[:length])
        with open_log(tmp_path) as log:
            assert log.take_recovered() == kept


def test_recovery_skips_a_damaged_record_and_keeps_the_acknowledged_ones_behind_it(tmp_path: Path) -> None:
    with open_log(tmp_path) as log:
        one, two, three = (append(log, body) for body in (b"one", b"two", b"three"))
    path = segments(tmp_path)[0]
    content = bytearray(path.read_bytes())
    content[content.index(b"two")] ^= 1
    path.write_bytes(content)
    with open_log(tmp_path) as log:
        assert log.take_recovered() == [one, three]
        with pytest.raises(RecordDamaged):
            log.read(two)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(garbage=st.binary(max_size=300))
def test_any_bytes_in_the_directory_are_survived(tmp_path: Path, garbage: bytes) -> None:
    (tmp_path / "0000000000000001.seg").write_bytes(b"PACSSEG1" + garbage)
    (tmp_path / "0000000000000001.released").write_bytes(garbage)
    with open_log(tmp_path) as log:
        assert log.take_recovered() == []
        record = append(log, b"after")
        assert log.read(record) == b"after"
        log.release([record])


def test_two_processes_cannot_share_a_worker_directory(tmp_path: Path) -> None:
    with open_log(tmp_path), pytest.raises(LogBusy):
        open_log(tmp_path)


def test_headroom_for_sealing_is_never_given_to_new_instances(tmp_path: Path) -> None:
    with open_log(tmp_path, headroom_bytes=1 << 60) as log:
        with pytest.raises(OutOfRoom, match="sealing needs"):
            log.append(header(), b"body").result(WAIT)
        assert segments(tmp_path) == []


def full_after(monkeypatch: pytest.MonkeyPatch, free: int, code: int = errno.ENOSPC) -> None:
    """The file system takes `free` more bytes, the last of them in a short write, then fails."""
    real = os.pwritev

    def limited(descriptor: int, buffers: list[memoryview], offset: int) -> int:
        nonlocal free
        if free == 0:
            raise OSError(code, os.strerror(code))
        taken = min(free, sum(len(view) for view in buffers))
        free -= taken
        return real(descriptor, [b"".join(buffers)[:taken]], offset)

    monkeypatch.setattr(os, "pwritev", limited)


@pytest.mark.parametrize("free", [0, 10, 400])
def test_a_full_disk_is_a_typed_error_and_leaves_the_log_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int
) -> None:
    with open_log(tmp_path) as log:
        kept = [append(log, b"one")]
        size = segments(tmp_path)[0].stat().st_size
        with monkeypatch.context() as patched:
            full_after(patched, free)
            with pytest.raises(OutOfRoom):
                log.append(header(), bytes(1000)).result(WAIT)
        assert segments(tmp_path)[0].stat().st_size == size
        kept.append(append(log, b"two"))
    with open_log(tmp_path) as log:
        assert log.take_recovered() == kept


def test_a_disk_that_is_full_when_a_segment_is_made_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_log(tmp_path) as log:
        with monkeypatch.context() as patched:
            full_after(patched, 4)
            with pytest.raises(OutOfRoom):
                append(log, b"one")
        assert segments(tmp_path) == []
        assert log.read(append(log, b"two")) == b"two"


@pytest.mark.parametrize(("code", "expected"), [(errno.EIO, LogFailed), (errno.ENOSPC, OutOfRoom)])
def test_after_a_failed_sync_nothing_unsynced_is_acknowledged_by_a_later_good_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, expected: type[Exception]
) -> None:
    entered, leave = threading.Event(), threading.Event()

    def failing(descriptor: int) -> None:
        entered.set()
        assert leave.wait(WAIT)
        raise OSError(code, os.strerror(code))

    with open_log(tmp_path) as log:
        kept = append(log, b"kept")
        futures: list[Future[Record]]
        with monkeypatch.context() as patched:
            patched.setattr(os, "fdatasync", failing)
            futures = [log.append(header(), b"first")]
            assert entered.wait(WAIT)
            # Written to the same segment while the sync that fails is under way.
            futures.append(log.append(header(), b"second"))
            leave.set()
            assert isinstance(futures[0].exception(WAIT), expected)
        assert isinstance(futures[1].exception(WAIT), expected)
        after = append(log, b"after")
        assert after.segment != kept.segment
    with open_log(tmp_path) as log:
        assert log.take_recovered() == [kept, after]


def test_a_closed_log_takes_nothing(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    log.close()
    with pytest.raises(LogFailed, match="stopping"):
        log.append(header(), b"late").result(WAIT)


def test_many_threads_lose_nothing(tmp_path: Path) -> None:
    records: list[Record] = []

    def send(log: SegmentLog, worker: int) -> None:
        records.extend(append(log, f"{worker}-{number}".encode()) for number in range(25))

    with open_log(tmp_path, segment_bytes=4000) as log:
        threads = [threading.Thread(target=send, args=(log, worker)) for worker in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        read = {log.read(record) for record in records}
        assert read == {f"{worker}-{number}".encode() for worker in range(8) for number in range(25)}
        log.release(records)
        assert log.live_records == 0
    assert segments(tmp_path) == []


def test_a_segment_that_cannot_be_removed_leaves_no_sender_without_an_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_log(tmp_path, segment_bytes=1) as log:
        first = append(log, b"one")

        def fail(_: Path) -> None:
            raise OSError(errno.EIO, "Input/output error")

        monkeypatch.setattr("services.packs.segment_file.sync_directory", fail)
        with pytest.raises(OSError, match="Input/output"):
            log.release([first])
        monkeypatch.undo()
        assert append(log, b"two").length == 3


def test_room_for_a_second_copy_of_all_that_waits_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = 1000

    class Disk:
        f_bavail, f_frsize = free, 1

    body = b"x" * 100
    with open_log(tmp_path, headroom_bytes=50) as log:
        append(log, body)
        written = segments(tmp_path)[0].stat().st_size
        monkeypatch.setattr(os, "statvfs", lambda _: Disk)
        size = written - 8  # the record that would come, less the segment's own head
        Disk.f_bavail = 50 + written + 2 * size - 1
        with pytest.raises(OutOfRoom, match=f"less than the {50 + written + size} that sealing needs"):
            append(log, body)
        Disk.f_bavail += 1
        append(log, body)


def test_what_an_earlier_process_left_counts_as_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_log(tmp_path) as log:
        append(log, b"x" * 5000)

    class Disk:
        f_bavail, f_frsize = 5000, 1

    monkeypatch.setattr(os, "statvfs", lambda _: Disk)
    with open_log(tmp_path) as log, pytest.raises(OutOfRoom):
        append(log, b"y")
