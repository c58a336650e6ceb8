"""Which bytes of an instance are one frame, so that a reader may be given them without a parse.

A range is stated only where the stored bytes are the frame exactly as a client wants it: native little
endian pixels on byte borders, or one fragment a frame. Everything else has no ranges and is rendered.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian

from services.packs.elements import MalformedDataSet, Value, fragments

Ranges = tuple[tuple[int, int], ...]

# One bit stream for all frames (PS3.5 A.4.5 to A.4.9): no frame of it stands alone.
_VIDEO_PREFIXES = tuple(f"1.2.840.10008.1.2.4.{number}" for number in range(100, 109))


class PixelDescription(NamedTuple):
    """The attributes of PS3.3 C.7.6.3 that give a native frame its length."""

    rows: int
    columns: int
    samples: int
    bits_allocated: int
    photometric: str
    frames: int


def native(description: PixelDescription, pixels: Value, transfer_syntax: str) -> Ranges:
    """Ranges of native frames (PS3.5 8.1.1), from the same origin as `pixels`; empty if they need work."""
    if transfer_syntax in (ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian):
        return ()
    rows, columns, samples, bits_allocated, photometric, count = description
    bits = rows * columns * samples * bits_allocated
    if photometric == "YBR_FULL_422" and samples == 3:
        bits = bits * 2 // 3  # Cb and Cr once for two pixels, PS3.3 C.7.6.3.1.2
    if bits == 0 or count < 1 or (bits % 8 and count > 1):
        return ()
    length = (bits + 7) // 8
    # Another length than the attributes announce (one pad byte apart) means that they cannot be trusted.
    if pixels.length - length * count not in (0, 1):
        return ()
    return tuple((pixels.offset + index * length, length) for index in range(count))


def encapsulated(
    data: memoryview,
    count: int,
    pixels: Value,
    transfer_syntax: str,
    extended: tuple[Value, Value] | None,
) -> Ranges:
    """Ranges of encapsulated frames when each is one fragment; empty for video and for split frames.

    `extended` are the values of the Extended Offset Table and its Lengths (PS3.3 C.7.6.3.1.8), which
    give a frame's length without the pad byte.
    """
    try:
        parts = list(fragments(data, pixels.offset, pixels.offset + pixels.length))
    except MalformedDataSet:
        return ()
    if not parts or len(parts) - 1 != count or transfer_syntax.startswith(_VIDEO_PREFIXES):
        return ()
    table, frames = Value(*parts[0]), tuple(parts[1:])
    # Offsets count from the item tag of the first fragment (PS3.5 A.4).
    actual = [offset - frames[0][0] for offset, _ in frames]
    if extended is not None:
        return _trimmed(
            frames, actual, _integers(data, extended[0], "Q", 8), _integers(data, extended[1], "Q", 8)
        )
    if table.length and _integers(data, table, "I", 4) != actual:
        return ()
    return frames


def _trimmed(frames: Ranges, actual: list[int], offsets: list[int], lengths: list[int]) -> Ranges:
    """The frames without pad bytes, if the extended offset table tells of just these fragments."""
    if offsets != actual or len(lengths) != len(frames):
        return ()
    trimmed = tuple((offset, length) for (offset, _), length in zip(frames, lengths, strict=True))
    whole = all(0 <= stored - length <= 1 for (_, stored), length in zip(frames, lengths, strict=True))
    return trimmed if whole else ()


def _integers(data: memoryview, value: Value, code: str, size: int) -> list[int]:
    if value.length % size:
        return []
    return list(struct.unpack_from(f"<{value.length // size}{code}", data, value.offset))
