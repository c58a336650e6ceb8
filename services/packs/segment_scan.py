"""What a segment file holds after a crash, a power cut or years on a bad disk (docs/contracts.md, section 4)."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, field

from services.packs.record import (
    KEY_BYTES,
    MAGIC,
    RECORD_MAGIC,
    SEGMENT_HEADER_BYTES,
    Record,
    RecordDamaged,
    RecordTorn,
    find_record,
)

logger = logging.getLogger(__name__)

_PIECE = 1 << 20


@dataclass(slots=True)
class Scan:
    """The whole records of a segment. `damaged`: it holds bytes that may have been an acknowledged record."""

    key: bytes
    records: list[Record] = field(default_factory=list)
    damaged: bool = False


def scan_segment(descriptor: int, sequence: int) -> Scan:
    """Every whole record, those behind damage too. What an interrupted append leaves is no damage:
    the beginning of a record at the end of the file, or zeros that the file system put there."""
    size = os.fstat(descriptor).st_size
    head = _piece(descriptor, 0, SEGMENT_HEADER_BYTES + len(RECORD_MAGIC) + KEY_BYTES)
    if size < SEGMENT_HEADER_BYTES or _is_empty(descriptor, 0, size):
        return Scan(bytes(KEY_BYTES))  # the segment was being made
    found = _scan(descriptor, head[len(MAGIC) : SEGMENT_HEADER_BYTES], sequence, size)
    if not found.records:
        # The first record repeats the key, in case it is the segment's header that is damaged.
        found = _scan(descriptor, head[-KEY_BYTES:], sequence, size)
    if not head.startswith(MAGIC + found.key):
        logger.error("segment %016d: its header is damaged, or of another version", sequence)
        found.damaged = True
    return found


def _scan(descriptor: int, key: bytes, sequence: int, size: int) -> Scan:
    result, position = Scan(key), SEGMENT_HEADER_BYTES
    while position < size:
        try:
            found = find_record(descriptor, key, position, size)
        except RecordTorn as problem:
            logger.warning("segment %016d ends in an interrupted append: %s", sequence, problem)
            break
        except RecordDamaged as problem:
            end = _find(descriptor, RECORD_MAGIC + key, position + 1, size)
            if end < size or not _is_empty(descriptor, position, size):
                logger.error("segment %016d, bytes %d to %d: %s", sequence, position, end, problem)  # noqa: TRY400
                result.damaged = True
            position = end
        else:
            result.records.append(Record(found.header, sequence, position, found.length))
            position = found.end
    return result


def _find(descriptor: int, mark: bytes, start: int, size: int) -> int:
    """Where `mark` is next found from `start` on; `size` where it is not."""
    for offset in range(start, size, _PIECE):
        at = _piece(descriptor, offset, _PIECE + len(mark) - 1).find(mark)
        if at >= 0:
            return offset + at
    return size


def _is_empty(descriptor: int, start: int, end: int) -> bool:
    """Whether there is nothing but zeros; what cannot be read is not nothing."""
    for offset in range(start, end, _PIECE):
        length = min(_PIECE, end - offset)
        if _piece(descriptor, offset, length) != bytes(length):
            return False
    return True


def _piece(descriptor: int, offset: int, length: int) -> bytes:
    """Up to `length` bytes; none where the disk cannot read them, so that the search goes on behind."""
    try:
        return os.pread(descriptor, length, offset)
    except OSError as error:
        logger.error("byte %d of a segment cannot be read: %s", offset, error.strerror)  # noqa: TRY400
        return b""
