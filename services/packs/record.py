"""The records of a segment log as bytes (docs/contracts.md, section 4).

    segment: "PACSSEG2" | key | record ...
    record:  "REC2" | key | u32 header length | u64 body length | u32 CRC-32 of these
             | header (canonical JSON, spaces after it) | body | u32 CRC-32 of header and body

Numbers are little endian. `key` is 8 random bytes, new for each segment: nothing that a peer sends can pass
for a record when recovery looks for the next one behind damage.
"""

from __future__ import annotations

import json
import mmap
import os
import struct
import zlib
from dataclasses import dataclass, fields
from datetime import datetime
from typing import NamedTuple, Self

from services.common.clock import rfc3339
from services.packs.instance import Description

MAGIC = b"PACSSEG2"
RECORD_MAGIC = b"REC2"
KEY_BYTES = 8
SEGMENT_HEADER_BYTES = len(MAGIC) + KEY_BYTES
MAX_HEADER_BYTES = 64 << 10

PREFIX_BYTES = 28

_PREFIX = struct.Struct("<4s8sIQI")
_CHECK = struct.Struct("<I")
_POLYNOMIAL = 0xEDB8_8320  # of CRC-32, lowest power in the highest bit
_PIECE = 1 << 20

Buffer = bytes | bytearray | memoryview


class LogError(Exception):
    """A record was not made durable, or cannot be read; the message says why and what to do."""


class RecordDamaged(LogError):
    """No record starts here, or its CRC-32 does not fit its bytes."""


class RecordTorn(LogError):
    """The file ends within the record: its append was interrupted, so it was never acknowledged."""


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
        instance: Description,
        *,
        institution: str,
        site: str,
        calling_ae: str,
        called_ae: str,
        received_at: datetime,
        association: str,
    ) -> Self:
        """The header of an instance that has just come."""
        return cls(
            institution, site, instance.sop_instance_uid, instance.sop_class_uid, instance.study_uid,
            instance.series_uid, instance.transfer_syntax, instance.digest, calling_ae, called_ae,
            rfc3339(received_at), association,
        )  # fmt: skip


_HEADER_FIELDS = sorted(field.name for field in fields(RecordHeader))


@dataclass(frozen=True, slots=True)
class Record:
    """A durable record and where it lies: `offset` of the record, `length` of its body, in bytes."""

    header: RecordHeader
    segment: int
    offset: int
    length: int


class Found(NamedTuple):
    """A whole record: where its body starts and how long it is, and where the record ends."""

    header: RecordHeader
    start: int
    length: int
    end: int


class Encoded(NamedTuple):
    """A record but for its segment's key. The body (`length` bytes) is not copied."""

    header: bytes
    body: tuple[Buffer, ...]
    length: int
    check: int

    @property
    def size(self) -> int:
        """Bytes of the whole record."""
        return _PREFIX.size + len(self.header) + self.length + _CHECK.size

    def parts(self, key: bytes) -> list[Buffer]:
        """The record as buffers to be written one after the other into the segment of this key."""
        return [_prefix(key, len(self.header), self.length), self.header, *self.body, _CHECK.pack(self.check)]


def encode(header: RecordHeader, body: tuple[Buffer, ...]) -> Encoded:
    """A record of this header and body. Raises `ValueError` for a header that recovery would refuse."""
    encoded = _json(header)
    check = zlib.crc32(encoded)
    for part in body:
        check = zlib.crc32(part, check)
    return Encoded(encoded, body, sum(memoryview(part).nbytes for part in body), check)


def enclose(
    header: RecordHeader, key: bytes, reserved: int, length: int, body_check: int
) -> tuple[bytes, bytes]:
    """What belongs before and behind a body of `length` bytes and CRC-32 `body_check` that is written already.

    The header is filled up to `reserved` bytes with spaces, which JSON ignores.
    """
    encoded = _json(header).ljust(reserved)
    if len(encoded) != reserved:
        raise ValueError(f"record header of {len(encoded)} bytes; {reserved} are reserved for it")
    check = combined_crc32(zlib.crc32(encoded), body_check, length)
    return _prefix(key, reserved, length) + encoded, _CHECK.pack(check)


def combined_crc32(first: int, second: int, length: int) -> int:
    """CRC-32 of two byte strings one after the other, from theirs and the `length` of the second."""
    shift, power = 1 << 31, 1 << 23  # x to the power of 0 and of 8: one byte
    while length:
        if length & 1:
            shift = _product(power, shift)
        power = _product(power, power)
        length >>= 1
    return _product(shift, first) ^ second


def _product(a: int, b: int) -> int:
    """The product of two polynomials modulo that of CRC-32."""
    result = 0
    for bit in range(31, -1, -1):
        if a >> bit & 1:
            result ^= b
        b = b >> 1 ^ (_POLYNOMIAL if b & 1 else 0)
    return result


def _json(header: RecordHeader) -> bytes:
    content = {name: getattr(header, name) for name in _HEADER_FIELDS}
    encoded = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
    if len(encoded) > MAX_HEADER_BYTES:
        raise ValueError(f"record header of {len(encoded)} bytes; at most {MAX_HEADER_BYTES} are allowed")
    return encoded


def find_record(descriptor: int, key: bytes, position: int, size: int) -> Found:
    """The record at `position` of a segment of `size` bytes, every byte of it checked.

    It is read piece by piece, whatever its length, and not through a mapping, where an unreadable sector
    would end the process. Raises `RecordTorn` or `RecordDamaged`.
    """
    encoded, start, end = _locate(descriptor, key, position, size)
    check = zlib.crc32(encoded)
    for offset in range(start, end, _PIECE):
        check = zlib.crc32(_read(descriptor, offset, min(_PIECE, end - offset)), check)
    _compare(check, _read(descriptor, end, _CHECK.size))
    return Found(_decode(encoded), start, end - start, end + _CHECK.size)


def read_record(descriptor: int, key: bytes, position: int, size: int) -> tuple[RecordHeader, memoryview]:
    """Header and body of the record that `find_record` would find: a short body in memory, a long one mapped."""
    encoded, start, end = _locate(descriptor, key, position, size)
    if end - start > _PIECE:
        found = find_record(descriptor, key, position, size)
        return found.header, _map_body(descriptor, found)
    content = memoryview(_read(descriptor, start, end - start + _CHECK.size))
    body = content[: end - start]
    _compare(zlib.crc32(body, zlib.crc32(encoded)), content[end - start :])
    return _decode(encoded), body


def _locate(descriptor: int, key: bytes, position: int, size: int) -> tuple[bytes, int, int]:
    """The header of a record as it is written, and where its body starts and ends."""
    start = position + _PREFIX.size
    if start > size:
        raise RecordTorn(f"{size - position} bytes are too few for a record")
    prefix = _read(descriptor, position, _PREFIX.size)
    _, _, header_length, length, _ = _PREFIX.unpack(prefix)
    if prefix != _prefix(key, header_length, length) or header_length > MAX_HEADER_BYTES:
        raise RecordDamaged("no record starts there")
    end = start + header_length + length
    if end + _CHECK.size > size:
        raise RecordTorn(f"{end + _CHECK.size - size} bytes of the record are missing")
    return _read(descriptor, start, header_length), start + header_length, end


def _decode(encoded: bytes) -> RecordHeader:
    try:
        return RecordHeader(**json.loads(encoded))
    except (ValueError, TypeError) as error:
        raise RecordDamaged("the record's header is of another version") from error


def _compare(check: int, written: Buffer) -> None:
    if check != _CHECK.unpack(written)[0]:
        raise RecordDamaged("the CRC-32 of a record does not fit its bytes")


def _map_body(descriptor: int, found: Found) -> memoryview:
    """The body of a record, mapped: as much memory as is looked at, and that the kernel may take back."""
    if not found.length:
        return memoryview(b"")
    first = found.start - found.start % mmap.ALLOCATIONGRANULARITY
    # Not closed by hand: whoever has the view still needs it.
    mapped = mmap.mmap(descriptor, found.start + found.length - first, access=mmap.ACCESS_READ, offset=first)
    return memoryview(mapped)[found.start - first :]


def _prefix(key: bytes, header_length: int, length: int) -> bytes:
    # Its own CRC-32: a length that cannot be trusted would make damage look like an interrupted append.
    content = _PREFIX.pack(RECORD_MAGIC, key, header_length, length, 0)[: -_CHECK.size]
    return content + _CHECK.pack(zlib.crc32(content))


def _read(descriptor: int, offset: int, length: int) -> bytes:
    try:
        content = os.pread(descriptor, length, offset)
    except OSError as error:
        raise RecordDamaged(f"byte {offset} cannot be read: {error.strerror}") from error
    if len(content) < length:
        raise RecordDamaged(f"byte {offset + len(content)} is missing")
    return content
