"""A walk over the elements of an encoded data set (PS3.5 section 7) that decodes none of their values.

It takes the place of a full parse where only offsets and a few identifiers are wanted: no recursion, no
copy, and bounds on depth, element count and every length, because the bytes come from the network.
"""

from __future__ import annotations

import struct
from collections.abc import Container, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from pydicom._dicom_dict import DicomDictionary

UNDEFINED = 0xFFFF_FFFF
PIXEL_DATA = 0x7FE0_0010

ITEM = 0xFFFE_E000
ITEM_END = 0xFFFE_E00D
SEQUENCE_END = 0xFFFE_E0DD
_ITEM_BYTES = b"\xfe\xff\x00\xe0"

# PS3.5 table 7.1-2: these VRs have a 16-bit length; every other VR, known or to come, has a 32-bit one.
SHORT = frozenset(b"AE AS AT CS DA DS DT FL FD IS LO LT PN SH SL SS ST TM UI UL US".split())
_BULK = frozenset(b"OB OD OF OL OV OW".split())

# Implicit VR says nothing of sequences with a defined length; only the dictionary (PS3.6) knows them.
_SEQUENCE_TAGS = frozenset(tag for tag, entry in DicomDictionary.items() if entry[0] == "SQ")


class InstanceError(ValueError):
    """Bytes that cannot be kept as a DICOM instance; see `services.packs.instance` for the tree."""


class MalformedDataSet(InstanceError):
    """The encoding breaks PS3.5 in a way that leaves elements unreadable."""


class TruncatedDataSet(MalformedDataSet):
    """An element, item or file ends before the length it declares."""


class OverLimits(InstanceError):
    """Deeper, longer or more numerous than `Limits` allows: refused before it costs memory or stack."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one instance may cost. Real objects stay far below; a hostile one is refused by these."""

    instance_bytes: int = 4 << 30
    inflated_bytes: int = 128 << 20
    depth: int = 64
    elements: int = 4_000_000


class Value(NamedTuple):
    """Where a value field lies: `offset` and `length` in bytes; `encapsulated` for fragments (PS3.5 A.4),
    whose length runs from the first item up to the sequence delimiter, which it excludes."""

    offset: int
    length: int
    encapsulated: bool = False


class _Level(NamedTuple):
    end: int
    undefined: bool
    items: bool
    implicit: bool


def walk(
    data: memoryview,
    start: int,
    *,
    implicit: bool,
    big_endian: bool,
    wanted: Container[int],
    limits: Limits,
) -> dict[int, Value]:
    """Top-level elements among `wanted` of the data set that runs from `start` to the end of `data`.

    Every sequence is walked too, so that nothing nested deeper than `limits.depth` gets past.
    Raises `TruncatedDataSet`, `MalformedDataSet`, `OverLimits`.
    """
    walker = _Walker(data, start, big_endian, wanted, limits)
    return walker.run(implicit)


class _Walker:
    """The state of one walk: a position, the level it is on, and the levels around it."""

    def __init__(
        self, data: memoryview, start: int, big_endian: bool, wanted: Container[int], limits: Limits
    ) -> None:
        order = ">" if big_endian else "<"
        self._data, self._position, self._big_endian = data, start, big_endian
        self._wanted, self._limits = wanted, limits
        self._tag = struct.Struct(order + "HH").unpack_from
        self._u16 = struct.Struct(order + "H").unpack_from
        self._u32 = struct.Struct(order + "I").unpack_from
        self._found: dict[int, Value] = {}
        self._outer: list[_Level] = []
        self._level = _Level(len(data), undefined=False, items=False, implicit=False)

    def run(self, implicit: bool) -> dict[int, Value]:
        self._level = self._level._replace(implicit=implicit)
        count = 0
        while True:
            level = self._level
            if self._position == level.end and not level.undefined:
                if not self._outer:
                    return self._found
                self._level = self._outer.pop()
                continue
            if level.end - self._position < 8:
                raise TruncatedDataSet(f"the data set ends inside an element at byte {self._position}")
            count += 1
            if count > self._limits.elements:
                raise OverLimits(f"more than {self._limits.elements} data elements")
            group, element = self._tag(self._data, self._position)
            tag = group << 16 | element
            if level.items:
                self._item(tag)
            elif group == 0xFFFE:
                self._delimiter(tag)
            else:
                self._element(tag)

    def _item(self, tag: int) -> None:
        length = self._u32(self._data, self._position + 4)[0]
        self._position += 8
        if tag == SEQUENCE_END:
            self._level = self._outer.pop()
            return
        if tag != ITEM:
            raise MalformedDataSet(f"{_name(tag)} where a sequence item should start")
        end = self._level.end if length == UNDEFINED else self._position + length
        if end > self._level.end:
            raise TruncatedDataSet(f"the sequence item at byte {self._position - 8} runs past its sequence")
        self._enter(_Level(end, length == UNDEFINED, items=False, implicit=self._level.implicit))

    def _delimiter(self, tag: int) -> None:
        """An item of undefined length ends here; elsewhere a stray delimiter carries nothing."""
        length = self._u32(self._data, self._position + 4)[0]
        if tag == ITEM or length:
            raise MalformedDataSet(f"item without a sequence at byte {self._position}")
        self._position += 8
        if tag == ITEM_END and self._level.undefined:
            self._level = self._outer.pop()

    def _element(self, tag: int) -> None:
        vr, value, length = self._header()
        end, implicit = self._level.end, self._level.implicit or not vr
        if length == UNDEFINED and (tag == PIXEL_DATA or vr in _BULK):
            stop, self._position = fragments_end(self._data, value, end, big_endian=self._big_endian)
            self._keep(tag, Value(value, stop - value, encapsulated=True))
        elif length == UNDEFINED:
            # UN of undefined length holds an implicit VR little endian sequence (PS3.5 6.2.2).
            self._position = value
            self._enter(_Level(end, undefined=True, items=True, implicit=implicit or vr == b"UN"))
        elif value + length > end:
            raise TruncatedDataSet(f"{_name(tag)} declares {length} bytes, {end - value} are there")
        elif vr == b"SQ" or (not vr and tag in _SEQUENCE_TAGS):
            self._position = value
            self._enter(_Level(value + length, undefined=False, items=True, implicit=implicit))
        else:
            self._keep(tag, Value(value, length))
            if vr in (b"UN", b"") and length >= 8 and self._data[value : value + 4] == _ITEM_BYTES:
                _probe(self._data[value : value + length], self._limits)
            self._position = value + length

    def _header(self) -> tuple[bytes, int, int]:
        """VR (empty where implicit), start of the value and its length, for the element at the position."""
        data, position = self._data, self._position
        vr = b"" if self._level.implicit else bytes(data[position + 4 : position + 6])
        if not (vr.isalpha() and vr.isupper()):
            # Some writers mix implicit elements into an explicit data set: read them as what they are.
            return b"", position + 8, self._u32(data, position + 4)[0]
        if vr in SHORT:
            return vr, position + 8, self._u16(data, position + 6)[0]
        if self._level.end - position < 12:
            raise TruncatedDataSet(f"the data set ends inside an element at byte {position}")
        return vr, position + 12, self._u32(data, position + 8)[0]

    def _enter(self, level: _Level) -> None:
        self._outer.append(self._level)
        self._level = level
        if len(self._outer) > 2 * self._limits.depth:
            raise OverLimits(f"sequences nested more than {self._limits.depth} deep")

    def _keep(self, tag: int, value: Value) -> None:
        if not self._outer and tag in self._wanted:
            self._found[tag] = value


def _name(tag: int) -> str:
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"


def _probe(value: memoryview, limits: Limits) -> None:
    """Refuse a too deep sequence in a value that readers take for one (UN or private, PS3.5 6.2.2)."""
    header = b"\xff\xff\x00\x00" + struct.pack("<I", UNDEFINED)
    closed = memoryview(header + bytes(value) + b"\xfe\xff\xdd\xe0\0\0\0\0")
    try:
        walk(closed, 0, implicit=True, big_endian=False, wanted=(), limits=limits)
    except MalformedDataSet:
        return  # not a sequence after all: opaque bytes


def fragments(
    data: memoryview, start: int, end: int, *, big_endian: bool = False
) -> Iterator[tuple[int, int]]:
    """(offset, length) of each item of an encapsulated value (PS3.5 A.4), the offset table first.

    Stops at the sequence delimiter or at `end`. Raises `MalformedDataSet`, `TruncatedDataSet`.
    """
    header = struct.Struct((">" if big_endian else "<") + "HHI").unpack_from
    position = start
    while position < end:
        if end - position < 8:
            raise TruncatedDataSet(f"pixel data ends inside an item header at byte {position}")
        group, element, length = header(data, position)
        tag = group << 16 | element
        if tag == SEQUENCE_END:
            return
        if tag != ITEM or length == UNDEFINED:
            raise MalformedDataSet(f"{_name(tag)} where a pixel data fragment should start")
        position += 8 + length
        if position > end:
            raise TruncatedDataSet(f"the pixel data fragment before byte {position} ends after the data set")
        yield position - length, length


def fragments_end(data: memoryview, start: int, end: int, *, big_endian: bool) -> tuple[int, int]:
    """Where the fragments stop, and where the next element starts after the sequence delimiter.

    A value that ends with the data set but lacks its delimiter is complete; some writers forget it.
    """
    stop = start
    for offset, length in fragments(data, start, end, big_endian=big_endian):
        stop = offset + length
    return stop, min(stop + 8, end)
