"""The command sets of C-STORE as bytes (PS3.7 9.3.1); every other one is pynetdicom's.

A command set is implicit VR little endian (PS3.7 6.3.1). Only what a C-STORE needs is decoded, and without the
library's data set objects, which take longer than all the rest of a small instance's way.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

C_STORE_RQ = 0x0001
_C_STORE_RSP = 0x8001
_NO_DATA_SET = 0x0101
_GROUP_LENGTH, _SOP_CLASS, _FIELD, _MESSAGE_ID, _RESPONDED_TO, _DATA_SET_TYPE, _STATUS, _COMMENT, _INSTANCE = (
    0x0000, 0x0002, 0x0100, 0x0110, 0x0120, 0x0800, 0x0900, 0x0902, 0x1000,
)  # fmt: skip
_ELEMENT = struct.Struct("<HHI")
_MAX_UID_BYTES = 64


@dataclass(frozen=True, slots=True)
class StoreCommand:
    """A C-STORE-RQ. Its UIDs are whatever the peer wrote: they are checked before they are used."""

    message_id: int
    sop_class_uid: str
    sop_instance_uid: str
    has_data_set: bool


def read_store_request(encoded: bytes | bytearray) -> StoreCommand | None:
    """The C-STORE-RQ of this command set; None where it is another message, or one that breaks PS3.7."""
    values = _values(encoded)
    message_id = values.get(_MESSAGE_ID, b"")
    if values.get(_FIELD) != C_STORE_RQ.to_bytes(2, "little") or len(message_id) != 2:
        return None
    return StoreCommand(
        message_id=int.from_bytes(message_id, "little"),
        sop_class_uid=_text(values.get(_SOP_CLASS, b"")),
        sop_instance_uid=_text(values.get(_INSTANCE, b"")),
        has_data_set=values.get(_DATA_SET_TYPE) != _NO_DATA_SET.to_bytes(2, "little"),
    )


def has_data_set(encoded: bytes | bytearray) -> bool:
    """Whether a data set follows this command set (PS3.7 E.1, Command Data Set Type)."""
    return _values(encoded).get(_DATA_SET_TYPE) != _NO_DATA_SET.to_bytes(2, "little")


def write_store_response(request: StoreCommand, status: int, comment: str) -> bytes:
    """The C-STORE-RSP to `request`, with Error Comment where there is one."""
    body = b"".join((
        _uid(_SOP_CLASS, request.sop_class_uid),
        _number(_FIELD, _C_STORE_RSP),
        _number(_RESPONDED_TO, request.message_id),
        _number(_DATA_SET_TYPE, _NO_DATA_SET),
        _number(_STATUS, status),
        _element(_COMMENT, _even(comment.encode("ascii", "replace"), b" ")) if comment else b"",
        _uid(_INSTANCE, request.sop_instance_uid),
    ))  # fmt: skip
    return _element(_GROUP_LENGTH, struct.pack("<I", len(body))) + body


def _values(encoded: bytes | bytearray) -> dict[int, bytes]:
    """The values of group 0000 by element number; nothing where the bytes are no command set."""
    found: dict[int, bytes] = {}
    position = 0
    while position + _ELEMENT.size <= len(encoded):
        group, element, length = _ELEMENT.unpack_from(encoded, position)
        position += _ELEMENT.size
        if group or length > len(encoded) - position:
            return {}
        found[element] = bytes(encoded[position : position + length])
        position += length
    return found if position == len(encoded) else {}


def _text(value: bytes) -> str:
    return value.decode("ascii", "backslashreplace").rstrip("\0 ")


def _uid(number: int, value: str) -> bytes:
    """As the request had it, but never longer than a UID may be; nothing where it had none."""
    encoded = value.encode("ascii", "replace")[:_MAX_UID_BYTES]
    return _element(number, _even(encoded, b"\0")) if encoded else b""


def _number(element: int, value: int) -> bytes:
    return _element(element, struct.pack("<H", value))


def _element(number: int, value: bytes) -> bytes:
    return _ELEMENT.pack(0, number, len(value)) + value


def _even(value: bytes, pad: bytes) -> bytes:
    return value + pad * (len(value) % 2)
