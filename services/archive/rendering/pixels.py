"""Within a worker: frames as arrays, data sets in other transfer syntaxes. Everything here may be ended at any moment."""

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import config, dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_fragments, generate_frames, parse_basic_offsets
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.utils import compress, decompress
from pydicom.sequence import Sequence
from pydicom.uid import (
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from services.archive.rendering.byte_order import swapped
from services.archive.rendering.syntaxes import EXPLICIT_LE, is_encapsulated

config.settings.reading_validation_mode = config.IGNORE
config.settings.writing_validation_mode = config.IGNORE

Array = NDArray[Any]
_KEYWORDS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
# Offset tables say where frames lie in the whole; of one frame they would say something wrong.
_TABLES = (0x7FE00001, 0x7FE00002)
# Enhanced multi-frame objects say these once for all frames or once a frame (PS3.3 C.7.6.16).
_PER_FRAME = ("PixelValueTransformationSequence", "FrameVOILUTSequence")


class Refusal(Exception):
    """The image cannot be worked on; the sentence goes to the client and holds nothing of the image."""


def read(content: bytes | bytearray, *, stop_before_pixels: bool = False) -> Dataset:
    """A Part 10 file. Raises `Refusal`."""
    try:
        return dcmread(io.BytesIO(content), force=True, stop_before_pixels=stop_before_pixels)
    except MemoryError:
        raise
    except Exception as error:
        raise Refusal("The data set cannot be read.") from error


def one_frame(header: bytes | bytearray, frame: bytes | bytearray, index: int) -> Dataset:
    """A data set that holds this frame alone: the attributes of frame `index`, from 0, and its pixels.

    `header` is a Part 10 file that may end within its pixel data; `frame` is native little endian, or a code stream.
    """
    data_set = read(header, stop_before_pixels=True)
    for tag in _TABLES:
        data_set.pop(tag, None)
    _flatten(data_set, index)
    data_set.NumberOfFrames = 1
    value = bytes(frame)
    if is_encapsulated(_syntax(data_set)):
        data_set.PixelData = encapsulate([value])
        data_set["PixelData"].VR = "OB"
        data_set["PixelData"].is_undefined_length = True
    else:
        setattr(data_set, _pixel_keyword(data_set), value + b"\0" * (len(value) % 2))
    return data_set


def decoded(data_set: Dataset) -> tuple[Array, str]:
    """The stored values of the only frame, rows x columns (x samples), and what they are (RGB for any YCbCr).

    Raises `Refusal`.
    """
    syntax = UID(str(data_set.file_meta.TransferSyntaxUID))
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError as error:
        raise Refusal(f"There is no decoder for transfer syntax {syntax}.") from error
    try:
        array, properties = decoder.as_array(data_set, index=0)
    except MemoryError:
        raise
    except Exception as error:
        raise Refusal(
            "The pixel data cannot be decoded: it is damaged, or is not what its attributes say."
        ) from error
    return array, str(properties["photometric_interpretation"])


def native_bytes(array: Array, bits_allocated: int) -> bytes:
    """The frame as Explicit VR Little Endian has it: little endian, pixel by pixel (PS3.5 8.1.1)."""
    if bits_allocated == 1:
        return np.packbits(array.astype(np.uint8).ravel(), bitorder="little").tobytes()
    return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()


def encoded(data_set: Dataset, target: str) -> bytes:
    """The only frame as a code stream in `target`, without loss. Raises `Refusal`."""
    return next(generate_frames(_converted(data_set, target).PixelData, number_of_frames=1))


def separated(content: bytes | bytearray) -> list[bytes]:
    """The header (a Part 10 file without pixels) and each frame of an instance whose frames are no byte ranges.

    Deflated data sets are inflated, big-endian pixels swapped, fragments joined, bits that share a byte told apart.
    Raises `Refusal`.
    """
    data_set = read(content)
    syntax, name = _syntax(data_set), _pixels_of(data_set)
    try:
        if is_encapsulated(syntax):
            frames = list(generate_frames(data_set.PixelData, number_of_frames=_count(data_set)))
        else:
            data_set = _in_little_endian(data_set) if syntax == ExplicitVRBigEndian else data_set
            frames = _native_frames(data_set, name)
    except (MemoryError, Refusal):
        raise
    except Exception as error:
        raise _inseparable() from error
    for one in (*_TABLES, name):
        if one in data_set:
            del data_set[one]
    return [_written(data_set, syntax if is_encapsulated(syntax) else EXPLICIT_LE), *frames]


def joined(content: bytes | bytearray) -> bytes:
    """All fragments of an encapsulated value in one: a video is one stream (PS3.5 A.4.5). Raises `Refusal`."""
    data_set = read(content)
    try:
        source = io.BytesIO(data_set[_pixels_of(data_set)].value)
        parse_basic_offsets(source)
        return b"".join(generate_fragments(source))
    except (MemoryError, Refusal):
        raise
    except Exception as error:
        raise Refusal("The fragments of the pixel data cannot be read.") from error


def transcoded(content: bytes | bytearray, target: str) -> bytes:
    """A Part 10 file of the same instance in `target`, without a loss beyond what it came with. Raises `Refusal`."""
    data_set = read(content)
    return _written(_converted(data_set, target), target)


def _converted(data_set: Dataset, target: str) -> Dataset:
    syntax = _syntax(data_set)
    if syntax == target:
        return data_set
    try:
        if syntax == ExplicitVRBigEndian:
            data_set = _in_little_endian(data_set)
        elif is_encapsulated(syntax):
            decompress(data_set, generate_instance_uid=False)
        if is_encapsulated(target):
            data_set.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
            compress(data_set, UID(target), generate_instance_uid=False)
    except MemoryError:
        raise
    except Exception as error:
        raise Refusal(f"The image cannot be converted to transfer syntax {target}.") from error
    return data_set


def _written(data_set: Dataset, target: str) -> bytes:
    """The data set as a Part 10 file; its preamble is zeros."""
    data_set.file_meta.TransferSyntaxUID = UID(target)
    data_set.preamble = bytes(128)
    file = io.BytesIO()
    try:
        data_set.save_as(
            file, implicit_vr=target == ImplicitVRLittleEndian, little_endian=True, enforce_file_format=True
        )
    except MemoryError:
        raise
    except Exception as error:
        raise Refusal("The data set cannot be written in another encoding.") from error
    return file.getvalue()


def _in_little_endian(data_set: Dataset) -> Dataset:
    """A big-endian data set as pydicom may write it in little endian: every value that is bytes has its words swapped."""
    result = Dataset()
    for element in data_set:
        if element.VR == "SQ":
            value: Any = Sequence([_in_little_endian(item) for item in element.value])
        elif isinstance(element.value, bytes):
            word = _pixel_word(data_set, element.VR) if element.keyword in _KEYWORDS else element.VR
            value = swapped(element.value, word)
        else:
            value = element.value
        result.add_new(element.tag, element.VR, value)
    if hasattr(data_set, "file_meta"):
        result.file_meta = data_set.file_meta
        result.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return result


def _pixel_word(data_set: Dataset, vr: str) -> str:
    """By what pixels are swapped: 8-bit ones in OW come in 16-bit words (PS3.5 8.1.2)."""
    if vr in ("OF", "OD"):
        return vr
    bits = max(16 if vr == "OW" else 8, int(data_set.BitsAllocated))
    return {8: "OB", 16: "OW", 32: "OF", 64: "OD"}[bits]


def _native_frames(data_set: Dataset, name: str) -> list[bytes]:
    pixels = bytes(data_set[name].value)
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
    stream = np.unpackbits(np.frombuffer(pixels, np.uint8), count=count * bits, bitorder="little")
    return [np.packbits(frame, bitorder="little").tobytes() for frame in stream.reshape(count, bits)]


def _flatten(data_set: Dataset, index: int) -> None:
    """Lay what a functional group says of this frame over the data set, where classic objects have it."""
    per_frame = data_set.get("PerFrameFunctionalGroupsSequence") or []
    shared = data_set.get("SharedFunctionalGroupsSequence") or []
    own = per_frame[index] if index < len(per_frame) else None
    for group in filter(None, (shared[0] if len(shared) else None, own)):
        for name in _PER_FRAME:
            for item in list(group.get(name) or [])[:1]:
                data_set.update({element.tag: element for element in item})


def _syntax(data_set: Dataset) -> str:
    return str(data_set.file_meta.get("TransferSyntaxUID", EXPLICIT_LE))


def _pixels_of(data_set: Dataset) -> str:
    """The keyword of the element that holds the pixels. Raises `Refusal` where there is none."""
    for name in _KEYWORDS:
        if name in data_set:
            return name
    raise Refusal("The instance holds no pixel data.")


def _pixel_keyword(data_set: Dataset) -> str:
    """Which of the three its pixels belong into: floats have no Pixel Representation (PS3.3 C.7.6.24)."""
    if "PixelRepresentation" in data_set or "BitsAllocated" not in data_set:
        return "PixelData"
    return {32: "FloatPixelData", 64: "DoubleFloatPixelData"}.get(int(data_set.BitsAllocated), "PixelData")


def _count(data_set: Dataset) -> int:
    return int(data_set.get("NumberOfFrames") or 1)


def _inseparable() -> Refusal:
    return Refusal("The frames of this instance cannot be told apart.")
