"""Which form a stored range goes out in for an Accept header: the archive decides, the gateway remembers.

The answer depends on nothing but the words of the question, so that it can be kept for as long as this program
runs. Where the archive would have to make anything, or refuse, there is none: then it answers itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from services.archive.dicomweb.accept import DICOM, EXPLICIT_LE, JSON_TYPES, OCTETS, MediaRange, ranked
from services.archive.dicomweb.frames import chosen
from services.archive.dicomweb.zipped import ZIP
from services.common.errors import BadRequest, NotAcceptable


class Kind(StrEnum):
    """What is asked for."""

    FRAMES = "frames"
    INSTANCES = "instances"
    BULK_DATA = "bulkdata"
    METADATA = "metadata"


@dataclass(frozen=True, slots=True)
class Representation:
    """The media type of the parts, the one that is stated with each, and whether they go out as multipart."""

    part_type: str
    content_type: str
    multipart: bool


def represent(kind: Kind, syntaxes: Sequence[str], accept: str, *, single: bool) -> Representation | None:
    """How stored bytes answer this header as they are; None: ask the archive.

    `syntaxes` are the transfer syntaxes of what is asked for; the content type of instances is that of the first.
    """
    try:
        ranges = ranked(accept)
        match kind:
            case Kind.FRAMES:
                form = chosen(syntaxes[0], ranges, single=single)
                return (
                    Representation(form.kind, form.content_type, form.multipart) if form.as_stored else None
                )
            case Kind.INSTANCES:
                return _instances(syntaxes, ranges, single=single)
            case Kind.BULK_DATA:
                return _plain(ranges, (OCTETS,))
            case Kind.METADATA:
                found = _plain([one for one in ranges if not one.is_multipart], JSON_TYPES)
                return Representation(found.part_type, found.content_type, multipart=False) if found else None
    except (BadRequest, NotAcceptable):
        return None


def _instances(
    syntaxes: Sequence[str], ranges: Sequence[MediaRange], *, single: bool
) -> Representation | None:
    for one in ranges:
        if one.kind == ZIP:
            return None
        if one.takes(DICOM) and (one.is_multipart or one.kind == "*/*" or single):
            # As `Retrieval` reads it: an open type leaves the choice, application/dicom alone is Explicit VR LE.
            wanted = one.transfer_syntax or ("*" if one.content != DICOM else EXPLICIT_LE)
            if not all(wanted in ("*", syntax) for syntax in syntaxes):
                return None
            content_type = f"{DICOM};transfer-syntax={syntaxes[0]}"
            return Representation(DICOM, content_type, one.is_multipart or one.kind == "*/*")
    return None


def _plain(ranges: Sequence[MediaRange], types: Sequence[str]) -> Representation | None:
    for one in ranges:
        for kind in types:
            if one.takes(kind):
                return Representation(kind, kind, one.is_multipart or one.kind == "*/*")
    return None
