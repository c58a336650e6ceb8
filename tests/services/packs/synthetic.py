"""Small DICOM instances made for tests: every part that a test may want to vary is an argument."""

from __future__ import annotations

import io
import struct
from typing import Any

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.filewriter import dcmwrite
from pydicom.uid import ExplicitVRLittleEndian

CT = "1.2.840.10008.5.1.4.1.1.2"
STUDY = "1.2.826.0.1.3680043.10.1338.1"
SERIES = STUDY + ".1"


def data_set(
    uid: str, *, study: str = STUDY, rows: int = 4, columns: int = 6, frames: int = 1, **extra: Any
) -> Dataset:
    """A CT-like data set without pixel data; keywords in `extra` set further attributes."""
    made = Dataset()
    made.SOPClassUID, made.SOPInstanceUID = CT, uid
    made.StudyInstanceUID, made.SeriesInstanceUID = study, SERIES
    made.PatientName, made.PatientID = "Synthetic^Patient", "S-1"
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.Rows, made.Columns, made.BitsAllocated, made.BitsStored = rows, columns, 16, 12
    made.HighBit, made.PixelRepresentation = 11, 0
    if frames > 1:
        made.NumberOfFrames = frames
    for keyword, value in extra.items():
        setattr(made, keyword, value)
    return made


def part10(made: Dataset, transfer_syntax: str = ExplicitVRLittleEndian) -> bytes:
    """The data set as a file in this transfer syntax."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = made.SOPClassUID
    meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    meta.TransferSyntaxUID = transfer_syntax
    made.file_meta = meta
    target = io.BytesIO()
    dcmwrite(target, made, enforce_file_format=True)
    return target.getvalue()


def ct(
    uid: str = STUDY + ".1.1", *, study: str = STUDY, pixels: bytes | None = None, frames: int = 1
) -> bytes:
    """An uncompressed CT slice (or several frames) of 4 x 6 pixels."""
    made = data_set(uid, study=study, frames=frames)
    made.PixelData = pixels if pixels is not None else bytes(range(48)) * frames
    return part10(made)


def compressed(
    fragments: list[bytes],
    transfer_syntax: str,
    *,
    frames: int,
    uid: str = STUDY + ".1.2",
    table: bool = True,
) -> bytes:
    """An encapsulated instance with one item for each of `fragments`."""
    made = data_set(uid, frames=frames)
    made.PixelData = encapsulate(fragments, has_bot=table)
    made["PixelData"].is_undefined_length = True
    return part10(made, transfer_syntax)


def nested(depth: int, *, undefined: bool) -> bytes:
    """A CT slice with sequences `depth` deep, written by hand: libraries refuse to."""
    head = ct()
    tag = struct.pack("<HH2sxx", 0x0040, 0xA730, b"SQ")
    item = b"\xfe\xff\x00\xe0"
    inner = b""
    for _ in range(depth):
        if undefined:
            end = b"\xfe\xff\x0d\xe0\0\0\0\0", b"\xfe\xff\xdd\xe0\0\0\0\0"
            inner = tag + b"\xff" * 4 + item + b"\xff" * 4 + inner + end[0] + end[1]
        else:
            inner = item + struct.pack("<I", len(inner)) + inner
            inner = tag + struct.pack("<I", len(inner)) + inner
    return head + inner
