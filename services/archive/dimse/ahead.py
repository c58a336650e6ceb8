"""Reading ahead for C-GET and C-MOVE: a study from the object store in few large ranges, the next while one is sent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from threading import BoundedSemaphore

from services.archive.index.records import StoredInstance
from services.archive.ports import ObjectStore, ObjectStoreError

RANGE_BYTES = 4 << 20
AT_ONCE = 16
"""Retrievals that may read ahead at the same time; each holds two ranges at most, and all others none."""


@dataclass(frozen=True, slots=True)
class _Range:
    """Bytes of one object that hold instances one after the other."""

    key: str
    offset: int
    length: int
    count: int


class Ahead:
    """Makes `ReadAhead`s for retrievals, over a few threads of its own."""

    def __init__(self, store: ObjectStore) -> None:
        self.store = store
        self.pool = ThreadPoolExecutor(4, thread_name_prefix="retrieve-ahead")
        self.room = BoundedSemaphore(AT_ONCE)


class ReadAhead:
    """The bytes of `instances`, which are asked for in this order, each once; `close` it in the end."""

    def __init__(self, ahead: Ahead, instances: Sequence[StoredInstance]) -> None:
        self._ahead = ahead
        self._holds_room = ahead.room.acquire(blocking=False)
        self._ranges = list(_ranges(instances)) if self._holds_room else []
        self._place = {one.sop_instance_uid: number for number, one in _numbered(instances, self._ranges)}
        self._reads: dict[int, Future[bytes]] = {}

    def bytes_of(self, stored: StoredInstance) -> memoryview | None:
        """The Part 10 bytes; None where they are to be streamed: a large instance, or one that could not be read."""
        number = self._place.get(stored.sop_instance_uid)
        if number is None or self._ranges[number].length > RANGE_BYTES:
            return None
        for earlier in [one for one in self._reads if one < number]:
            del self._reads[earlier]
        for wanted in (number, number + 1):
            self._begin(wanted)
        one = self._ranges[number]
        try:
            content = self._reads[number].result()
        except ObjectStoreError:
            return None
        start = stored.offset - one.offset
        return memoryview(content)[start : start + stored.length]

    def close(self) -> None:
        """Nothing more is asked for."""
        if self._holds_room:
            self._holds_room = False
            self._place.clear()
            self._reads.clear()
            self._ahead.room.release()

    def _begin(self, number: int) -> None:
        if number in self._reads or number >= len(self._ranges):
            return
        one = self._ranges[number]
        if one.length <= RANGE_BYTES:
            self._reads[number] = self._ahead.pool.submit(
                self._ahead.store.read, one.key, one.offset, one.length
            )


def _ranges(instances: Sequence[StoredInstance]) -> Iterator[_Range]:
    """Neighbours in a pack together, as far as they fit; a larger instance alone."""
    current: _Range | None = None
    for one in instances:
        if (
            current is not None
            and (current.key, current.offset + current.length) == (one.object_key, one.offset)
            and current.length + one.length <= RANGE_BYTES
        ):
            current = _Range(current.key, current.offset, current.length + one.length, current.count + 1)
            continue
        if current is not None:
            yield current
        current = _Range(one.object_key, one.offset, one.length, 1)
    if current is not None:
        yield current


def _numbered(
    instances: Sequence[StoredInstance], ranges: Sequence[_Range]
) -> Iterator[tuple[int, StoredInstance]]:
    rest = iter(instances)
    for number, one in enumerate(ranges):
        for _ in range(one.count):
            yield number, next(rest)
