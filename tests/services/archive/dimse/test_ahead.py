"""Rules of `services.archive.dimse.ahead`: few reads, none too large, and nothing that cannot be had otherwise."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from io import BytesIO
from typing import Any

import pytest

from services.archive.adapters.memory_store import MemoryStore
from services.archive.dimse import ahead
from services.archive.dimse.ahead import Ahead, ReadAhead
from services.archive.index.records import StoredInstance
from services.archive.ports import StoreUnavailable
from tests.services.archive.dimse.test_retrieval import filled

KEY = "packs/yanan/00/one.pack"
CONTENT = bytes(range(256)) * 40


class Counted(MemoryStore):
    """A store that notes what is read of it."""

    def __init__(self) -> None:
        super().__init__()
        self.reads: list[tuple[int, int]] = []
        self.put(KEY, BytesIO(CONTENT), len(CONTENT), sha256(CONTENT).hexdigest())

    def read(self, key: str, offset: int, length: int) -> bytes:
        self.reads.append((offset, length))
        return super().read(key, offset, length)


def instances(*places: tuple[int, int]) -> list[StoredInstance]:
    [one] = filled().index.instances(None, "1.2.4")
    return [
        replace(one, object_key=KEY, offset=offset, length=length, sop_instance_uid=f"1.{number}")
        for number, (offset, length) in enumerate(places)
    ]


def test_neighbours_are_read_together_and_come_as_they_lie(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "RANGE_BYTES", 300)
    store = Counted()
    asked = instances((0, 100), (100, 100), (200, 100), (300, 100), (900, 50), (950, 50))
    reading = ReadAhead(Ahead(store), asked)
    for one in asked:
        found = reading.bytes_of(one)
        assert found is not None
        assert bytes(found) == CONTENT[one.offset : one.offset + one.length]
    reading.close()
    assert sorted(store.reads) == [(0, 300), (300, 100), (900, 100)]


def test_a_large_instance_is_left_to_be_streamed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "RANGE_BYTES", 300)
    store = Counted()
    large, small = instances((0, 1000), (1000, 10))
    reading = ReadAhead(Ahead(store), [large, small])
    assert reading.bytes_of(large) is None
    assert bytes(reading.bytes_of(small) or b"") == CONTENT[1000:1010]
    reading.close()
    assert store.reads == [(1000, 10)]


def test_no_more_than_so_many_retrievals_read_ahead_and_the_others_stream(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ahead, "AT_ONCE", 1)
    source, [one] = Ahead(Counted()), instances((0, 10))
    first, second = ReadAhead(source, [one]), ReadAhead(source, [one])
    assert second.bytes_of(one) is None
    assert first.bytes_of(one) is not None
    second.close()
    first.close()
    first.close()
    third = ReadAhead(source, [one])
    assert third.bytes_of(one) is not None
    third.close()


def test_what_cannot_be_read_ahead_is_left_to_be_streamed(monkeypatch: pytest.MonkeyPatch) -> None:
    store, [one] = Counted(), instances((0, 10))

    def away(*_: Any) -> bytes:
        raise StoreUnavailable("away")

    monkeypatch.setattr(store, "read", away)
    reading = ReadAhead(Ahead(store), [one])
    assert reading.bytes_of(one) is None
    reading.close()
