"""Rules of `services.packs.long_segment`: a record that is written while it arrives is one like any other."""

from __future__ import annotations

import errno
import os
import zlib
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.packs.instance import scan
from services.packs.record import RecordHeader, combined_crc32
from services.packs.segment import LogFailed, OutOfRoom, SegmentLog
from tests.services.packs.synthetic import STUDY, ct

HEADER = RecordHeader.for_instance(
    scan(ct(STUDY + ".1.1")), institution="yanan", site="yanchang", calling_ae="CT1", called_ae="PACS",
    received_at=datetime(2025, 3, 1, 12, tzinfo=UTC), association="a1",
)  # fmt: skip
BODY = bytes(range(256)) * 5000
WAIT = 10.0


def open_log(path: Path) -> SegmentLog:
    return SegmentLog(path, headroom_bytes=0)


def names(path: Path) -> list[str]:
    return sorted(found.name for found in path.iterdir() if found.name != "lock")


@given(st.binary(), st.binary())
def test_the_crc_of_two_parts_is_that_of_the_whole(first: bytes, second: bytes) -> None:
    combined = combined_crc32(zlib.crc32(first), zlib.crc32(second), len(second))
    assert combined == zlib.crc32(first + second)


def test_it_is_read_back_recovered_and_deleted_with_its_release(tmp_path: Path) -> None:
    with open_log(tmp_path) as log:
        long = log.begin()
        for start in range(0, len(BODY), 100_000):
            long.write(memoryview(BODY)[start : start + 100_000])
        assert long.body() == BODY
        assert names(tmp_path) == ["0000000000000001.part"]
        record = long.commit(HEADER).result(WAIT)
        assert names(tmp_path) == ["0000000000000001.seg"]
        assert log.read(record) == BODY
    with open_log(tmp_path) as log:
        assert log.take_recovered() == [record]
        assert log.read(record) == BODY
        log.release([record])
        assert names(tmp_path) == []


def test_two_at_once_and_short_records_between_them_do_not_mix(tmp_path: Path) -> None:
    with open_log(tmp_path) as log:
        first, second = log.begin(), log.begin()
        first.write(b"first ")
        second.write(b"second ")
        short = log.append(HEADER, b"short").result(WAIT)
        first.write(b"body")
        second.write(b"body")
        records = [second.commit(HEADER).result(WAIT), first.commit(HEADER).result(WAIT), short]
        assert [bytes(log.read(record)) for record in records] == [b"second body", b"first body", b"short"]
        assert log.live_records == 3


def test_what_is_discarded_or_interrupted_leaves_nothing(tmp_path: Path) -> None:
    with open_log(tmp_path) as log:
        long = log.begin()
        long.write(BODY)
        long.discard()
        assert names(tmp_path) == []
        log.begin().write(BODY)
    assert names(tmp_path) == ["0000000000000002.part"]  # as a crash leaves it
    with open_log(tmp_path) as log:
        assert log.take_recovered() == []
        assert names(tmp_path) == []


@pytest.mark.parametrize("call", ["fdatasync", "rename"])
def test_what_the_disk_did_not_take_is_not_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "broken")

    with open_log(tmp_path) as log:
        long = log.begin()
        long.write(BODY)
        with monkeypatch.context() as patch:
            patch.setattr(os if call == "fdatasync" else Path, call, fail)
            with pytest.raises(LogFailed):
                long.commit(HEADER).result(WAIT)
        assert log.append(HEADER, b"next").result(WAIT)
        assert log.live_records == 1
    with open_log(tmp_path) as log:
        assert [record.length for record in log.take_recovered()] == [4]


def test_it_is_not_acknowledged_before_fdatasync_rename_and_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    with open_log(tmp_path) as log:
        long = log.begin()
        long.write(BODY)
        for owner, name in ((os, "fdatasync"), (os, "fsync"), (Path, "rename")):
            real = getattr(owner, name)

            def noted(*arguments: object, real: object = real, name: str = name) -> object:
                steps.append(name)
                return real(*arguments)  # type: ignore[operator]

            monkeypatch.setattr(owner, name, noted)
        long.commit(HEADER).result(WAIT)
        assert steps == ["fdatasync", "rename", "fsync"]


def test_a_full_disk_is_told_while_it_arrives(tmp_path: Path) -> None:
    with open_log(tmp_path) as log:
        long = log.begin()
        long.write(b"beginning")
        log._headroom_bytes = 1 << 60
        with pytest.raises(OutOfRoom):
            long.write(b"more")
        long.discard()
        with pytest.raises(OutOfRoom):
            log.begin()
    assert names(tmp_path) == []


def test_a_log_that_is_closed_takes_no_more_of_it(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    long = log.begin()
    log.close()
    with pytest.raises(LogFailed):
        long.write(b"late")
    long.discard()
