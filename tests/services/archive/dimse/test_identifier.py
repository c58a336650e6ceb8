"""Rules of `services.archive.dimse.identifier`: what it writes, pydicom reads back as it was."""

from __future__ import annotations

import io
import json

import pytest
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset

from services.archive.dimse.character_set import Terms
from services.archive.dimse.identifier import encode_identifier
from services.archive.index.dicom_json import JsonObject, encode
from tests.services.archive.samples import data_set_of, file_bytes

NAME = {"Alphabetic": "Wang^XiaoDong", "Ideographic": "王^小东"}


def decoded(attributes: dict[str, JsonObject], asked: Terms = (), *, implicit: bool = False) -> Dataset:
    written = encode_identifier(attributes, asked, implicit=implicit)
    assert len(written) % 2 == 0
    return read_dataset(io.BytesIO(written), implicit, True)


@pytest.mark.parametrize("implicit", [True, False])
def test_every_kind_of_value_comes_back(implicit: bool) -> None:
    attributes: dict[str, JsonObject] = {
        "00080005": {"vr": "CS", "Value": ["ISO_IR 192"]},
        "00100010": {"vr": "PN", "Value": [NAME]},
        "0020000D": {"vr": "UI", "Value": ["1.2.3"]},
        "00080061": {"vr": "CS", "Value": ["CT", None, "MR"]},
        "00201206": {"vr": "IS", "Value": [12]},
        "00280030": {"vr": "DS", "Value": [0.48828125, 1]},
        "00280010": {"vr": "US", "Value": [512]},
        "00181310": {"vr": "US", "Value": [1, 2, 3, 4]},
        "00189087": {"vr": "FD", "Value": [0.5]},
        "00209165": {"vr": "AT", "Value": ["00209056"]},
        "00281201": {"vr": "OW", "InlineBinary": "AAEC"},
        "00081030": {"vr": "LO"},
        "0040A160": {"vr": "UT", "Value": ["一行"]},
        "00400275": {
            "vr": "SQ",
            "Value": [
                {"00400009": {"vr": "SH", "Value": ["SPS1"]}, "00400007": {"vr": "LO", "Value": ["胸部"]}}
            ],
        },
        "7FE00010": {"vr": "OW", "BulkDataURI": "/x"},
    }
    read = decoded(attributes, implicit=implicit)
    assert read.SpecificCharacterSet == "ISO_IR 192"
    assert str(read.PatientName) == "Wang^XiaoDong=王^小东"
    assert (read.StudyInstanceUID, read.ModalitiesInStudy, read.Rows) == ("1.2.3", ["CT", "", "MR"], 512)
    assert (read.NumberOfStudyRelatedSeries, read.PixelSpacing, read.DiffusionBValue) == (
        12,
        [0.48828125, 1],
        0.5,
    )
    assert (read.AcquisitionMatrix, read.DimensionIndexPointer) == ([1, 2, 3, 4], 0x00209056)
    assert (read.RedPaletteColorLookupTableData, read.StudyDescription) == (b"\0\1\2\0", "")
    assert (read.TextValue, read.PixelData) == ("一行", None)
    item = read.RequestAttributesSequence[0]
    assert (item.ScheduledProcedureStepID, item.ScheduledProcedureStepDescription) == ("SPS1", "胸部")


@pytest.mark.parametrize("asked", [("GB18030",), ("GBK",), ("", "ISO 2022 IR 58"), ("ISO_IR 192",), ()])
def test_names_are_readable_in_the_character_set_that_was_asked_for(asked: Terms) -> None:
    read = decoded({"00100010": {"vr": "PN", "Value": [NAME]}}, asked)
    terms = read.SpecificCharacterSet
    assert (tuple(terms) if not isinstance(terms, str) else (terms,)) == (asked or ("ISO_IR 192",))
    assert str(read.PatientName) == "Wang^XiaoDong=王^小东"


def test_plain_answers_name_no_character_set() -> None:
    read = decoded(
        {"00080005": {"vr": "CS", "Value": ["ISO_IR 192"]}, "00100020": {"vr": "LO", "Value": ["P1"]}},
        ("GB18030",),
    )
    assert ("SpecificCharacterSet" in read, read.PatientID) == (False, "P1")


def test_what_does_not_fit_its_vr_has_no_value_and_spoils_nothing_else() -> None:
    read = decoded(
        {
            "00100020": {"vr": "LO", "Value": ["x" * 70_000]}, "00280010": {"vr": "US", "Value": [70_000]},
            "00280011": {"vr": "US", "Value": ["wide"]}, "00280030": {"vr": "DS", "Value": [1 / 3]},
        }
    )  # fmt: skip
    assert (read.PatientID, read.Rows, read.Columns, read.PixelSpacing) == ("", None, None, 0.333333333)


@pytest.mark.parametrize(
    "name", ["CT_small.dcm", "MR_small.dcm", "rtplan.dcm", "reportsi.dcm", "chrH32.dcm", "chrX1.dcm"]
)
def test_the_headers_of_real_files_come_back(name: str) -> None:
    attributes = json.loads(json.dumps(encode(data_set_of(file_bytes(name)), lambda path: path)))
    read = decoded(attributes, ("ISO_IR 192",))
    assert encode(read, lambda path: path).keys() == attributes.keys() - {"00080005"} | (
        {"00080005"} if "SpecificCharacterSet" in read else set()
    )
    for tag, value in encode(read, lambda path: path).items():
        if "BulkDataURI" not in attributes[tag]:
            assert value == attributes[tag], tag
