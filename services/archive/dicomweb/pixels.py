"""Frames and pixel values that cannot be given as a stored byte range: deflated, big endian, split or packed.

Done in memory and therefore only up to `WORK_BYTES`; larger ones are refused with 406, and the
instance itself can still be had as stored.
"""

from collections.abc import Callable
from threading import BoundedSemaphore
from typing import Any, BinaryIO

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.filebase import DicomBytesIO
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from services.archive.dicomweb.accept import EXPLICIT_LE
from services.archive.index.records import StoredInstance
from services.common.errors import NotAcceptable

WORK_BYTES = 256 << 20
# Native syntaxes whose data set can be written anew in Explicit VR Little Endian without touching a pixel.
REWRITABLE = frozenset({str(ImplicitVRLittleEndian), str(DeflatedExplicitVRLittleEndian)})
_WORDS = {"OW": 2, "OF": 4, "OL": 4, "OD": 8, "OV": 8}
# Each worker may hold a few times WORK_BYTES: whoever works on a whole instance takes one of these places.
ROOM = BoundedSemaphore(2)


def is_encapsulated(transfer_syntax: str) -> bool:
    """Whether pixel data comes in fragments (PS3.5 A.4): true of every syntax that is not one of the native four."""
    native = {EXPLICIT_LE, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian}
    return transfer_syntax not in native


def is_rewritable(stored: StoredInstance) -> bool:
    """Whether `rewritten` can make Explicit VR Little Endian of this instance."""
    return stored.transfer_syntax in REWRITABLE and stored.length <= WORK_BYTES


def worked_frames(stored: StoredInstance, load: Callable[[], BinaryIO]) -> list[bytes]:
    """Every frame of an instance that has no frame ranges; `SplitFrames` calls it, within `ROOM`.

    Raises `NotAcceptable` if they cannot be told apart.
    """
    _check_size(stored)
    source = load()  # a store that is away is no fault of the instance
    try:
        data_set = dcmread(source, force=True)
        if is_encapsulated(stored.transfer_syntax):
            frames = list(generate_frames(data_set.PixelData, number_of_frames=_count(data_set)))
        else:
            frames = _native_frames(data_set, stored.transfer_syntax)
    except NotAcceptable:
        raise
    except Exception as error:
        raise _inseparable() from error
    return frames


def rewritten(stored: StoredInstance, load: Callable[[], BinaryIO]) -> bytes:
    """A Part 10 file of the same data set in Explicit VR Little Endian."""
    _check_size(stored)
    with ROOM:
        source = load()
        try:
            data_set = dcmread(source)
            data_set.file_meta.TransferSyntaxUID = UID(EXPLICIT_LE)
            target = DicomBytesIO()
            data_set.save_as(target, implicit_vr=False, little_endian=True, enforce_file_format=True)
        except Exception as error:
            raise NotAcceptable(
                "The data set cannot be written in Explicit VR Little Endian.",
                action="Add `transfer-syntax=*` to get it as stored.",
            ) from error
        return bytes(target.getvalue())


def swapped(value: bytes, vr: str) -> bytes:
    """A big-endian binary value in little endian (PS3.18 8.7.3.5: bulk data is little endian)."""
    size = _WORDS.get(vr, 1)
    if size == 1 or len(value) % size:
        return value
    result = bytearray(len(value))
    for place in range(size):
        result[place::size] = value[size - 1 - place :: size]
    return bytes(result)


def _native_frames(data_set: Dataset, transfer_syntax: str) -> list[bytes]:
    value: Any = data_set.PixelData
    pixels = bytes(value)
    if transfer_syntax == ExplicitVRBigEndian:
        # Words are swapped by the size of what they hold: 8-bit pixels in OW come in 16-bit words (PS3.5 8.1.2).
        bits = max(16 if data_set["PixelData"].VR == "OW" else 8, int(data_set.BitsAllocated))
        pixels = swapped(pixels, {8: "OB", 16: "OW", 32: "OF", 64: "OD"}[bits])
    count = _count(data_set)
    bits = data_set.Rows * data_set.Columns * data_set.SamplesPerPixel * data_set.BitsAllocated
    if data_set.PhotometricInterpretation == "YBR_FULL_422" and data_set.SamplesPerPixel == 3:
        bits = bits * 2 // 3
    if bits == 0 or count * bits > len(pixels) * 8:
        raise _inseparable()
    if bits % 8 == 0:
        length = bits // 8
        return [pixels[n * length : (n + 1) * length] for n in range(count)]
    return _bit_frames(pixels, bits, count)


def _bit_frames(pixels: bytes, bits: int, count: int) -> list[bytes]:
    """Frames of one bit a pixel: they follow each other without padding, least significant bit first (PS3.5 8.1.1)."""
    stream, mask = int.from_bytes(pixels, "little"), (1 << bits) - 1
    return [((stream >> n * bits) & mask).to_bytes((bits + 7) // 8, "little") for n in range(count)]


def _count(data_set: Dataset) -> int:
    return int(data_set.get("NumberOfFrames") or 1)


def _check_size(stored: StoredInstance) -> None:
    if stored.length > WORK_BYTES:
        raise NotAcceptable(
            f"This needs work on an instance of {stored.length} bytes; at most {WORK_BYTES} are worked on.",
            action="Add `transfer-syntax=*` to the accepted type and fetch the instance as stored.",
        )


def _inseparable() -> NotAcceptable:
    return NotAcceptable(
        "The frames of this instance cannot be told apart.", action="Fetch the instance as stored instead."
    )
