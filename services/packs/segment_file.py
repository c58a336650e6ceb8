"""One file of a segment log: all-or-nothing appends, sync, release notes, recovery (contracts, section 4).

Not thread safe; `services.packs.segment` holds its lock around everything but `sync` and `note_released`.
"""

from __future__ import annotations

import errno
import logging
import os
import secrets
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Self

from services.common.durable import sync_directory
from services.packs.record import (
    KEY_BYTES,
    MAGIC,
    SEGMENT_HEADER_BYTES,
    Buffer,
    LogError,
    Record,
    RecordDamaged,
    RecordTorn,
    read_record,
)
from services.packs.segment_scan import scan_segment

logger = logging.getLogger(__name__)

_RELEASED = struct.Struct("<Q")


class OutOfRoom(LogError):
    """The spool's file system has no room for another instance: refuse it (DIMSE A700, HTTP 507)."""


class LogFailed(LogError):
    """The file system reported an error while the record was written or synced."""


class SegmentFile:
    """A segment of `written` bytes; `live` are the offsets of durable, unreleased records, `waiting` counts
    unsynced ones. `damaged`: it holds bytes that cannot be read and must be preserved before it goes.
    `key` marks all that belongs to it: its records, and the notes of those that are released."""

    def __init__(self, path: Path, descriptor: int = -1) -> None:
        self.path = path
        self.sequence = int(path.stem)
        self.key = secrets.token_bytes(KEY_BYTES)
        self.damaged = False
        self.written = 0
        self.waiting = 0
        self.live: set[int] = set()
        self.failure: LogError | None = None
        self._durable = 0
        self._descriptor = descriptor

    @classmethod
    def create(cls, path: Path, *, durable: bool) -> Self:
        """A new segment with its header, its name synced. Raises `OutOfRoom`, `LogFailed`.

        Notes that a power cut left of an earlier segment of this name go first.
        """
        try:
            segment = cls(path, os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        except OSError as error:
            raise translate(error, f"create {path}") from error
        try:
            segment.append([MAGIC, segment.key])
            path.with_suffix(".released").unlink(missing_ok=True)
            if durable:
                sync_directory(path.parent)
        except (LogError, OSError) as error:
            segment.close()
            path.unlink(missing_ok=True)
            raise error if isinstance(error, LogError) else translate(error, f"create {path}") from error
        return segment

    def recover(self) -> list[Record]:
        """Unreleased records that an earlier process left, made durable before they are believed."""
        with self.path.open("rb") as file:
            os.fdatasync(file.fileno())  # after a kill they may lie in the page cache only
            scan = scan_segment(file.fileno(), self.sequence)
            self.written = os.fstat(file.fileno()).st_size
        self.key, self.damaged = scan.key, scan.damaged
        released = self._released()
        records = [record for record in scan.records if record.offset not in released]
        self.live = {record.offset for record in records}
        return records

    def read(self, record: Record) -> memoryview:
        """The body of a record once all of it was checked; a long one is mapped. Raises `RecordDamaged`."""
        try:
            with self.path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                header, body = read_record(file.fileno(), self.key, record.offset, size)
                if header == record.header:
                    return body
        except FileNotFoundError as error:
            raise RecordDamaged(f"{self.path.name} is gone") from error
        except RecordTorn as error:
            raise RecordDamaged(str(error)) from error
        raise RecordDamaged(f"there is another record at byte {record.offset} of {self.path.name}")

    def append(self, parts: Sequence[Buffer]) -> int:
        """Write all of `parts` at the end and return where they start, or nothing of them.

        Raises `OutOfRoom` or `LogFailed`; `failure` is then set if the end could not be cleaned.
        """
        start = self.written
        try:
            self.written = write_all(self._descriptor, parts, start)
        except OSError as error:
            failure = translate(error, f"write to {self.path}")
            if not self._cut_to(start):
                self.failure = failure
            raise failure from error
        return start

    def sync(self) -> None:
        """Make what was appended durable, or set `failure`.

        The kernel reports a lost page once and then forgets it, so nothing that was written since the last
        good sync may be acknowledged by a later, seemingly good one.
        """
        if self.failure is not None:
            return
        try:
            os.fdatasync(self._descriptor)
        except OSError as error:
            self.failure = translate(error, f"sync {self.path}")
            logger.exception("segment %s could not be synced", self.path.name)

    def place(self, *, durable: bool) -> None:
        """Called after `sync`: bring the file under its name, or set `failure`. A plain segment has it already."""

    def settled(self, offset: int, end: int) -> None:
        """The record from `offset` to `end` is durable."""
        self.live.add(offset)
        self._durable = max(self._durable, end)

    def note_released(self, offsets: Iterable[int]) -> None:
        """Remember durably that these records lie in packs, so that a restart does not seal them again."""
        path = self._notes
        is_new = not path.exists()
        with path.open("ab") as file:
            # A note that a crash cut short must not shift the next ones.
            whole = file.tell() - file.tell() % _RELEASED.size
            file.truncate(whole)
            file.write((b"" if whole else self.key) + b"".join(map(_RELEASED.pack, offsets)))
            file.flush()
            os.fdatasync(file.fileno())
        if is_new:
            sync_directory(path.parent)

    def close(self) -> None:
        """Close the file; after a failure give back the room of records that were never acknowledged."""
        if self._descriptor < 0:
            return
        if self.failure is not None:
            self._cut_to(max(self._durable, SEGMENT_HEADER_BYTES))
        os.close(self._descriptor)
        self._descriptor = -1

    def delete(self) -> None:
        """Remove the segment, then its notes: the other order would bring its records back."""
        self.path.unlink(missing_ok=True)
        sync_directory(self.path.parent)
        self._notes.unlink(missing_ok=True)

    @property
    def _notes(self) -> Path:
        return self.path.with_suffix(".released")

    def _cut_to(self, length: int) -> bool:
        try:
            os.ftruncate(self._descriptor, length)
        except OSError as error:
            logger.warning("segment %s keeps unacknowledged bytes: %s", self.path.name, error.strerror)
            return False
        return True

    def _released(self) -> set[int]:
        try:
            content = self._notes.read_bytes()
        except FileNotFoundError:
            return set()
        if content[:KEY_BYTES] != self.key:
            # Of another segment, or damaged: sealing a record twice does less harm than not at all.
            self._notes.unlink()
            return set()
        whole = len(content) - len(content) % _RELEASED.size
        return {offset for (offset,) in _RELEASED.iter_unpack(content[KEY_BYTES:whole])}


def write_all(descriptor: int, parts: Sequence[Buffer], offset: int) -> int:
    """Write the buffers one after the other from `offset`; where they end."""
    views = [memoryview(part).cast("B") for part in parts if memoryview(part).nbytes]
    while views:
        written = os.pwritev(descriptor, views, offset)
        offset += written
        while views and written >= views[0].nbytes:
            written -= views.pop(0).nbytes
        if written:
            views[0] = views[0][written:]
    return offset


def translate(error: OSError, what: str) -> LogError:
    """The log's own error for one of the file system."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return OutOfRoom(f"cannot {what}: {error.strerror}. Free or add space; the sender may try again.")
    return LogFailed(f"cannot {what}: {error.strerror}. The record was not taken; check the disk.")
