"""A chest that nobody has: a seeded CT phantom, and UIDs that no other run has.

Same seed, same pixels: a run can be repeated and its bytes compared. The phantom has the
noise of a real acquisition, because a lossless codec or a compressing disk would make a
flat image look faster than any hospital's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from uuid import UUID, uuid4, uuid5

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

AIR, LUNG, FAT, TISSUE, BONE = -1000, -820, -90, 45, 620
"""Hounsfield units of what the phantom is made of."""

_RESCALE_INTERCEPT = -1024


@dataclass(frozen=True)
class RunUids:
    """UIDs of one run: `2.25.` and a UUID as a decimal number (PS3.5 B.2), derived from a label."""

    run: UUID

    @classmethod
    def fresh(cls) -> RunUids:
        return cls(uuid4())

    @property
    def token(self) -> str:
        """Eight hex digits that mark everything of this run for a human eye."""
        return self.run.hex[:8]

    def uid(self, *label: str | int) -> str:
        return f"2.25.{uuid5(self.run, '/'.join(map(str, label))).int}"


def chest_slice(seed: int, index: int, count: int, matrix: int) -> npt.NDArray[np.uint16]:
    """Stored values (rows, columns) of slice `index` of `count`, from the neck down; 12 significant bits.

    Hounsfield units are stored value + Rescale Intercept (PS3.3 C.11.1.1.2).
    """
    if not 0 <= index < count:
        raise ValueError(f"slice {index} is outside 0..{count - 1}")
    depth = index / max(count - 1, 1)
    y, x = np.mgrid[-1 : 1 : matrix * 1j, -1 : 1 : matrix * 1j]
    swell = 0.85 + 0.15 * np.sin(np.pi * depth)

    def ellipse(cx: float, cy: float, rx: float, ry: float) -> npt.NDArray[np.bool_]:
        inside: npt.NDArray[np.bool_] = ((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 <= 1.0
        return inside

    hounsfield = np.full((matrix, matrix), AIR, dtype=np.float32)
    hounsfield[ellipse(0, 0, 0.90 * swell, 0.62 * swell)] = FAT
    hounsfield[ellipse(0, 0, 0.84 * swell, 0.56 * swell)] = TISSUE
    lung = 0.42 * np.sqrt(max(np.sin(np.pi * depth), 0.0)) * swell
    if lung > 0.02:
        hounsfield[ellipse(-0.42 * swell, -0.03, lung * 0.75, lung)] = LUNG
        hounsfield[ellipse(0.42 * swell, -0.03, lung * 0.75, lung)] = LUNG
        hounsfield[ellipse(0.10, 0.02, lung * 0.45, lung * 0.5)] = TISSUE + 5  # the heart
    hounsfield[ellipse(0, 0.42 * swell, 0.11, 0.10)] = BONE
    hounsfield[ellipse(0, 0.42 * swell, 0.045, 0.04)] = TISSUE
    for rib in range(6):
        angle = np.pi * (rib + 0.5) / 6 + 0.1 * np.sin(40 * depth)
        side, up = 0.80 * swell * np.cos(angle), 0.52 * swell * np.sin(angle)
        hounsfield[ellipse(side, up, 0.045, 0.03) | ellipse(side, -up, 0.045, 0.03)] = BONE
    noise = np.random.default_rng((seed, index)).normal(0.0, 18.0, hounsfield.shape)
    stored = np.clip(np.rint(hounsfield + noise) - _RESCALE_INTERCEPT, 0, 4095)
    return np.asarray(stored, dtype=np.uint16)


@dataclass(frozen=True)
class CtStudy:
    """One CT series, `matrix` x `matrix`, slices 1 mm apart; `seed` and `uids` decide every byte."""

    uids: RunUids
    seed: int
    count: int
    matrix: int = 512
    label: str = "ct"
    patient_id: str = "PHANTOM"
    patient_name: str = "Phantom^Chest"

    @property
    def study_uid(self) -> str:
        return self.uids.uid(self.label, "study")

    @property
    def series_uid(self) -> str:
        return self.uids.uid(self.label, "series")

    def slice_uid(self, index: int) -> str:
        return self.uids.uid(self.label, "slice", index)

    def slices(self) -> Iterator[Dataset]:
        """Slice by slice, so that a study of any length needs the memory of one."""
        for index in range(self.count):
            yield self.slice(index)

    def slice(self, index: int) -> Dataset:
        """A CT Image Storage instance (PS3.3 A.3) with file meta information, explicit VR little endian."""
        ds = Dataset()
        ds.SpecificCharacterSet = "ISO_IR 192"
        ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        ds.SOPClassUID = CTImageStorage
        ds.SOPInstanceUID = self.slice_uid(index)
        ds.StudyDate = ds.SeriesDate = ds.ContentDate = "20260101"
        ds.StudyTime = ds.SeriesTime = ds.ContentTime = "080000"
        ds.AccessionNumber = ""
        ds.Modality = "CT"
        ds.Manufacturer = "PHANTOM"
        ds.ReferringPhysicianName = ""
        ds.StudyDescription = "Synthetic chest"
        ds.SeriesDescription = f"{self.count} x 1 mm"
        ds.PatientName = self.patient_name
        ds.PatientID = self.patient_id
        ds.PatientBirthDate = ""
        ds.PatientSex = "O"
        ds.SliceThickness = "1"
        ds.KVP = "120"
        ds.PatientPosition = "HFS"
        ds.StudyInstanceUID = self.study_uid
        ds.SeriesInstanceUID = self.series_uid
        ds.StudyID = "1"
        ds.SeriesNumber = 1
        ds.InstanceNumber = index + 1
        spacing = round(400 / self.matrix, 6)
        ds.ImagePositionPatient = [-200, -200, -index]
        ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        ds.FrameOfReferenceUID = self.uids.uid(self.label, "frame-of-reference")
        ds.PositionReferenceIndicator = ""
        ds.SamplesPerPixel = 1
        ds.PhotometricInterpretation = "MONOCHROME2"
        ds.Rows = ds.Columns = self.matrix
        ds.PixelSpacing = [spacing, spacing]
        ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
        ds.WindowCenter, ds.WindowWidth = "40", "400"
        ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = str(_RESCALE_INTERCEPT), "1", "HU"
        ds.PixelData = chest_slice(self.seed, index, self.count, self.matrix).tobytes()
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
        return ds
