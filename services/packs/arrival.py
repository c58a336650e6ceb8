"""A data set on its way in: digested as it comes, held in memory while it is short, written to the log where not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.packs.instance import Description, Limits, OverLimits, describe, digest_start
from services.packs.record import Record, RecordHeader

if TYPE_CHECKING:
    from concurrent.futures import Future

    from services.packs.segment import LongRecord, SegmentLog

HELD_BYTES = 1 << 20
"""Of a data set are held in memory; a longer one has a segment of its own from its first byte on."""


class Arrival:
    """One instance: `head` (preamble and file meta information) and then what `write` is given.

    `scratch` is HELD_BYTES of memory that nobody else uses until `keep` or `drop` has returned, one of which
    ends the arrival.
    """

    def __init__(
        self, log: SegmentLog, head: bytes, transfer_syntax: str, scratch: bytearray, limits: Limits
    ) -> None:
        self._log, self._head, self._transfer_syntax, self._limits = log, head, transfer_syntax, limits
        self._scratch, self._held = memoryview(scratch), 0
        self._digest = digest_start(transfer_syntax)
        self._length = 0
        self._long: LongRecord | None = None

    def write(self, piece: memoryview) -> None:
        """Take the next bytes of the data set. Raises `OverLimits`, `OutOfRoom`, `LogFailed`."""
        self._length += len(piece)
        if len(self._head) + self._length > self._limits.instance_bytes:
            raise OverLimits(f"instance of more than {self._limits.instance_bytes} bytes")
        self._digest.update(piece)
        if self._held + len(piece) > len(self._scratch):
            self._spill()
        if len(piece) > len(self._scratch):
            self._record().write(piece)
            return
        self._scratch[self._held : self._held + len(piece)] = piece
        self._held += len(piece)

    def describe(self) -> Description:
        """What arrived, now that it is whole. Raises an `InstanceError`, `OutOfRoom`, `LogFailed`."""
        head = len(self._head)
        if self._long is None:
            content = self._scratch[: self._held]
        else:
            self._spill()
            content = self._long.body()[head:]
        return describe(content, self._transfer_syntax, head, self._digest.hexdigest(), self._limits)

    def keep(self, header: RecordHeader) -> Future[Record]:
        """Make it a record of the log; the future is as that of `SegmentLog.append`. Raises `OutOfRoom`, `LogFailed`."""
        if self._long is None:
            return self._log.append(header, self._head, self._scratch[: self._held])
        future = self._long.commit(header)
        self._long = None
        return future

    def drop(self) -> None:
        """Forget it; nothing of it was acknowledged."""
        if self._long is not None:
            self._long.discard()
            self._long = None

    def _record(self) -> LongRecord:
        if self._long is None:
            self._long = self._log.begin()
            self._long.write(self._head)
        return self._long

    def _spill(self) -> None:
        self._record().write(self._scratch[: self._held])
        self._held = 0
