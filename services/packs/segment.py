"""The segment log: where received instances become durable before success is answered (contracts, section 4).

One directory per worker process. `append` writes a record and returns a future; a thread makes all waiting
records durable with one fdatasync and only then resolves their futures. Errors:

    LogError
    |-- OutOfRoom       no room left, or only the headroom that sealing needs; the log is as it was before
    |-- LogFailed       the disk did not take the bytes; the record counts as not received
    |-- LogBusy         another process uses this worker's directory
    `-- RecordDamaged   a record cannot be read back as it was written
"""

from __future__ import annotations

import fcntl
import logging
import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from pathlib import Path
from typing import BinaryIO, NamedTuple, Self

from services.common.durable import sync_directory
from services.packs.long_segment import UNFINISHED, LongRecord, LongSegment
from services.packs.record import (
    SEGMENT_HEADER_BYTES,
    Buffer,
    LogError,
    Record,
    RecordDamaged,
    RecordHeader,
    encode,
)
from services.packs.segment_file import LogFailed, OutOfRoom, SegmentFile

__all__ = [
    "LogBusy",
    "LogError",
    "LogFailed",
    "LongRecord",
    "OutOfRoom",
    "Record",
    "RecordDamaged",
    "RecordHeader",
    "SegmentLog",
]

logger = logging.getLogger(__name__)


class LogBusy(LogError):
    """Two processes were given the same worker directory."""


class _Waiting(NamedTuple):
    segment: SegmentFile
    record: Record
    end: int
    future: Future[Record]


class SegmentLog:
    """Append-only log of received instances with group commit; safe to use from many threads.

    Room for a second copy of all that lies here stays free for the packs that empty the log, and
    `headroom_bytes` beyond it. A segment that holds unreadable bytes is kept in `quarantine` (same file system;
    `<directory>/quarantine` unless told), and `set_aside` is called. `durable=False` leaves every fdatasync out:
    it exists for the power-loss test's control, which must fail, and for nothing else.
    """

    def __init__(
        self,
        directory: Path,
        *,
        segment_bytes: int = 64 << 20,
        headroom_bytes: int = 256 << 20,
        quarantine: Path | None = None,
        set_aside: Callable[[], None] = lambda: None,
        durable: bool = True,
    ) -> None:
        self._directory, self._quarantine = directory, quarantine or directory / "quarantine"
        self._set_aside = set_aside
        self._segment_bytes, self._headroom_bytes, self._durable = segment_bytes, headroom_bytes, durable
        directory.mkdir(parents=True, exist_ok=True)
        self._lock_file = _lock(directory)
        self._lock = threading.Lock()
        self._wake = threading.Condition(self._lock)
        self._pending: list[_Waiting] = []
        self._listeners: list[Callable[[Record], None]] = []
        self._segments: dict[int, SegmentFile] = {}
        self._active: SegmentFile | None = None
        self._next = 1
        self._closing = False
        self._recovered = self._recover()
        self._flusher = threading.Thread(
            target=self._flush_forever, name=f"fdatasync-{directory.name}", daemon=True
        )
        self._flusher.start()

    def subscribe(self, listener: Callable[[Record], None]) -> None:
        """Call `listener` with each record once it is durable and before its future resolves.

        It runs on the log's thread and must neither block nor raise. Subscribe before the first append.
        """
        self._listeners.append(listener)

    def take_recovered(self) -> list[Record]:
        """Records of an earlier life that are not released yet, oldest first; a second call returns none."""
        recovered, self._recovered = self._recovered, []
        return recovered

    def append(self, header: RecordHeader, *body: Buffer) -> Future[Record]:
        """Write one record (the body may come in parts); the future resolves when it is durable.

        The future raises `OutOfRoom` or `LogFailed`; then the record was not taken.
        """
        future: Future[Record] = Future()
        future.set_running_or_notify_cancel()  # what is written cannot be cancelled
        encoded = encode(header, body)
        with self._lock:
            try:
                segment = self._segment_for(encoded.size)
                offset = segment.append(encoded.parts(segment.key))
            except LogError as error:
                if self._active is not None and self._active.failure is not None:
                    self._retire(self._active)
                future.set_exception(error)
                return future
            record = Record(header, segment.sequence, offset, encoded.length)
            segment.waiting += 1
            self._pending.append(_Waiting(segment, record, offset + encoded.size, future))
            self._wake.notify()
        return future

    def begin(self) -> LongRecord:
        """A record to be written piece by piece, for what is too long to be held. Raises `OutOfRoom`, `LogFailed`."""
        with self._lock:
            self._check_room(0)
            segment = LongSegment(self._path(self._next))
            segment.waiting = 1
            self._segments[self._next] = segment
            self._next += 1
        return LongRecord(
            segment, check_room=self._check_room_for_piece, enqueue=self._enqueue, discard=self._discard
        )

    def read(self, record: Record) -> memoryview:
        """The body of a record that is not released, a long one mapped and not held in memory. Raises `RecordDamaged`."""
        with self._lock:
            segment = self._segments.get(record.segment)
        if segment is None:
            raise RecordDamaged(f"segment {record.segment} is released")
        return segment.read(record)

    def preserve(self, record: Record) -> None:
        """Keep the record's whole segment in quarantine, for support, beyond its release."""
        with self._lock:
            segment = self._segments.get(record.segment)
        if segment is not None:
            segment.damaged = True
            self._preserve(segment)

    def release(self, records: Iterable[Record]) -> None:
        """Note that these records lie in durable packs; a segment whose records are all released is deleted.

        The note itself is durable, so that a restart does not seal a record twice. Raises `OSError` where the
        disk does not take it; the call may be repeated.
        """
        by_segment: dict[int, list[int]] = {}
        for record in records:
            by_segment.setdefault(record.segment, []).append(record.offset)
        for sequence, offsets in by_segment.items():
            with self._lock:
                segment = self._segments.get(sequence)
                if segment is None:
                    continue  # released before
                segment.live.difference_update(offsets)
                if segment is self._active and not segment.live and not segment.waiting:
                    self._retire(segment)
                emptied = self._is_empty(segment)
            if emptied:
                self._delete(segment)
            else:
                segment.note_released(offsets)

    @property
    def threads(self) -> list[threading.Thread]:
        """The thread that makes records durable; without it nothing is taken."""
        return [self._flusher]

    @property
    def live_records(self) -> int:
        """How many durable records wait to be sealed."""
        with self._lock:
            return sum(len(segment.live) for segment in self._segments.values())

    def close(self) -> None:
        """Make what is waiting durable, then let go of the directory."""
        with self._lock:
            self._closing = True
            self._wake.notify()
        self._flusher.join()
        with self._lock:
            for segment in self._segments.values():
                segment.close()
        self._lock_file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _path(self, sequence: int) -> Path:
        return self._directory / f"{sequence:016d}.seg"

    def _segment_for(self, size: int) -> SegmentFile:
        """The segment that takes `size` more bytes; a new one where the present one is full. Lock held."""
        self._check_room(size)
        active = self._active
        if (
            active is not None
            and active.written + size > self._segment_bytes
            and active.written > SEGMENT_HEADER_BYTES
        ):
            self._retire(active)
        if self._active is None:
            self._active = SegmentFile.create(self._path(self._next), durable=self._durable)
            self._segments[self._next] = self._active
            self._next += 1
        return self._active

    def _check_room(self, size: int) -> None:
        """Whether `size` bytes more may be taken. Lock held. Raises `OutOfRoom`, `LogFailed`."""
        if self._closing:
            raise LogFailed("the segment log is closed: the service is stopping; send again later")
        stat = os.statvfs(self._directory)
        free = stat.f_bavail * stat.f_frsize
        # Whatever is taken is written again, into a pack, before its segment can go.
        needed = self._headroom_bytes + size + sum(segment.written for segment in self._segments.values())
        if free - size < needed:
            raise OutOfRoom(
                f"{self._directory} has {free} bytes free; {size} bytes more of an instance would leave less than "
                f"the {needed} that sealing needs. Free or add space; the sender may try again."
            )

    def _check_room_for_piece(self, size: int) -> None:
        with self._lock:
            self._check_room(size)

    def _enqueue(self, segment: LongSegment, record: Record, end: int) -> Future[Record]:
        """Have a record that was written by `begin` made durable."""
        future: Future[Record] = Future()
        future.set_running_or_notify_cancel()
        with self._lock:
            if self._closing:
                raise LogFailed("the segment log is closed: the service is stopping; send again later")
            self._pending.append(_Waiting(segment, record, end, future))
            self._wake.notify()
        return future

    def _discard(self, segment: LongSegment) -> None:
        """Forget a record that `begin` made."""
        with self._lock:
            segment.waiting = 0
            self._segments.pop(segment.sequence, None)
        segment.close()
        try:
            segment.delete()
        except OSError:  # it takes room until the next start
            logger.exception("segment %s could not be removed", segment.path.name)

    def _retire(self, segment: SegmentFile) -> None:
        """Append to this segment no more. Lock held."""
        if self._active is segment:
            self._active = None
        if not segment.waiting:
            segment.close()

    def _is_empty(self, segment: SegmentFile) -> bool:
        """Whether nobody needs the segment's file any more. Lock held."""
        return not (segment is self._active or segment.waiting or segment.live)

    def _delete(self, segment: SegmentFile) -> None:
        """Remove an empty segment, but not what cannot be read in it. Raises `OSError`; it is then still known."""
        if segment.damaged:
            self._preserve(segment)
        segment.delete()
        with self._lock:
            self._segments.pop(segment.sequence, None)

    def _preserve(self, segment: SegmentFile) -> None:
        # The inode is in the name: a sequence number comes again, a file that lies in quarantine keeps its own.
        name = f"{self._directory.name}-{segment.path.stem}-{segment.path.stat().st_ino}.seg"
        target = self._quarantine / name
        if target.exists():
            return
        self._quarantine.mkdir(parents=True, exist_ok=True)
        os.link(segment.path, target)
        sync_directory(self._quarantine)
        logger.critical("segment %s holds damaged bytes and is kept as %s", segment.path.name, target)
        self._set_aside()

    def _flush_forever(self) -> None:
        batch: list[_Waiting] = []
        try:
            while batch := self._next_batch():
                self._flush(batch)
        finally:
            # However this thread ends: nobody may wait for it, and nothing more may be taken.
            with self._lock:
                self._closing = True
                batch, self._pending = batch + self._pending, []
            for waiting in batch:
                if not waiting.future.done():
                    waiting.future.set_exception(LogFailed("the segment log has stopped; send again later"))

    def _next_batch(self) -> list[_Waiting]:
        """What waits to be durable, as soon as there is any; nothing when the log is closed."""
        with self._lock:
            while not self._pending and not self._closing:
                self._wake.wait()
            batch, self._pending = self._pending, []
            return batch

    def _flush(self, batch: list[_Waiting]) -> None:
        # While this sync runs the next records gather: that is the group commit, it needs no timer.
        segments = list({waiting.segment.sequence: waiting.segment for waiting in batch}.values())
        if self._durable:
            for segment in segments:
                segment.sync()
        for segment in segments:
            segment.place(durable=self._durable)
        for waiting in batch:
            self._settle(*waiting)
        for segment in segments:
            try:
                self._tidy(segment)
            except OSError:  # it takes room until the next start, which tries again
                logger.exception("segment %s could not be removed", segment.path.name)

    def _settle(self, segment: SegmentFile, record: Record, end: int, future: Future[Record]) -> None:
        with self._lock:
            segment.waiting -= 1
            failure = segment.failure
            if failure is None:
                segment.settled(record.offset, end)
        if failure is not None:
            future.set_exception(failure)
            return
        for listener in self._listeners:
            try:
                listener(record)
            except Exception:  # the record is durable: the next start finds it again
                logger.exception("a listener of the segment log failed on %s", record.header.sop_instance_uid)
        future.set_result(record)

    def _tidy(self, segment: SegmentFile) -> None:
        with self._lock:
            if segment.failure is not None:
                self._retire(segment)
            elif segment is not self._active and not segment.waiting:
                segment.close()
            emptied = self._is_empty(segment)
        if emptied:
            self._delete(segment)

    def _recover(self) -> list[Record]:
        """What earlier processes left; a segment with nothing to seal is removed."""
        recovered: list[Record] = []
        for part in self._directory.glob(f"*{UNFINISHED}"):
            part.unlink()
        for path in sorted(self._directory.glob("*.seg")):
            segment = SegmentFile(path)
            recovered += segment.recover()
            self._next = segment.sequence + 1
            self._segments[segment.sequence] = segment
            try:
                if segment.damaged:
                    self._preserve(segment)
                if not segment.live:
                    self._delete(segment)
            except OSError:  # a full disk, for one; what cannot be preserved is not deleted either
                logger.exception("segment %s stays until there is room", path.name)
        for notes in self._directory.glob("*.released"):
            if not notes.with_suffix(".seg").exists():
                notes.unlink()  # a power cut kept them; `SegmentFile.create` makes sure that it did no harm
        return recovered


def _lock(directory: Path) -> BinaryIO:
    file = (directory / "lock").open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise LogBusy(f"{directory} is used by another process: give each worker its own directory") from None
    return file
