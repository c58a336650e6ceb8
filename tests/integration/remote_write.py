"""Remote-write requests (1.0) by hand: the protobuf and snappy that a hostile branch could send too."""

from __future__ import annotations

import time


def varint(value: int) -> bytes:
    """A base-128 number, least significant group first."""
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def field(number: int, content: bytes) -> bytes:
    """A length-delimited field (wire type 2)."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def label(name: str, value: str) -> bytes:
    """One Label, as a field of a TimeSeries."""
    return field(1, field(1, name.encode()) + field(2, value.encode()))


def series(*labels: tuple[str, str], value: bytes = b"\0\0\0\0\0\0\xf0\x3f") -> bytes:
    """One TimeSeries with one sample (1.0, now), as a field of a WriteRequest."""
    sample = b"\x09" + value + b"\x10" + varint(int(time.time() * 1000))
    return field(1, b"".join(label(*pair) for pair in labels) + field(2, sample))


def literal(content: bytes) -> bytes:
    """A snappy block that copies nothing."""
    out = varint(len(content))
    for start in range(0, len(content), 60):
        part = content[start : start + 60]
        out += bytes([len(part) - 1 << 2]) + part
    return out
