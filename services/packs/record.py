"""The records of a segment log as bytes (docs/contracts.md, section 4).

    segment: "PACSSEG1" | record ...
    record:  "REC1" | u32 header length | u64 body length | header (canonical JSON) | body | u32 CRC-32

Numbers are little endian; the CRC-32 covers header and body.
"""

from __future__ import annotations

import json
import logging
import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import BinaryIO, Self

from services.common.clock import rfc3339
from services.packs.instance import Instance

logger = logging.getLogger(__name__)

MAGIC = b"PACSSEG1"
MAX_HEADER_BYTES = 64 << 10

_PREFIX = struct.Struct("<4sIQ")
_CHECK = struct.Struct("<I")
_RECORD_MAGIC = b"REC1"

Buffer = bytes | bytearray | memoryview


class LogError(Exception):
    """A record was not made durable, or cannot be read; the message says why and what to do."""


class RecordDamaged(LogError):
    """The record's CRC-32 does not fit its bytes."""


@dataclass(frozen=True, slots=True)
class RecordHeader:
    """What is known of an instance on arrival. `received_at` is RFC 3339 UTC; `association` one transfer."""

    institution: str
    site: str
    sop_instance_uid: str
    sop_class_uid: str
    study_uid: str
    series_uid: str
    transfer_syntax: str
    digest: str
    calling_ae: str
    called_ae: str
    received_at: str
    association: str

    @classmethod
    def for_instance(
        cls,
        instance: Instance,
        *,
        institution: str,
        site: str,
        calling_ae: str,
        called_ae: str,
        received_at: datetime,
        association: str,
    ) -> Self:
        """The header of an instance that was just scanned."""
        return cls(
            institution, site, instance.sop_instance_uid, instance.sop_class_uid, instance.study_uid,
            instance.series_uid, instance.transfer_syntax, instance.digest, calling_ae, called_ae,
            rfc3339(received_at), association,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Record:
    """A durable record and where it lies: `offset` of the record, `length` of its body, in bytes."""

    header: RecordHeader
    segment: int
    offset: int
    length: int


def encode(header: RecordHeader, body: tuple[Buffer, ...]) -> tuple[list[Buffer], int]:
    """The record as buffers to be written one after the other, with the body's length in bytes.

    The body is not copied. Raises `ValueError` for a header that recovery would refuse.
    """
    encoded = json.dumps(asdict(header), ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
    if len(encoded) > MAX_HEADER_BYTES:
        raise ValueError(f"record header of {len(encoded)} bytes; at most {MAX_HEADER_BYTES} are allowed")
    length = sum(memoryview(part).nbytes for part in body)
    check = zlib.crc32(encoded)
    for part in body:
        check = zlib.crc32(part, check)
    return [_PREFIX.pack(_RECORD_MAGIC, len(encoded), length), encoded, *body, _CHECK.pack(check)], length


def read_segment(file: BinaryIO, sequence: int) -> Iterator[Record]:
    """Whole records from the start of a segment; one whose CRC-32 fails is skipped, a torn end ends it."""
    size = os.fstat(file.fileno()).st_size
    if file.read(len(MAGIC)) != MAGIC:
        if size:
            logger.warning("segment %016d has no header: nothing of it was ever acknowledged", sequence)
        return
    position = len(MAGIC)
    while position < size:
        file.seek(position)
        try:
            found = read_record(file, size)
        except RecordDamaged as problem:
            # Torn by a power cut, or acknowledged and damaged since: later records are good either way.
            logger.error("segment %016d, byte %d: %s", sequence, position, problem)  # noqa: TRY400
        else:
            if found is None:
                logger.warning(
                    "segment %016d ends in a torn record: %d bytes dropped", sequence, size - position
                )
                return
            header, body = found
            yield Record(header, sequence, position, len(body))
        position = file.tell()


def read_record(file: BinaryIO, size: int) -> tuple[RecordHeader, bytes] | None:
    """The record at the file's position, None where none starts or it runs past `size`.

    Raises `RecordDamaged`, with the file's position after the record.
    """
    prefix = file.read(_PREFIX.size)
    if len(prefix) < _PREFIX.size:
        return None
    magic, header_length, length = _PREFIX.unpack(prefix)
    end = file.tell() + header_length + length + _CHECK.size
    if magic != _RECORD_MAGIC or header_length > MAX_HEADER_BYTES or end > size:
        return None
    encoded, body, check = file.read(header_length), file.read(length), file.read(_CHECK.size)
    if zlib.crc32(body, zlib.crc32(encoded)) != _CHECK.unpack(check)[0]:
        raise RecordDamaged("the CRC-32 of a record does not fit its bytes")
    return RecordHeader(**json.loads(encoded)), body
