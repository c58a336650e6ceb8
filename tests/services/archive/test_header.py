"""Rules of the ready DICOM JSON (PS3.18 Annex F): Unicode, ordered, bulk values linked, odd values left out."""

import io
import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.dataset import Dataset as Item
from pydicom.sequence import Sequence

from services.archive.index.dicom_json import dumps, encode
from services.archive.index.element_memory import ElementMemory
from services.archive.index.header import Header, Identifiers, read_header, series_record, study_record
from services.archive.index.names import KEY_CHARACTERS, key_text, normalise
from services.packs.instance import scan
from tests.services.archive.samples import file_bytes, synthetic


def header_of(content: bytes, memory: ElementMemory | None = None) -> Header:
    found = scan(content)
    identifiers = Identifiers(
        found.study_uid, found.series_uid, found.sop_instance_uid, found.sop_class_uid, found.transfer_syntax,
        found.data_offset, found.pixel_offset or found.length, bool(found.pixel_digest), "OW",
    )  # fmt: skip
    return read_header(io.BytesIO(content), identifiers, memory)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("chrH31.dcm", {"Alphabetic": "Yamada^Tarou", "Ideographic": "山田^太郎", "Phonetic": "やまだ^たろう"}),
        ("chrH32.dcm", {"Alphabetic": "ﾔﾏﾀﾞ^ﾀﾛｳ", "Ideographic": "山田^太郎", "Phonetic": "やまだ^たろう"}),
        ("chrI2.dcm", {"Alphabetic": "Hong^Gildong", "Ideographic": "洪^吉洞", "Phonetic": "홍^길동"}),
        ("chrX1.dcm", {"Alphabetic": "Wang^XiaoDong", "Ideographic": "王^小東"}),
        ("chrX2.dcm", {"Alphabetic": "Wang^XiaoDong", "Ideographic": "王^小东"}),
        ("chrGreek.dcm", {"Alphabetic": "Διονυσιος"}), ("chrHbrw.dcm", {"Alphabetic": "שרון^דבורה"}),
        ("chrFrenMulti.dcm", {"Alphabetic": "Buc^Jérôme"}), ("chrJapMulti.dcm", {"Alphabetic": "やまだ^たろう"}),
    ],
)  # fmt: skip
def test_a_name_is_unicode_whatever_its_character_set(name: str, expected: dict[str, str]) -> None:
    header = header_of(file_bytes(name))
    assert header.readable
    assert header.attributes["00100010"]["Value"] == [expected]
    assert header.attributes["00080005"]["Value"] == ["ISO_IR 192"]


@pytest.mark.parametrize(
    ("charset", "encoding"), [("GB18030", "gb18030"), ("GBK", "gbk"), ("ISO_IR 192", "utf-8")]
)
def test_a_chinese_character_set_is_decoded(charset: str, encoding: str) -> None:
    content = synthetic(
        "1.1", SpecificCharacterSet=charset, PatientName="Zhang^Wei=张^伟", StudyDescription="胸部CT平扫"
    )
    assert "胸部CT平扫".encode(encoding) in content
    header = header_of(content)
    assert header.attributes["00100010"]["Value"] == [{"Alphabetic": "Zhang^Wei", "Ideographic": "张^伟"}]
    assert study_record(header, "1.2.3").description == "胸部CT平扫"


def test_attributes_are_ordered_and_large_values_are_links() -> None:
    header = header_of(synthetic("1.1", EncapsulatedDocument=bytes(1 << 20), ICCProfile=bytes(200)))
    assert list(header.attributes) == sorted(header.attributes)
    link = "/dicom-web/studies/1.2.3/series/1.2.3.1/instances/1.1/bulkdata/"
    assert header.attributes["7FE00010"] == {"vr": "OW", "BulkDataURI": link + "7FE00010"}
    assert header.attributes["00420011"] == {"vr": "OB", "BulkDataURI": link + "00420011"}
    assert "InlineBinary" in header.attributes["00282000"]
    assert not any(tag.startswith("0002") or tag.endswith("0000") for tag in header.attributes)


def test_nested_bulk_values_are_linked_by_their_path() -> None:
    data_set, item = Dataset(), Item()
    item.add_new("WaveformData", "OW", bytes(5000))
    data_set.WaveformSequence = Sequence([Item(), item])
    found = encode(data_set, lambda path: path)
    assert found["54000100"]["Value"][1]["54001010"] == {"vr": "OW", "BulkDataURI": "54000100/1/54001010"}


def test_values_take_the_forms_of_table_f_2_3_1() -> None:
    data_set = Dataset()
    data_set.SliceThickness, data_set.SeriesNumber, data_set.ImageType = (
        "1.50",
        "7",
        ["ORIGINAL", "", "AXIAL"],
    )
    data_set.FrameIncrementPointer, data_set.Rows, data_set.ReferringPhysicianName = 0x00181063, 512, ""
    found = encode(data_set, str)
    assert found["00180050"] == {"vr": "DS", "Value": [1.5]}
    assert found["00200011"] == {"vr": "IS", "Value": [7]}
    assert found["00080008"] == {"vr": "CS", "Value": ["ORIGINAL", None, "AXIAL"]}
    assert found["00280009"] == {"vr": "AT", "Value": ["00181063"]}
    assert found["00080090"] == {"vr": "PN"}


@pytest.mark.parametrize(
    "attributes",
    [
        {"PatientID": "x" * 5000}, {"StudyDate": "not a date"}, {"PatientName": "=" * 40}, {"SeriesNumber": None},
        {"AccessionNumber": "a\0b"}, {"StudyDescription": "\ud800"}, {"SliceThickness": None},
    ],
)  # fmt: skip
def test_an_odd_value_keeps_no_instance_out_of_the_index(attributes: dict[str, object]) -> None:
    try:
        content = synthetic("1.1", **attributes)
    except (ValueError, UnicodeEncodeError):
        return  # pydicom itself would not write it
    header = header_of(content)
    study, series = study_record(header, "1.2.3"), series_record(header, "1.2.3.1")
    assert len(study.patient_id) <= KEY_CHARACTERS
    assert "\0" not in study.accession_number
    for stored in (header.dicom_json(), study.attributes, series.attributes):
        json.loads(stored)


def test_sequences_deeper_than_the_stack_do_not_raise() -> None:
    innermost = Item()
    for _ in range(60):
        outer = Item()
        outer.ReferencedStudySequence = Sequence([innermost])
        innermost = outer
    header = header_of(synthetic("1.1", ReferencedStudySequence=Sequence([innermost])))
    assert header.attributes["0020000D"]["Value"] == ["1.2.3"]


@given(st.binary(max_size=600))
def test_bytes_of_any_kind_are_a_header_or_an_unreadable_one(tail: bytes) -> None:
    content = synthetic("1.1")
    cut = content[: len(content) // 2] + tail
    identifiers = Identifiers(
        "1.2.3", "1.2.3.1", "1.1", "1.2", "1.2.840.10008.1.2.1", 0, len(cut), False, "OW"
    )
    header = read_header(io.BytesIO(cut), identifiers)
    assert json.loads(header.dicom_json())["00080018"]["Value"] == ["1.1"]


@given(st.text(max_size=400))
def test_a_key_fits_a_column_and_is_stable(text: str) -> None:
    key = key_text(text)
    assert len(key) <= KEY_CHARACTERS
    assert "\0" not in key
    assert key_text(key) == key
    key.encode("utf-8")


@example("0 \x00\r0")
@given(st.text(max_size=60))
def test_a_search_form_is_the_same_for_every_case_and_padding(name: str) -> None:
    assert normalise(normalise(name)) == normalise(name)
    assert normalise(name + "^^") == normalise(name)


def test_json_of_numbers_is_never_nan() -> None:
    data_set = Dataset()
    data_set.RealWorldValueSlope = float("nan")
    assert json.loads(dumps(encode(data_set, str)))["00409225"] == {"vr": "FD"}
