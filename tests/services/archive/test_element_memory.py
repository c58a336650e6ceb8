"""A header that is read with what others left in memory is, value for value, the header that pydicom reads."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from struct import pack
from typing import Any

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from services.archive.index import header as headers
from services.archive.index.element_memory import ElementMemory
from services.archive.index.header import Identifiers, new_memory, read_data_set, read_header
from services.packs.instance import InstanceError, scan
from tests.services.archive.samples import synthetic
from tests.services.archive.test_header import header_of

DATA = Path(pydicom.__file__).parent / "data"
FILES = sorted({*DATA.glob("test_files/*.dcm"), *DATA.glob("charset_files/*.dcm")})


def both(content: bytes, memory: ElementMemory) -> tuple[dict[str, Any], dict[str, Any]]:
    """The header with and without the memory; that it could be decoded is part of it."""
    remembered, plain = header_of(content, memory), header_of(content)
    assert remembered.dicom_json() == plain.dicom_json()
    assert remembered.readable == plain.readable
    return remembered.attributes, plain.attributes


def test_every_file_of_pydicom_reads_the_same_again_and_again_with_one_memory() -> None:
    memory, read = new_memory(), 0
    for content in [path.read_bytes() for path in FILES] * 2:
        try:
            scan(content)
        except InstanceError:
            continue
        remembered, plain = both(content, memory)
        assert remembered == plain
        read += 1
    assert read > 100


def decoded_of(memory: ElementMemory, contents: list[bytes]) -> list[set[str]]:
    """Which attributes each header had decoded by pydicom, while the memory watched."""
    decoded: list[set[str]] = []
    plain = memory._read_data_set

    def watched(source: io.BytesIO, transfer_syntax: str, data_offset: int) -> Dataset:
        data_set = plain(source, transfer_syntax, data_offset)
        decoded[-1] |= {element.keyword for element in data_set}
        return data_set

    memory._read_data_set = watched
    for content in contents:
        decoded.append(set())
        header_of(content, memory)
    return decoded


CONTEXT = {"SpecificCharacterSet", "BitsAllocated", "PixelRepresentation"}


@pytest.mark.parametrize("transfer_syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_of_the_next_slice_only_what_differs_is_decoded(transfer_syntax: str) -> None:
    slices = [
        synthetic(f"1.{number}", transfer_syntax=transfer_syntax, InstanceNumber=number)
        for number in range(1, 4)
    ]
    first, *others = decoded_of(new_memory(), [*slices, slices[0]])
    assert "PatientName" in first
    assert others == [{"SOPInstanceUID", "InstanceNumber"} | CONTEXT] * 2 + [set()]


def test_the_same_bytes_in_another_character_set_are_other_text() -> None:
    memory = new_memory()
    for character_set, name in (("GB18030", "王^小东"), ("ISO_IR 100", "Íõ^Ð¡¶«"), ("GB18030", "王^小东")):
        content = synthetic("1.1", SpecificCharacterSet=character_set, PatientName=name)
        assert name.encode("gb18030" if character_set == "GB18030" else "latin-1") in content
        remembered, _ = both(content, memory)
        assert remembered["00100010"]["Value"] == [{"Alphabetic": name}]


def test_the_same_bytes_are_another_number_where_pixels_have_a_sign() -> None:
    memory, values = new_memory(), []
    for signed in (0, 1, 0):
        content = with_elements(
            ImplicitVRLittleEndian, element(0x0028_0106, b"\xff\xff"), PixelRepresentation=signed
        )
        remembered, _ = both(content, memory)
        values.append(remembered["00280106"])
    assert values == [{"vr": "US", "Value": [65535]}, {"vr": "SS", "Value": [-1]}, values[0]]


def test_the_same_private_element_of_another_creator_is_of_another_vr() -> None:
    memory, seen = new_memory(), []
    for creator in (b"SIEMENS MED NM", b"NOBODY AT ALL "):
        block = element(0x0033_0010, creator) + element(0x0033_1000, b"1.5 ")
        remembered, _ = both(with_elements(ImplicitVRLittleEndian, block), memory)
        seen.append(remembered["00331000"]["vr"])
    assert seen[0] != seen[1]


def test_a_link_names_its_own_instance() -> None:
    memory = new_memory()
    for uid in ("1.1", "1.2"):
        item = Dataset()
        item.add_new(0x00420011, "OB", b"\1" * 2000)
        content = synthetic(uid, ConceptNameCodeSequence=Sequence([item]), EncapsulatedDocument=b"\2" * 3000)
        remembered, plain = both(content, memory)
        assert remembered == plain
        assert f"/instances/{uid}/bulkdata/" in str(remembered["0040A043"])


def test_sequences_of_undefined_length_are_read() -> None:
    item = Dataset()
    item.is_undefined_length_sequence_item = True
    item.CodeValue, item.CodingSchemeDesignator = "T-1", "SRT"
    inner = Sequence([item, Dataset()])
    outer = Dataset()
    outer.ConceptCodeSequence = inner
    outer["ConceptCodeSequence"].is_undefined_length = True
    data_set = Dataset()
    data_set.AnatomicRegionSequence = Sequence([outer])
    data_set["AnatomicRegionSequence"].is_undefined_length = True
    contents = [
        synthetic(f"1.{number}", AnatomicRegionSequence=data_set.AnatomicRegionSequence) for number in (1, 2)
    ]
    memory = new_memory()
    for content in contents:
        remembered, plain = both(content, memory)
        assert remembered == plain
    assert decoded_of(memory, [contents[1]]) == [set()]


def test_what_grows_without_end_is_not_remembered() -> None:
    memory = new_memory()
    for number in range(40):
        header_of(synthetic("1.1", PatientComments=f"{number:04d}" + "x" * 8000), memory)
    assert memory._bytes < 8 << 20
    long = synthetic("1.1", PatientComments="x" * 60_000)
    assert "PatientComments" in decoded_of(memory, [long, long])[1]


@given(
    changes=st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), min_size=1, max_size=4),
    cut=st.one_of(st.none(), st.integers(0, 1 << 16)),
    which=st.sampled_from([ExplicitVRLittleEndian, ImplicitVRLittleEndian]),
)
def test_damaged_headers_read_as_pydicom_reads_them(
    changes: list[tuple[int, int]], cut: int | None, which: str
) -> None:
    memory = new_memory()
    whole = synthetic("1.1", transfer_syntax=which, StudyDescription="胸部CT平扫")
    known = scan(whole)
    header_of(whole, memory)
    damaged = bytearray(whole)
    span = len(whole) - known.data_offset
    for position, byte in changes:
        damaged[known.data_offset + position % span] = byte
    content = bytes(damaged[: known.data_offset + cut % span] if cut is not None else damaged)
    identifiers = Identifiers(
        "1", "2", "3", "4", which, known.data_offset, min(known.pixel_offset, len(content)), True, "OW"
    )
    plain = read_header(io.BytesIO(content), identifiers)
    remembered = read_header(io.BytesIO(content), identifiers, memory)
    assert remembered == plain


def test_an_instance_with_a_very_long_header_is_read_without_the_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(headers, "REMEMBERED_BYTES", 300)
    seen: list[Callable[..., object]] = []
    memory = new_memory()
    monkeypatch.setattr(memory, "attributes", seen.append)
    assert header_of(synthetic("1.1"), memory).readable
    assert seen == []


def element(tag: int, value: bytes) -> bytes:
    """An element in implicit VR little endian."""
    return pack("<HHI", tag >> 16, tag & 0xFFFF, len(value)) + value


def with_elements(transfer_syntax: str, raw: bytes, **attributes: object) -> bytes:
    """A synthetic instance with elements put in before its pixel data, whose groups come after the image's."""
    content = synthetic("1.1", transfer_syntax=transfer_syntax, **attributes)
    data_set = read_data_set(io.BytesIO(content), transfer_syntax, scan(content).data_offset)
    assert isinstance(data_set.file_meta, FileMetaDataset)
    tag = pack("<HH", *(int.from_bytes(raw[at : at + 2], "little") for at in (0, 2)))
    place = max(
        (content.find(pack("<HH", int(one.tag) >> 16, int(one.tag) & 0xFFFF)) for one in data_set
         if int(one.tag) > int.from_bytes(tag[:2], "little") << 16 | int.from_bytes(tag[2:], "little")),
        default=0,
    )  # fmt: skip
    position = place or content.rfind(pack("<HH", 0x7FE0, 0x0010))
    return content[:position] + raw + content[position:]
