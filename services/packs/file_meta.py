"""The head of a DICOM file: preamble, prefix and File Meta Information (PS3.10 section 7)."""

from __future__ import annotations

import struct

from services.packs.elements import InstanceError, Limits, Value, walk

PREAMBLE = bytes(128)
# A UUID-derived root (PS3.5 B.2) names this implementation to whoever reads our files (PS3.7 D.3.3.2).
IMPLEMENTATION_CLASS_UID = "2.25.305828488182831875890203105390285383139"
IMPLEMENTATION_VERSION_NAME = "REGIONAL_PACS_01"

_TRANSFER_SYNTAX = 0x0002_0010
_LONG_VRS = (b"OB", b"OW", b"SQ", b"UN", b"UT")


class NotDicom(InstanceError):
    """The bytes are not a DICOM file (PS3.10 section 7)."""


def encode(sop_class_uid: str, sop_instance_uid: str, transfer_syntax: str, source_ae: str = "") -> bytes:
    """Zero preamble, prefix and File Meta Information (PS3.10 7.1) for a data set from the network."""

    def element(number: int, vr: bytes, value: bytes, pad: bytes = b"\0") -> bytes:
        value += pad * (len(value) % 2)
        length = struct.pack("<xxI" if vr == b"OB" else "<H", len(value))
        return struct.pack("<HH", 2, number) + vr + length + value

    body = b"".join((
        element(0x01, b"OB", b"\0\1"),
        element(0x02, b"UI", sop_class_uid.encode("ascii")),
        element(0x03, b"UI", sop_instance_uid.encode("ascii")),
        element(0x10, b"UI", transfer_syntax.encode("ascii")),
        element(0x12, b"UI", IMPLEMENTATION_CLASS_UID.encode("ascii")),
        element(0x13, b"SH", IMPLEMENTATION_VERSION_NAME.encode("ascii"), b" "),
        element(0x16, b"AE", source_ae.encode("ascii", "replace"), b" ") if source_ae else b"",
    ))  # fmt: skip
    return PREAMBLE + b"DICM" + element(0x00, b"UL", struct.pack("<I", len(body))) + body


def read(view: memoryview, limits: Limits) -> tuple[str, int]:
    """Transfer syntax UID, and where the data set starts. Raises `NotDicom`.

    Group 2 is explicit little endian whatever follows (PS3.10 7.1).
    """
    if len(view) < 132 or bytes(view[128:132]) != b"DICM":
        raise NotDicom(
            "this is not a DICOM file: no DICM prefix after a 128 byte preamble (PS3.10 7.1); "
            "export it as DICOM and send that"
        )
    # The end is found by the group numbers, since the group length is wrong or absent in some files.
    end = 132
    while end + 8 <= len(view) and bytes(view[end : end + 2]) == b"\2\0":
        long = bytes(view[end + 4 : end + 6]) in _LONG_VRS
        if long and end + 12 > len(view):
            break
        header, length = (
            (12, int.from_bytes(view[end + 8 : end + 12], "little"))
            if long
            else (8, int.from_bytes(view[end + 6 : end + 8], "little"))
        )
        if end + header + length > len(view):
            raise NotDicom("the file meta information runs past the end of the file (PS3.10 7.1)")
        end += header + length
    meta = walk(view[:end], 132, implicit=False, big_endian=False, wanted={_TRANSFER_SYNTAX}, limits=limits)
    transfer_syntax = text(view, meta.get(_TRANSFER_SYNTAX))
    if not transfer_syntax:
        raise NotDicom("the file meta information has no Transfer Syntax UID (0002,0010)")
    return transfer_syntax, end


def text(view: memoryview, value: Value | None) -> str:
    """A character value without padding; empty where there is none, or one too long for an identifier."""
    if value is None or value.length > 256:
        return ""
    return bytes(view[value.offset : value.offset + value.length]).decode("ascii", "replace").strip("\0 ")
