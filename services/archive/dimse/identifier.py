"""DICOM JSON objects as the encoded data set of a response: what the index holds ready, without a data set between.

A response of some twenty attributes costs some tens of microseconds so, and milliseconds through pydicom.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from services.archive.dimse.character_set import TEXT, Terms, encode, readable
from services.archive.index.dicom_json import BINARY, JsonObject

_CHARACTER_SET = "00080005"
# PS3.5 7.1.2: these VRs have four bytes of length, after two reserved ones.
_LONG = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"})
_BINARY = {"FD": "d", "FL": "f", "SL": "i", "SS": "h", "SV": "q", "UL": "I", "US": "H", "UV": "Q"}
_NUL_PADDED = BINARY | {"UI"}
_LONGEST_SHORT = 0xFFFE
_DS_CHARACTERS = 16


def encode_identifier(attributes: Mapping[str, JsonObject], asked: Terms, *, implicit: bool) -> bytes:
    """The little endian data set of these attributes, in a character set that whoever named `asked` can read.

    Bulk data has no value here, nor has what does not fit into its VR.
    """
    terms = readable(asked, list(_texts(attributes)))
    shown = {tag: value for tag, value in attributes.items() if tag != _CHARACTER_SET}
    if terms:
        shown[_CHARACTER_SET] = {"vr": "CS", "Value": list(terms)}
    return _data_set(shown, terms, implicit)


def _texts(attributes: Mapping[str, JsonObject]) -> Iterator[str]:
    for attribute in attributes.values():
        vr, values = attribute["vr"], attribute.get("Value", ())
        if vr == "SQ":
            for item in values:
                yield from _texts(item)
        elif vr in TEXT:
            yield from (_text(vr, value) for value in values)


def _data_set(attributes: Mapping[str, JsonObject], terms: Terms, implicit: bool) -> bytes:
    pieces = []
    for tag in sorted(attributes):
        attribute = attributes[tag]
        if tag == _CHARACTER_SET and not terms:
            continue
        vr = attribute["vr"]
        value = _value(vr, attribute, terms, implicit)
        head = struct.pack("<HH", int(tag[:4], 16), int(tag[4:], 16))
        if implicit:
            head += struct.pack("<I", len(value))
        elif vr in _LONG:
            head += vr.encode() + struct.pack("<HI", 0, len(value))
        else:
            value = value if len(value) <= _LONGEST_SHORT else b""
            head += vr.encode() + struct.pack("<H", len(value))
        pieces.append(head + value)
    return b"".join(pieces)


def _value(vr: str, attribute: JsonObject, terms: Terms, implicit: bool) -> bytes:
    values = attribute.get("Value", ())
    if vr == "SQ":
        items = [_data_set(item, terms, implicit) for item in values]
        return b"".join(struct.pack("<HHI", 0xFFFE, 0xE000, len(item)) + item for item in items)
    if "InlineBinary" in attribute:
        raw = base64.b64decode(attribute["InlineBinary"])
    elif vr == "AT":
        raw = b"".join(struct.pack("<HH", int(one[:4], 16), int(one[4:], 16)) for one in values)
    elif vr in _BINARY:
        raw = _packed(_BINARY[vr], values)
    else:
        text = "\\".join(_text(vr, one) for one in values)
        raw = encode(text, terms) if vr in TEXT else text.encode("ascii", "replace")
    return raw + (b"" if len(raw) % 2 == 0 else b"\0" if vr in _NUL_PADDED else b" ")


def _packed(form: str, values: Sequence[Any]) -> bytes:
    try:
        return struct.pack(f"<{len(values)}{form}", *(float(v) if form in "fd" else int(v) for v in values))
    except (struct.error, TypeError, ValueError, OverflowError):
        return b""  # a value that its own VR cannot hold


def _text(vr: str, value: Any) -> str:
    """One value as DICOM writes it (PS3.5 6.2)."""
    if value is None:
        return ""
    if vr == "PN":
        groups = (value.get("Alphabetic", ""), value.get("Ideographic", ""), value.get("Phonetic", ""))
        return "=".join(groups).rstrip("=")
    if isinstance(value, float):
        text = repr(value)
        return text if len(text) <= _DS_CHARACTERS else f"{value:.9g}"
    return str(value)
