"""A segment of one record that is written while it arrives, for what is too long to be held in memory.

It is `<sequence>.part` until its record is whole and durable, and a segment like any other from then on: what a
crash leaves under the first name was never acknowledged.
"""

from __future__ import annotations

import mmap
import os
import threading
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from services.common.durable import sync_directory
from services.packs.record import (
    MAGIC,
    PREFIX_BYTES,
    SEGMENT_HEADER_BYTES,
    Buffer,
    Record,
    RecordHeader,
    enclose,
)
from services.packs.segment_file import SegmentFile, translate, write_all

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

UNFINISHED = ".part"
_RESERVED = 4096
_BODY = SEGMENT_HEADER_BYTES + PREFIX_BYTES + _RESERVED


class LongSegment(SegmentFile):
    """The file of a record under way; `written` bytes of it, the room for what comes before the body included."""

    def __init__(self, path: Path) -> None:
        self._part = path.with_suffix(UNFINISHED)
        try:
            descriptor = os.open(self._part, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise translate(error, f"create {self._part}") from error
        super().__init__(path, descriptor)
        self._writing = threading.Lock()
        self._check = 0
        self.written = _BODY

    def extend(self, piece: Buffer) -> None:
        """Append to the body. Raises `OutOfRoom`, `LogFailed`."""
        with self._writing:
            try:
                self.written = write_all(self._descriptor, [piece], self.written)
            except OSError as error:
                raise translate(error, f"write to {self._part}") from error
            self._check = zlib.crc32(piece, self._check)

    def body(self) -> memoryview:
        """The body so far, mapped: as much memory as is looked at."""
        with self._writing:
            mapped = mmap.mmap(self._descriptor, self.written, access=mmap.ACCESS_READ)
        # Not closed by hand: whoever has the view still needs it.
        return memoryview(mapped)[_BODY:]

    def complete(self, header: RecordHeader) -> tuple[Record, int]:
        """The record, whole but not durable, and where it ends. Raises `OutOfRoom`, `LogFailed`."""
        length = self.written - _BODY
        before, behind = enclose(header, self.key, _RESERVED, length, self._check)
        with self._writing:
            try:
                self.written = write_all(self._descriptor, [behind], self.written)
                write_all(self._descriptor, [MAGIC, self.key, before], 0)
            except OSError as error:
                raise translate(error, f"write to {self._part}") from error
        return Record(header, self.sequence, SEGMENT_HEADER_BYTES, length), self.written

    def place(self, *, durable: bool) -> None:
        if self.failure is not None:
            return
        try:
            self._part.rename(self.path)
            if durable:
                sync_directory(self.path.parent)
        except OSError as error:
            self.failure = translate(error, f"bring {self._part} in place")

    def close(self) -> None:
        with self._writing:
            if self._descriptor >= 0:
                os.close(self._descriptor)
                self._descriptor = -1

    def delete(self) -> None:
        self._part.unlink(missing_ok=True)
        super().delete()


class LongRecord:
    """A record that is given piece by piece; exactly one of `commit` and `discard` ends it."""

    def __init__(
        self,
        segment: LongSegment,
        *,
        check_room: Callable[[int], None],
        enqueue: Callable[[LongSegment, Record, int], Future[Record]],
        discard: Callable[[LongSegment], None],
    ) -> None:
        self._segment, self._check_room, self._enqueue, self._discard = segment, check_room, enqueue, discard

    def write(self, piece: Buffer) -> None:
        """Append to the body. Raises `OutOfRoom`, `LogFailed`; `discard` it then."""
        self._check_room(memoryview(piece).nbytes)
        self._segment.extend(piece)

    def body(self) -> memoryview:
        """What was written, mapped."""
        return self._segment.body()

    def commit(self, header: RecordHeader) -> Future[Record]:
        """Make it a record of the log; the future is as that of `SegmentLog.append`. Raises as `write`."""
        return self._enqueue(self._segment, *self._segment.complete(header))

    def discard(self) -> None:
        """Drop it; nothing of it was acknowledged."""
        self._discard(self._segment)
