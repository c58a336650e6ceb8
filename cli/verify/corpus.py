"""What is sent: public test files of pydicom, each with UIDs of its own, and what was made for this.

Several of the public files share one SOP Instance UID and a few have none; sent as they are
they would be one object in a dozen versions. So each is read, gets the UIDs and the patient ID
of this run, and is written again in its own transfer syntax. Digests are taken of the result.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydicom import dcmread
from pydicom.charset import convert_encodings
from pydicom.data import get_charset_files, get_testdata_file
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import generate_frames
from pydicom.tag import Tag
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from cli.verify.document import encapsulated_pdf
from cli.verify.part10 import Part10, write_part10
from load_tests.data.synthetic import CtStudy, RunUids


class CorpusError(Exception):
    """A test file is missing on this machine; the text says which package brings it."""


@dataclass(frozen=True)
class Recipe:
    """One file of the corpus: `key` names it in tables, `source` is pydicom's name, "" if made here.

    `name` (already encoded) and `charset` replace the patient's name, for character sets without
    a public file; `search` are names that QIDO-RS must find it by.
    """

    key: str
    what: str
    source: str = ""
    name: bytes = b""
    charset: tuple[str, ...] = ()
    search: tuple[str, ...] = ()


CORPUS = (
    Recipe("ct", "CT, explicit little endian", "CT_small.dcm"),
    Recipe("mr", "MR, implicit little endian", "MR_small_implicit.dcm"),
    Recipe("mr-enhanced", "enhanced MR, 10 frames, JPEG-LS", "emri_small_jpeg_ls_lossless.dcm"),
    Recipe("us-multiframe", "ultrasound, 2 frames, native", "OBXXXX1A_2frame.dcm"),
    Recipe("us-cine", "ultrasound, 120 frames, JPEG baseline", "color3d_jpeg_baseline.dcm"),
    Recipe("cr", "CR, JPEG 2000", "RG3_J2KI.dcm"),
    Recipe("rt-plan", "RT plan", "rtplan.dcm"),
    Recipe("rt-struct", "RT structure set", "rtstruct.dcm"),
    Recipe("rt-dose", "RT dose, 15 frames", "rtdose.dcm"),
    Recipe("sr", "structured report", "test-SR.dcm"),
    Recipe("ecg", "12-lead ECG waveform", "waveform_ecg.dcm"),
    Recipe("seg", "segmentation, 1 bit", "liver_1frame.dcm"),
    Recipe("jpeg-lossless", "JPEG lossless, process 14 SV1", "JPGLosslessP14SV1_1s_1f_8b.dcm"),
    Recipe("jpeg-ls", "JPEG-LS lossless", "MR_small_jpeg_ls_lossless.dcm"),
    Recipe("jpeg-2000", "JPEG 2000 lossless", "693_J2KR.dcm"),
    Recipe("rle", "RLE lossless, 2 frames", "OBXXXX1A_rle_2frame.dcm"),
    Recipe("deflated", "deflated explicit little endian", "image_dfl.dcm"),
    Recipe("big-endian", "explicit big endian", "MR_small_bigendian.dcm"),
    Recipe("name-gb18030", "Chinese name, GB18030", "chrX2.dcm", search=("王^小东", "小东")),
    Recipe("name-utf8", "Chinese name, UTF-8", "chrX1.dcm", search=("王^小東",)),
    # Byte for byte as PS3.5 K.2 and J.4 print them; pydicom brings no file with these two, and
    # its own encoder leaves out the escape sequences of ISO 2022 IR 58 (and its decoder keeps them).
    Recipe(
        "name-gb2312", "Chinese name, ISO 2022 IR 58", "chrX2.dcm",
        name=b"Zhang^XiaoDong=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab=",
        charset=("", "ISO 2022 IR 58"), search=("张^小东",),
    ),
    Recipe(
        "name-gbk", "Chinese name, GBK", "chrX2.dcm",
        name=b"Wang^XiaoDong=\xcd\xf5^\xd0\xa1\xb6\xab=", charset=("GBK",), search=("王^小东",),
    ),
    Recipe(
        "name-japanese", "Japanese name, ISO 2022 IR 87", "chrH31.dcm",
        search=("山田^太郎", "やまだ^たろう"),
    ),
    Recipe("name-japanese-kana", "Japanese name, ISO 2022 IR 13 and 87", "chrH32.dcm", search=("山田^太郎",)),
    Recipe("name-korean", "Korean name, ISO 2022 IR 149", "chrI2.dcm", search=("洪^吉洞", "홍^길동")),
    Recipe("pdf", "encapsulated PDF", ""),
)  # fmt: skip


@dataclass(frozen=True)
class Specimen:
    """A file ready to send. `frames` are the stored bytes of its frames, where it has pixels; else empty."""

    key: str
    what: str
    path: Path
    sop_class: str
    study_uid: str
    series_uid: str
    sop_uid: str
    patient_id: str
    transfer_syntax: str
    digest: str
    size: int
    search: tuple[str, ...] = ()
    frames: tuple[bytes, ...] = field(default=(), repr=False)

    @property
    def syntax_name(self) -> str:
        return UID(self.transfer_syntax).name


def build_corpus(uids: RunUids, folder: Path, recipes: Sequence[Recipe] = CORPUS) -> list[Specimen]:
    """Write every file below `folder`; raises CorpusError where a source is not on this machine."""
    return [_specimen(recipe, _source(recipe), uids, folder) for recipe in recipes]


def build_conflict(uids: RunUids, folder: Path) -> tuple[Specimen, Specimen]:
    """Two files with one SOP Instance UID and different pixels, as from a modality that reuses UIDs."""
    recipe = Recipe("conflict", "one UID, first pixels", "CT_small.dcm")
    first = _specimen(recipe, _source(recipe), uids, folder)
    altered = _source(recipe)
    pixels = bytearray(altered.PixelData)
    pixels[::64] = bytes(value ^ 0x01 for value in pixels[::64])
    altered.PixelData = bytes(pixels)
    twin = folder / "twin"
    twin.mkdir(exist_ok=True)
    second = _specimen(Recipe("conflict", "one UID, other pixels", "CT_small.dcm"), altered, uids, twin)
    return first, second


def build_series(study: CtStudy, folder: Path) -> Iterator[Specimen]:
    """The synthetic CT, slice by slice: each is made, written and handed on before the next."""
    for index, ds in enumerate(study.slices()):
        yield _written(f"slice {index + 1}", "synthetic CT", ds, folder / f"slice-{index:04d}.dcm", ())


def _source(recipe: Recipe) -> Dataset:
    if not recipe.source:
        return encapsulated_pdf("Regional PACS: verification document")
    named_for_charset = recipe.source.startswith("chr")
    found: object = (
        next(iter(get_charset_files(recipe.source)), None)
        if named_for_charset
        else get_testdata_file(recipe.source, download=False)
    )
    if not isinstance(found, str):
        raise CorpusError(
            f"{recipe.source} is not on this machine: it comes with pydicom or pydicom-data;"
            " run ./pacs doctor, which installs both from the lock file"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the files are known for their oddities: that is why they are sent
        ds = dcmread(found, force=True)  # rtstruct.dcm has no preamble
    if recipe.name:
        ds.SpecificCharacterSet = list(recipe.charset) if len(recipe.charset) > 1 else recipe.charset[0]
        ds["PatientName"] = RawDataElement(
            Tag("PatientName"), "PN", len(recipe.name), recipe.name, 0,
            is_implicit_VR=False, is_little_endian=True,
        )  # fmt: skip
        # Declared as read in this character set, so that the writer takes our bytes as they are.
        encodings = convert_encodings(list(recipe.charset))
        implicit, little = ds.original_encoding
        ds.set_original_encoding(implicit, little, encodings)
    return ds


def _specimen(recipe: Recipe, ds: Dataset, uids: RunUids, folder: Path) -> Specimen:
    ds.SOPInstanceUID = uids.uid(recipe.key, "instance")
    ds.SeriesInstanceUID = uids.uid(recipe.key, "series")
    ds.StudyInstanceUID = uids.uid(recipe.key, "study")
    ds.PatientID = f"V{uids.token}-{recipe.key}"
    return _written(recipe.key, recipe.what, ds, folder / f"{recipe.key}.dcm", recipe.search)


def _written(key: str, what: str, ds: Dataset, path: Path, search: tuple[str, ...]) -> Specimen:
    meta = getattr(ds, "file_meta", None) or FileMetaDataset()
    if "TransferSyntaxUID" not in meta:
        implicit = ds.original_encoding[0]
        meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = ds.SOPClassUID
    meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.file_meta = meta
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        part10: Part10 = write_part10(ds, path)
        frames = tuple(stored_frames(ds))
    return Specimen(
        key, what, path, str(ds.SOPClassUID), str(ds.StudyInstanceUID), str(ds.SeriesInstanceUID),
        str(ds.SOPInstanceUID), str(ds.PatientID), part10.transfer_syntax, part10.digest,
        path.stat().st_size, search, frames,
    )  # fmt: skip


def stored_frames(ds: Dataset) -> Iterator[bytes]:
    """The bytes of each frame as they lie in the file (fragments joined); none for 1-bit pixels."""
    if "PixelData" not in ds:
        return
    count = int(ds.get("NumberOfFrames") or 1)
    if UID(ds.file_meta.TransferSyntaxUID).is_encapsulated:
        yield from generate_frames(ds.PixelData, number_of_frames=count)
        return
    bits = ds.Rows * ds.Columns * ds.SamplesPerPixel * ds.BitsAllocated
    if bits % 8 or ds.BitsAllocated == 1:
        return
    length = bits // 8
    for index in range(count):
        yield bytes(ds.PixelData[index * length : (index + 1) * length])
