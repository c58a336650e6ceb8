"""Rules of `services.packs.segment`: durable before acknowledged, whole or not at all, found again."""

from __future__ import annotations

import errno
import os
import threading
import zlib
from concurrent.futures import Future
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.common.health import ended
from services.packs.instance import scan
from services.packs.record import SEGMENT_HEADER_BYTES
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
    assert content[:8] == b"PACSSEG2"
    key = content[8:16]
    assert content[16:28] == b"REC2" + key
    size = int.from_bytes(content[28:32], "little")
    assert int.from_bytes(content[32:40], "little") == 4
    assert int.from_bytes(content[40:44], "little") == zlib.crc32(content[16:40])
    assert b'"sop_instance_uid":"' + STUDY.encode() in content[44 : 44 + size]
    assert content[44 + size : 48 + size] == b"body"
    assert int.from_bytes(content[48 + size :], "little") == zlib.crc32(content[44 : 48 + size])
    assert (record.offset, record.length, len(content)) == (16, 4, 52 + size)


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


def test_notes_that_a_power_cut_kept_do_not_release_a_later_record(tmp_path: Path) -> None:
    notes = tmp_path / "0000000000000001.released"
    with open_log(tmp_path) as log:
        one, two = append(log, b"one"), append(log, b"two")
        log.release([one])
        kept = notes.read_bytes()
        log.release([two])
    notes.write_bytes(kept)
    with open_log(tmp_path) as log:
        assert not notes.exists(), "notes without a segment are removed at start"
        three = append(log, b"three")
    assert (three.segment, three.offset) == (one.segment, one.offset)
    notes.write_bytes(kept)
    with open_log(tmp_path) as log:
        assert log.take_recovered() == [three]


def test_a_note_that_a_crash_cut_short_does_not_garble_the_next_ones(tmp_path: Path) -> None:
    with open_log(tmp_path) as log:
        one, two, three = (append(log, body) for body in (b"one", b"two", b"three"))
        log.release([one])
        with (tmp_path / "0000000000000001.released").open("ab") as file:
            file.write(b"\1\2\3")
        log.release([two])
    with open_log(tmp_path) as log:
        assert log.take_recovered() == [three]


@settings(max_examples=60, deadline=None)
@given(
    steps=st.lists(st.sampled_from(["append", "release", "restart", "power cut"]), max_size=25),
    data=st.data(),
)
def test_no_restart_loses_an_acknowledged_record_or_brings_a_released_one_back(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str], data: st.DataObject
) -> None:
    path, live, notes = tmp_path_factory.mktemp("spool"), set[Record](), dict[Path, bytes]()
    log = open_log(path, segment_bytes=1200)
    for step in [*steps, "restart"]:
        if step == "append":
            live.add(append(log, b"body"))
        elif step == "release" and live:
            record = data.draw(st.sampled_from(sorted(live, key=lambda one: (one.segment, one.offset))))
            log.release([record])
            live.remove(record)
            notes |= {file: file.read_bytes() for file in path.glob("*.released")}
        elif step in ("restart", "power cut"):
            log.close()
            for file, content in notes.items():
                # Names that were removed and not synced may be there again after a power cut.
                if step == "power cut" and not file.exists() and data.draw(st.booleans()):
                    file.write_bytes(content)
            log = open_log(path, segment_bytes=1200)
            assert set(log.take_recovered()) == live
    log.close()


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
    assert not (tmp_path / "quarantine").exists(), "an interrupted append was never acknowledged"


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


FIVE = [b"one", b"two" * 50, b"three", b"four", b"five"]


def five_records(path: Path) -> tuple[list[Record], bytearray]:
    """Five acknowledged records in one segment, and its bytes."""
    with open_log(path) as log:
        records = [append(log, body) for body in FIVE]
    return records, bytearray(segments(path)[0].read_bytes())


def preserved(path: Path) -> list[bytes]:
    return [file.read_bytes() for file in (path / "quarantine").glob("*")]


@settings(max_examples=300, deadline=None)
@given(where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_one_flipped_bit_costs_one_record_at_most_and_nothing_that_is_damaged_is_deleted(
    tmp_path_factory: pytest.TempPathFactory, where: float, bit: int
) -> None:
    path = tmp_path_factory.mktemp("spool")
    records, content = five_records(path)
    content[int(where * len(content))] ^= 1 << bit
    segments(path)[0].write_bytes(content)
    counted: list[None] = []
    with open_log(path, set_aside=lambda: counted.append(None)) as log:
        recovered = log.take_recovered()
        assert set(recovered) <= set(records)
        assert len(recovered) >= len(records) - 1
        assert {bytes(log.read(record)) for record in recovered} <= set(FIVE)
        log.release(recovered)
    assert segments(path) == []
    assert preserved(path) == [bytes(content)]
    assert len(counted) == 1


def test_a_damaged_segment_is_counted_once_however_often_the_archive_starts(tmp_path: Path) -> None:
    records, content = five_records(tmp_path)
    content[records[1].offset + 12] ^= 1  # the length of its header
    segments(tmp_path)[0].write_bytes(content)
    counted: list[None] = []
    for _ in range(3):
        with open_log(tmp_path, set_aside=lambda: counted.append(None)) as log:
            assert log.take_recovered() == [records[0], *records[2:]]
    assert len(counted) == 1


def test_a_segment_without_one_readable_record_is_kept_for_support(tmp_path: Path) -> None:
    earlier_version = b"PACSSEG1" + b"REC1" + bytes(range(200))
    (tmp_path / "0000000000000007.seg").write_bytes(earlier_version)
    with open_log(tmp_path) as log:
        assert log.take_recovered() == []
    assert preserved(tmp_path) == [earlier_version]


@pytest.mark.parametrize("empty", [b"", b"PACS", bytes(4096), b"PACSSEG2" + b"12345678"])
def test_a_segment_that_was_only_being_made_is_removed(tmp_path: Path, empty: bytes) -> None:
    (tmp_path / "0000000000000007.seg").write_bytes(empty)
    with open_log(tmp_path):
        assert segments(tmp_path) == []
    assert preserved(tmp_path) == []


def test_what_cannot_be_preserved_yet_is_not_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records, content = five_records(tmp_path)
    content[records[0].offset + 20] ^= 1
    segments(tmp_path)[0].write_bytes(content)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with open_log(tmp_path) as log:
        log.take_recovered()
    (next((tmp_path / "quarantine").iterdir())).unlink()
    with monkeypatch.context() as patched:
        patched.setattr(os, "link", full)
        with open_log(tmp_path) as log:
            recovered = log.take_recovered()
            assert recovered == records[1:]
            with pytest.raises(OSError, match="No space"):
                log.release(recovered)
    assert [path.read_bytes() for path in segments(tmp_path)] == [bytes(content)]


def test_bytes_that_a_peer_sent_never_pass_for_a_record(tmp_path: Path) -> None:
    with open_log(tmp_path / "own") as log:
        append(log, b"forged", STUDY + ".6.6.6")
    forged = segments(tmp_path / "own")[0].read_bytes()[16:]
    with open_log(tmp_path / "log") as log:
        append(log, forged)
    path = segments(tmp_path / "log")[0]
    content = bytearray(path.read_bytes())
    content[30] ^= 1
    path.write_bytes(content)
    with open_log(tmp_path / "log") as log:
        assert log.take_recovered() == []


def test_a_sector_that_cannot_be_read_costs_its_record_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records, content = five_records(tmp_path)
    real = os.pread

    def failing(descriptor: int, length: int, offset: int) -> bytes:
        if offset <= records[1].offset + 30 < offset + length:
            raise OSError(errno.EIO, "Input/output error")
        return real(descriptor, length, offset)

    with monkeypatch.context() as patched:
        patched.setattr(os, "pread", failing)
        patched.setattr("services.packs.segment_scan._PIECE", 64)
        with open_log(tmp_path) as log:
            assert log.take_recovered() == [records[0], *records[2:]]
    assert preserved(tmp_path) == [bytes(content)]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(garbage=st.binary(max_size=300))
def test_any_bytes_in_the_directory_are_survived(tmp_path: Path, garbage: bytes) -> None:
    (tmp_path / "0000000000000001.seg").write_bytes(b"PACSSEG2" + garbage)
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


def test_a_segment_that_cannot_be_removed_ends_no_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with open_log(tmp_path) as log:
        with monkeypatch.context() as patched:
            patched.setattr(os, "fdatasync", failing)
            patched.setattr("services.packs.segment_file.SegmentFile.delete", failing)
            with pytest.raises(LogFailed):
                append(log, b"refused")
            with pytest.raises(LogFailed):
                append(log, b"refused too")
        assert log.read(append(log, b"taken")) == b"taken"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_when_the_thread_that_syncs_ends_nobody_waits_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: object) -> None:
        raise RuntimeError("a fault of ours")

    log = open_log(tmp_path)
    monkeypatch.setattr("services.packs.segment_file.SegmentFile.sync", broken)
    with pytest.raises(LogFailed, match="stopped"):
        append(log, b"one")
    with pytest.raises(LogFailed, match="stopping"):
        append(log, b"two")
    log.threads[0].join(WAIT)
    assert ended(log.threads) is not None
    log.close()


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
        size = written - SEGMENT_HEADER_BYTES  # the record that would come, less the segment's own head
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
