"""One DICOM instance: its identity, its digests and where its parts lie (docs/contracts.md, section 3).

Errors, all `InstanceError` (a `ValueError`):

    InstanceError
    |-- NotDicom            no PS3.10 file: no preamble and DICM prefix, or no readable file meta information
    |-- InvalidUid          a UID that breaks PS3.5 9.1, such as `../../etc/passwd`
    |-- MissingIdentity     no SOP Class, SOP Instance, Study or Series Instance UID
    |-- MalformedDataSet    an encoding that cannot be read
    |   `-- TruncatedDataSet    ... because it ends too early
    `-- OverLimits          deeper, longer or more numerous than `Limits`
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from hashlib import sha256
from io import BytesIO
from typing import TYPE_CHECKING, Any

import pydicom
from pydicom.tag import Tag
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
)

from services.packs import file_meta
from services.packs import frames as frame_ranges
from services.packs.elements import (
    PIXEL_DATA,
    InstanceError,
    Limits,
    MalformedDataSet,
    OverLimits,
    TruncatedDataSet,
    Value,
    walk,
)
from services.packs.file_meta import NotDicom, text

if TYPE_CHECKING:
    from hashlib import _Hash as Hash

__all__ = [
    "Description",
    "Identity",
    "Instance",
    "InstanceError",
    "InvalidUid",
    "Limits",
    "MalformedDataSet",
    "MissingIdentity",
    "NotDicom",
    "OverLimits",
    "TruncatedDataSet",
    "check_uid",
    "describe",
    "digest_of",
    "digest_start",
    "is_uid",
    "scan",
    "scan_data_set",
]

_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
_SOP_CLASS, _SOP_INSTANCE, _STUDY, _SERIES = 0x0008_0016, 0x0008_0018, 0x0020_000D, 0x0020_000E
_SAMPLES, _PHOTOMETRIC, _FRAMES, _ROWS, _COLUMNS, _BITS = (
    0x0028_0002, 0x0028_0004, 0x0028_0008, 0x0028_0010, 0x0028_0011, 0x0028_0100,
)  # fmt: skip
_OFFSET_TABLE, _OFFSET_LENGTHS, _FLOAT_PIXELS, _DOUBLE_PIXELS = (
    0x7FE0_0001, 0x7FE0_0002, 0x7FE0_0008, 0x7FE0_0009,
)  # fmt: skip
_IDENTIFIERS = {
    _SOP_CLASS: "SOP Class UID (0008,0016)",
    _SOP_INSTANCE: "SOP Instance UID (0008,0018)",
    _STUDY: "Study Instance UID (0020,000D)",
    _SERIES: "Series Instance UID (0020,000E)",
}
_PIXELS = (PIXEL_DATA, _FLOAT_PIXELS, _DOUBLE_PIXELS)
_WANTED = frozenset(_IDENTIFIERS) | frozenset(_PIXELS) | {
    _SAMPLES, _PHOTOMETRIC, _FRAMES, _ROWS, _COLUMNS, _BITS,
    _OFFSET_TABLE, _OFFSET_LENGTHS,
}  # fmt: skip


class InvalidUid(InstanceError):
    """A value that is no UID; it must never become a key, a path or a parameter."""


class MissingIdentity(InstanceError):
    """An attribute that every composite instance carries is absent or empty."""


def is_uid(value: str) -> bool:
    """Whether `value` is digits and single dots, 1 to 64 characters (PS3.5 9.1).

    Leading zeros in a component break the standard too, but real devices send them: they harm nothing.
    """
    return 1 <= len(value) <= 64 and value.isascii() and _UID.fullmatch(value) is not None


def check_uid(value: str, what: str = "UID") -> str:
    """`value` itself if it is a UID. Raises `InvalidUid` naming `what`."""
    if not is_uid(value):
        raise InvalidUid(f"{what} is no UID (1-64 digits and dots, PS3.5 9.1): {value[:80]!r}")
    return value


@dataclass(frozen=True, slots=True)
class Identity:
    """What makes an instance one and the same everywhere in the region."""

    institution: str
    sop_instance_uid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """What is known of an instance without reading its pixels. Offsets and lengths are bytes from its file's start.

    `pixel_offset` and `pixel_length` are 0 where there is no pixel data or where it cannot be addressed
    (deflated). `frames` as in `services.packs.frames`.
    """

    sop_instance_uid: str
    sop_class_uid: str
    study_uid: str
    series_uid: str
    transfer_syntax: str
    length: int
    data_offset: int
    digest: str
    pixel_offset: int
    pixel_length: int
    frames: frame_ranges.Ranges


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance(Description):
    """What `scan` finds in Part 10 bytes; `pixel_digest` is empty only where there are no pixels."""

    pixel_digest: str


def digest_start(transfer_syntax: str) -> Hash:
    """The running digest of an instance in this transfer syntax, before the first byte of its data set."""
    return sha256(transfer_syntax.encode("ascii") + b"\0")


def digest_of(transfer_syntax: str, *data_set: bytes | memoryview) -> str:
    """SHA-256, lower-case hex, over transfer syntax UID, a zero byte and the encoded data set."""
    total = digest_start(transfer_syntax)
    for part in data_set:
        total.update(part)
    return total.hexdigest()


def scan(data: bytes | bytearray | memoryview, limits: Limits | None = None) -> Instance:
    """Read what identifies and addresses a Part 10 instance, and digest it.

    Raises one of the errors of this module; never `RecursionError`, `struct.error` or `MemoryError` for
    what a peer sent.
    """
    limits = limits or Limits()
    view = memoryview(data).toreadonly()
    transfer_syntax, data_offset = file_meta.read(view, limits)
    return scan_data_set(view[data_offset:], transfer_syntax, data_offset, limits)


def scan_data_set(
    data_set: bytes | memoryview, transfer_syntax: str, data_offset: int, limits: Limits | None = None
) -> Instance:
    """`scan` for a data set that comes without its file head, which will take up `data_offset` bytes."""
    check_uid(transfer_syntax, "Transfer Syntax UID (0002,0010)")
    view = memoryview(data_set).toreadonly()
    known, pixels = _describe(view, transfer_syntax, data_offset, limits or Limits())
    known["digest"] = digest_of(transfer_syntax, view)
    return Instance(**known, pixel_digest="" if pixels is None else sha256(pixels).hexdigest())


def describe(
    data_set: bytes | memoryview,
    transfer_syntax: str,
    data_offset: int,
    digest: str,
    limits: Limits | None = None,
) -> Description:
    """`scan_data_set` where the digest was taken as the bytes came: it refuses the same, and reads only elements."""
    check_uid(transfer_syntax, "Transfer Syntax UID (0002,0010)")
    view = memoryview(data_set).toreadonly()
    known, _ = _describe(view, transfer_syntax, data_offset, limits or Limits())
    return Description(**known, digest=digest)


def _describe(
    view: memoryview, transfer_syntax: str, data_offset: int, limits: Limits
) -> tuple[dict[str, Any], memoryview | None]:
    """The fields of a `Description` but for the digest, and the pixels' bytes where there are any."""
    if data_offset + len(view) > limits.instance_bytes:
        raise OverLimits(f"instance of {len(view)} bytes; at most {limits.instance_bytes} are taken")
    deflated = transfer_syntax == DeflatedExplicitVRLittleEndian
    body = _inflate(view, limits) if deflated else view
    try:
        found = walk(
            body,
            0,
            implicit=_is_implicit(body, declared=transfer_syntax == ImplicitVRLittleEndian),
            big_endian=transfer_syntax == ExplicitVRBigEndian,
            wanted=_WANTED,
            limits=limits,
        )
        identifiers = {tag: text(body, found.get(tag)) for tag in _IDENTIFIERS}
    except TruncatedDataSet:
        raise
    except MalformedDataSet as problem:
        found, identifiers = {}, _read_with_pydicom(view, transfer_syntax, problem)
    for tag, name in _IDENTIFIERS.items():
        if not identifiers[tag]:
            raise MissingIdentity(f"the data set has no {name}")
        check_uid(identifiers[tag], name)

    pixels = next((found[tag] for tag in _PIXELS if tag in found), None)
    # In a deflated instance no byte of the pixels lies anywhere by itself.
    addressable = pixels if not deflated else None
    ranges = _frames(body, found, addressable, transfer_syntax) if addressable else ()
    known = {
        "sop_instance_uid": identifiers[_SOP_INSTANCE],
        "sop_class_uid": identifiers[_SOP_CLASS],
        "study_uid": identifiers[_STUDY],
        "series_uid": identifiers[_SERIES],
        "transfer_syntax": transfer_syntax,
        "length": data_offset + len(view),
        "data_offset": data_offset,
        "pixel_offset": data_offset + addressable.offset if addressable else 0,
        "pixel_length": addressable.length if addressable else 0,
        "frames": tuple((data_offset + offset, length) for offset, length in ranges),
    }
    return known, body[pixels.offset : pixels.offset + pixels.length] if pixels else None


def _inflate(data: memoryview, limits: Limits) -> memoryview:
    """The data set of a deflated instance (PS3.5 A.5), at most `limits.inflated_bytes` of it."""
    machine = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        inflated = machine.decompress(data, limits.inflated_bytes + 1)
    except zlib.error as error:
        raise MalformedDataSet(f"the deflated data set cannot be inflated: {error}") from None
    if len(inflated) > limits.inflated_bytes:
        raise OverLimits(f"the deflated data set unfolds to more than {limits.inflated_bytes} bytes")
    if not machine.eof:
        raise TruncatedDataSet("the deflated data set ends before its last block")
    return memoryview(inflated)


def _is_implicit(view: memoryview, *, declared: bool) -> bool:
    """Whether the data set is implicit VR; some writers declare one encoding and use the other."""
    if len(view) < 8:
        return declared
    # The first element is of group 8 or below: an implicit length that spells two capitals is > 16 KiB.
    vr = bytes(view[4:6])
    return not (vr.isalpha() and vr.isupper())


def _read_with_pydicom(
    data_set: memoryview, transfer_syntax: str, problem: MalformedDataSet
) -> dict[int, str]:
    """Identifiers of an odd data set that the walk gave up on; such an instance gets no frame ranges."""
    head = file_meta.encode("1.2.840.10008.1.1", "1.2.840.10008.1.1", transfer_syntax)
    try:
        parsed = pydicom.dcmread(
            BytesIO(head + data_set), stop_before_pixels=True, specific_tags=list(map(Tag, _IDENTIFIERS))
        )
        return {tag: str(parsed[tag].value or "") if tag in parsed else "" for tag in _IDENTIFIERS}
    except (Exception, RecursionError) as error:
        raise problem from error


def _frames(
    view: memoryview, found: dict[int, Value], pixels: Value, transfer_syntax: str
) -> frame_ranges.Ranges:
    big_endian = transfer_syntax == ExplicitVRBigEndian
    count = _integer(text(view, found.get(_FRAMES)) or "1")
    if pixels.encapsulated:
        table, lengths = found.get(_OFFSET_TABLE), found.get(_OFFSET_LENGTHS)
        extended = (table, lengths) if table and lengths else None
        return frame_ranges.encapsulated(view, count, pixels, transfer_syntax, extended)

    def number(tag: int) -> int:
        value = found.get(tag)
        return _u16(view, value.offset, big_endian) if value and value.length >= 2 else 0

    photometric = text(view, found.get(_PHOTOMETRIC))
    description = frame_ranges.PixelDescription(
        number(_ROWS), number(_COLUMNS), number(_SAMPLES), number(_BITS), photometric, count
    )
    return frame_ranges.native(description, pixels, transfer_syntax)


def _integer(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() else 0


def _u16(view: memoryview, offset: int, big_endian: bool = False) -> int:
    return int.from_bytes(view[offset : offset + 2], "big" if big_endian else "little")
