"""What repeats from slice to slice is decoded once: elements of headers, remembered by their bytes.

Of the hundred elements of a slice's header all but some ten are those of the slice before it. The JSON of an element
follows from its own bytes and from those of a few others (`_is_context`), so both together are the key under which
it is remembered. Whatever is unusual about an encoding is left to pydicom, as is every element that is new.
"""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from struct import Struct
from typing import NamedTuple

from pydicom.dataset import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
)

from services.archive.index.dicom_json import PIXEL_TAGS, BulkUri, JsonObject, encode
from services.packs.elements import ITEM, ITEM_END, SEQUENCE_END, SHORT, UNDEFINED

_DEEPEST = 8
_LONGEST_BYTES = 8 << 10
_MOST_BYTES = 8 << 20

# With a 32-bit length (PS3.5 table 7.1-1); of a VR in neither table pydicom alone knows what to make.
_LONG = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())

# Specific Character Set; Pixel Representation and Bits Allocated, which decide between US and SS, OB and OW (PS3.5
# annex A) - LUT Descriptor and Waveform Bits Allocated do so for their data.
_CONTEXT = frozenset({0x0008_0005, 0x0028_0100, 0x0028_0103, 0x0028_3002, 0x5400_1004})

_tag = Struct("<HH").unpack_from
_u16 = Struct("<H").unpack_from
_u32 = Struct("<I").unpack_from

ReadDataSet = Callable[[BytesIO, str, int], Dataset]


class _Odd(Exception):
    """An encoding that is left to pydicom."""


class Element(NamedTuple):
    """A top-level element: its tag, and where it starts and ends, in bytes."""

    tag: int
    start: int
    end: int


class ElementMemory:
    """The decoded elements of the headers that were read with it: those of one pack, then it is thrown away.

    `read_data_set` decodes the data set of a Part 10 instance, given its transfer syntax and the data set's offset.
    """

    def __init__(self, read_data_set: ReadDataSet) -> None:
        self._read_data_set = read_data_set
        self._known: dict[tuple[bytes, ...], dict[bytes, JsonObject]] = {}
        self._bytes = 0

    def attributes(
        self, content: bytes, transfer_syntax: str, data_offset: int, bulk_uri: BulkUri
    ) -> JsonObject | None:
        """What `dicom_json.encode` makes of this header, a Part 10 instance up to its pixel data.

        None where its encoding is unusual. Values are shared between answers and must not be changed.
        """
        if transfer_syntax in (DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian):
            return None
        try:
            elements = top_level(content, data_offset, implicit=transfer_syntax == ImplicitVRLittleEndian)
        except _Odd:
            return None
        context = [element for element in elements if _is_context(element.tag)]
        known = self._known.setdefault(
            (transfer_syntax.encode(), *(content[element.start : element.end] for element in context)), {}
        )
        found: JsonObject = {}
        new: dict[str, Element] = {}
        for element in elements:
            name = f"{element.tag:08X}"
            value = known.get(content[element.start : element.end])
            if value is None:
                new[name] = element
            else:
                found[name] = value
        if new:
            parts = sorted({*context, *new.values()})
            head = content[:data_offset] + b"".join(content[part.start : part.end] for part in parts)
            linked: set[str] = set()

            def noted(path: str) -> str:
                linked.add(path[:8])
                return bulk_uri(path)

            decoded = encode(self._read_data_set(BytesIO(head), transfer_syntax, data_offset), noted)
            for name, element in new.items():
                found[name] = decoded[name]
                # A link names its instance.
                if name not in linked:
                    self._remember(known, content[element.start : element.end], decoded[name])
        return found

    def _remember(self, known: dict[bytes, JsonObject], raw: bytes, value: JsonObject) -> None:
        if len(raw) <= _LONGEST_BYTES and self._bytes + len(raw) <= _MOST_BYTES:
            known[raw] = value
            self._bytes += len(raw)


def top_level(data: bytes, start: int, *, implicit: bool) -> list[Element]:
    """The elements from `start` to the end of `data`, or to pixel data, little endian; without group lengths.

    Raises `_Odd` for whatever is not exactly as PS3.5 section 7 says.
    """
    found: list[Element] = []
    position, size, last = start, len(data), 0
    vr = data[start + 4 : start + 6]
    if implicit and vr.isalpha() and vr.isupper():
        raise _Odd  # it declares one encoding and uses the other
    while position < size:
        if size - position < 8:
            raise _Odd
        group, number = _tag(data, position)
        tag = group << 16 | number
        if tag in PIXEL_TAGS:
            break
        if tag <= last or group < 8 or group >= 0xFFFC:
            raise _Odd  # a second one, unsorted, or of another kind
        end = _end(data, position, implicit, 0)
        if number:
            found.append(Element(tag, position, end))
        position, last = end, tag
    return found


def _end(data: bytes, position: int, implicit: bool, depth: int) -> int:
    """Where the element at `position` ends."""
    vr = data[position + 4 : position + 6]
    if implicit:
        value = position + 8
        length = _length(data, position + 4)
    elif vr in SHORT:
        value = position + 8
        length = _u16(data, position + 6)[0]
    elif vr in _LONG:
        value = position + 12
        length = _length(data, position + 8)
    else:
        raise _Odd
    if length == UNDEFINED:
        if not (implicit or vr == b"SQ"):
            raise _Odd
        return _sequence_end(data, value, implicit, depth + 1)
    if value + length > len(data):
        raise _Odd
    return int(value + length)


def _sequence_end(data: bytes, position: int, implicit: bool, depth: int) -> int:
    """Where a sequence of undefined length ends whose first item starts at `position`."""
    if depth > _DEEPEST:
        raise _Odd
    while True:
        tag, length = _item(data, position)
        position += 8
        if tag == SEQUENCE_END:
            return position
        if tag != ITEM:
            raise _Odd
        if length != UNDEFINED:
            position += length
            continue
        while _item(data, position)[0] != ITEM_END:
            position = _end(data, position, implicit, depth)
        position += 8


def _item(data: bytes, position: int) -> tuple[int, int]:
    if len(data) - position < 8:
        raise _Odd
    group, number = _tag(data, position)
    return group << 16 | number, _length(data, position + 4)


def _length(data: bytes, position: int) -> int:
    if len(data) - position < 4:
        raise _Odd
    return int(_u32(data, position)[0])


def _is_context(tag: int) -> bool:
    """Whether how other elements are read depends on this one; private creators are among them (PS3.5 7.8.1)."""
    return tag in _CONTEXT or bool(tag >> 16 & 1 and 0x10 <= tag & 0xFFFF <= 0xFF)
