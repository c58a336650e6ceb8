"""Small DICOM files: pydicom's own test files, each with UIDs of its own, and synthetic ones."""

import io
from functools import cache
from pathlib import Path

import pydicom
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

CT = "1.2.840.10008.5.1.4.1.1.2"
CHARSETS = Path(pydicom.__file__).parent / "data" / "charset_files"


@cache
def file_bytes(name: str) -> bytes:
    """A file that comes with pydicom, as it is: `CT_small.dcm`, or `chrH31.dcm` of the character sets."""
    if (CHARSETS / name).exists():
        return (CHARSETS / name).read_bytes()
    path = get_testdata_file(name, download=False)
    assert isinstance(path, str), f"{name} does not come with pydicom"
    return Path(path).read_bytes()


def synthetic(
    sop_instance_uid: str,
    *,
    study: str = "1.2.3",
    series: str = "1.2.3.1",
    pixels: bytes = bytes(range(16)) * 2,
    frames: int = 1,
    transfer_syntax: str = ExplicitVRLittleEndian,
    **attributes: object,
) -> bytes:
    """A 4 x 4 CT slice with 16 bits a pixel as Part 10 bytes; keyword arguments set attributes."""
    data_set = Dataset()
    data_set.file_meta = FileMetaDataset()
    data_set.file_meta.TransferSyntaxUID = UID(transfer_syntax)
    data_set.SOPClassUID, data_set.SOPInstanceUID = CT, sop_instance_uid
    data_set.StudyInstanceUID, data_set.SeriesInstanceUID = study, series
    data_set.SpecificCharacterSet = "ISO_IR 192"
    data_set.PatientName, data_set.PatientID = "Wang^XiaoDong=王^小東", "P1"
    data_set.StudyDate, data_set.StudyTime, data_set.AccessionNumber = "20250301", "101500", "A1"
    data_set.StudyID, data_set.Modality, data_set.SeriesNumber, data_set.InstanceNumber = "S1", "CT", 1, 1
    data_set.Rows = data_set.Columns = 4
    data_set.SamplesPerPixel, data_set.PhotometricInterpretation = 1, "MONOCHROME2"
    data_set.BitsAllocated = data_set.BitsStored = 16
    data_set.HighBit, data_set.PixelRepresentation = 15, 0
    if frames > 1:
        data_set.NumberOfFrames = frames
    data_set.PixelData = pixels * frames
    for keyword, value in attributes.items():
        setattr(data_set, keyword, value)
    target = io.BytesIO()
    data_set.save_as(target, enforce_file_format=True)
    return target.getvalue()


def data_set_of(part10: bytes) -> Dataset:
    """The decoded data set."""
    return dcmread(io.BytesIO(part10))
