"""Rules of `services.archive.dimse.character_set`: what a requester named is what it can read."""

from __future__ import annotations

import io

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset

from services.archive.dimse.character_set import asked_by, encode, make_readable, readable
from services.common.errors import BadRequest
from tests.services.archive.samples import file_bytes


@pytest.mark.parametrize(
    ("terms", "text", "expected"),
    [
        # PS3.5 H.3.1, I.2, K.2 and J.1: the standard's own examples, byte for byte.
        (("", "ISO 2022 IR 87"), "Yamada^Tarou=山田^太郎=やまだ^たろう",
         b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B"),
        (("ISO 2022 IR 13", "ISO 2022 IR 87"), "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう",
         b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3=\x1b$B;3ED\x1b(J^\x1b$BB@O:\x1b(J=\x1b$B$d$^$@\x1b(J^\x1b$B$?$m$&\x1b(J"),
        (("", "ISO 2022 IR 149"), "Hong^Gildong=洪^吉洞=홍^길동",
         b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7=\x1b$)C\xc8\xab^\x1b$)C\xb1\xe6\xb5\xbf"),
        (("", "ISO 2022 IR 58"), "Zhang^XiaoDong=张^小东",
         b"Zhang^XiaoDong=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab"),
        (("ISO_IR 192",), "Wang^XiaoDong=王^小東", b"Wang^XiaoDong=\xe7\x8e\x8b^\xe5\xb0\x8f\xe6\x9d\xb1"),
        (("GB18030",), "Wang^XiaoDong=王^小东", b"Wang^XiaoDong=\xcd\xf5^\xd0\xa1\xb6\xab"),
        (("GBK",), "Wang^XiaoDong=王^小东", b"Wang^XiaoDong=\xcd\xf5^\xd0\xa1\xb6\xab"),
        (("ISO_IR 100",), "Buc^Jérôme", b"Buc^J\xe9r\xf4me"),
        (("ISO 2022 IR 100", "ISO 2022 IR 144"), "Äneas^Люк", b"\xc4neas^\x1b-L\xbb\xee\xda"),
        (("ISO_IR 144",), "Люкceмбypг", "Люкceмбypг".encode("iso8859_5")),
    ],
)  # fmt: skip
def test_a_text_is_written_as_the_standard_writes_it(
    terms: tuple[str, ...], text: str, expected: bytes
) -> None:
    assert readable(terms, [text]) == terms
    assert encode(text, terms) == expected


@pytest.mark.parametrize(
    ("asked", "text", "chosen"),
    [
        (("ISO_IR 100",), "Wang^Xiaodong", ()),
        (("ISO_IR 192",), "Wang", ()),
        ((), "Buc^Jérôme", ("ISO_IR 192",)),
        (("ISO_IR 100",), "王^小東", ("ISO_IR 192",)),
        (("ISO_IR 13",), "山田", ("ISO_IR 192",)),
        (("ISO_IR 13",), "ﾔﾏﾀﾞ^ﾀﾛｳ", ("ISO_IR 13",)),
        (("", "ISO 2022 IR 58"), "𠮷田", ("ISO_IR 192",)),
        (("GB18030",), "𠮷田", ("GB18030",)),
        (("GBK",), "𠮷田", ("ISO_IR 192",)),
    ],
)
def test_what_the_asked_set_cannot_hold_goes_out_as_utf_8_and_ascii_needs_none(
    asked: tuple[str, ...], text: str, chosen: tuple[str, ...]
) -> None:
    assert readable(asked, ["plain", text]) == chosen


def test_a_text_that_does_not_fit_is_never_written_with_replacements() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        encode("王", ("ISO_IR 100",))


@pytest.mark.parametrize(
    ("value", "terms"),
    [
        (None, ()), ("", ()), ("ISO_IR 192", ("ISO_IR 192",)), ("GB18030", ("GB18030",)),
        (["", "ISO 2022 IR 87"], ("", "ISO 2022 IR 87")),
        (["ISO 2022 IR 6", "ISO 2022 IR 149"], ("ISO 2022 IR 6", "ISO 2022 IR 149")),
        ("ISO 2022 IR 58", ("ISO 2022 IR 58",)), ("ISO_IR 6", ("ISO_IR 6",)),
    ],
)  # fmt: skip
def test_a_request_says_its_character_set(value: object, terms: tuple[str, ...]) -> None:
    identifier = Dataset()
    if value is not None:
        identifier.SpecificCharacterSet = value
    assert asked_by(identifier) == terms


@pytest.mark.parametrize("value", ["ISO_IR 999", "utf8", "ISO_IR 87", ["", "GB18030"], ["ISO_IR 100", ""]])
def test_a_character_set_that_is_none_is_refused(value: object) -> None:
    identifier = Dataset()
    identifier.SpecificCharacterSet = value
    with pytest.raises(BadRequest):
        asked_by(identifier)


@pytest.mark.parametrize(
    "name", ["chrH31.dcm", "chrH32.dcm", "chrI2.dcm", "chrX1.dcm", "chrX2.dcm", "chrGerm.dcm", "chrRuss.dcm"]
)
def test_names_of_the_standards_files_come_out_as_the_files_have_them(name: str) -> None:
    data_set = dcmread(io.BytesIO(file_bytes(name)))
    terms = asked_by(data_set)
    raw = dcmread(io.BytesIO(file_bytes(name))).get_item("PatientName").value.rstrip(b" \0=")
    text = str(data_set.PatientName)
    assert readable(terms, [text]) == terms
    assert encode(text, terms) == raw


def test_a_data_set_is_made_readable_for_its_requester() -> None:
    for asked, expected in (
        (("GB18030",), "GB18030"),
        ((), "ISO_IR 192"),
        (("", "ISO 2022 IR 58"), ["", "ISO 2022 IR 58"]),
    ):
        answer, item = Dataset(), Dataset()
        item.ScheduledPerformingPhysicianName = "李^娜"
        answer.PatientName, answer.ScheduledProcedureStepSequence = "Wang^Xiao", [item]
        make_readable(answer, asked)
        assert answer.SpecificCharacterSet == expected
        target = DicomBytesIO()
        target.is_implicit_VR, target.is_little_endian = False, True
        write_dataset(target, answer)
        again = read_dataset(io.BytesIO(target.getvalue()), False, True)
        assert str(again.ScheduledProcedureStepSequence[0].ScheduledPerformingPhysicianName) == "李^娜"
    plain = Dataset()
    plain.SpecificCharacterSet, plain.PatientName = "ISO_IR 100", "Wang"
    make_readable(plain, ("GB18030",))
    assert "SpecificCharacterSet" not in plain
