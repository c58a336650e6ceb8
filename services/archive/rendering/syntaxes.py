"""Every transfer syntax of PS3.5 section 10 and annex A: what can be made of an instance that came in it.

An instance is stored as it came whatever its syntax; this table decides on rendering and transcoding alone.
"""

from dataclasses import dataclass
from enum import Enum

from pydicom.uid import (
    JPEG2000,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

HTJ2K = "1.2.840.10008.1.2.4.203"
EXPLICIT_LE = str(ExplicitVRLittleEndian)
NATIVE = frozenset(
    map(
        str,
        (ImplicitVRLittleEndian, ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian),
    )
)
_VIDEO = "1.2.840.10008.1.2.4.10"  # .100 to .108, and their fragmentable forms .100.1 to .106.1


class Pixels(Enum):
    """What can be done with the pixels of a transfer syntax."""

    NATIVE = "native"
    DECODED = "decoded"
    VIDEO = "video"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Syntax:
    """One compressed transfer syntax: the media type of a frame, and whether frames can be made in it."""

    uid: str
    name: str
    media_type: str
    encoded: bool = False


# Media types: PS3.18 table 8.7.3-5. Frames are encoded without loss only: what a client asks for must be the image.
COMPRESSED: tuple[Syntax, ...] = (
    Syntax(str(JPEGBaseline8Bit), "JPEG baseline", "image/jpeg"),
    Syntax(str(JPEGExtended12Bit), "JPEG extended", "image/jpeg"),
    Syntax(str(JPEGLossless), "JPEG lossless", "image/jpeg"),
    Syntax(str(JPEGLosslessSV1), "JPEG lossless, first-order prediction", "image/jpeg"),
    Syntax(str(JPEGLSLossless), "JPEG-LS lossless", "image/jls", encoded=True),
    Syntax(str(JPEGLSNearLossless), "JPEG-LS near-lossless", "image/jls"),
    Syntax(str(JPEG2000Lossless), "JPEG 2000 lossless", "image/jp2", encoded=True),
    Syntax(str(JPEG2000), "JPEG 2000", "image/jp2"),
    Syntax(str(HTJ2KLossless), "HTJ2K lossless", "image/jphc"),
    Syntax(str(HTJ2KLosslessRPCL), "HTJ2K lossless, RPCL", "image/jphc"),
    Syntax(HTJ2K, "HTJ2K", "image/jphc"),
    Syntax(str(RLELossless), "RLE lossless", "image/dicom-rle", encoded=True),
)
FRAME_TYPES = {one.uid: one.media_type for one in COMPRESSED}
# What an instance can be written in when a client asks: the native two that are in use, and the lossless codecs.
TARGETS: tuple[str, ...] = (
    EXPLICIT_LE,
    str(ImplicitVRLittleEndian),
    *(one.uid for one in COMPRESSED if one.encoded),
)


def pixels_of(transfer_syntax: str) -> Pixels:
    """What can be done with pixels in this syntax."""
    if transfer_syntax in NATIVE:
        return Pixels.NATIVE
    if transfer_syntax in FRAME_TYPES:
        return Pixels.DECODED
    return Pixels.VIDEO if transfer_syntax.startswith(_VIDEO) else Pixels.UNKNOWN


def is_encapsulated(transfer_syntax: str) -> bool:
    """Whether pixel data comes in fragments (PS3.5 A.4): true of every syntax that is not one of the native four."""
    return transfer_syntax not in NATIVE


def video_type(transfer_syntax: str) -> str:
    """The media type of a video's stream (PS3.18 table 8.7.3-7): MPEG-2, else MPEG-4 and HEVC; octets if none."""
    if pixels_of(transfer_syntax) is not Pixels.VIDEO:
        return "application/octet-stream"
    return "video/mpeg" if transfer_syntax.startswith((_VIDEO + "0", _VIDEO + "1")) else "video/mp4"
