"""Rules of `services.packs.instance`: identity, digests, ranges, and what is refused."""

from __future__ import annotations

import hashlib
import io
import struct
import zlib
from pathlib import Path

import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.data import get_testdata_file
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    RLELossless,
)

from services.packs import file_meta
from services.packs.elements import Limits
from services.packs.instance import (
    InstanceError,
    InvalidUid,
    MissingIdentity,
    NotDicom,
    OverLimits,
    TruncatedDataSet,
    check_uid,
    digest_of,
    scan,
    scan_data_set,
)
from tests.services.packs.synthetic import STUDY, compressed, ct, data_set, nested, part10


@pytest.mark.parametrize("value", ["1", "1.2.840.10008.1.2", "0.0", "1" * 64, "1.02.3"])
def test_a_uid_of_digits_and_single_dots_is_taken(value: str) -> None:
    assert check_uid(value) == value


@pytest.mark.parametrize(
    "value",
    ["", ".", "1.", ".1", "1..2", "../../etc/passwd", "1/2", "1.2\n", "1.2\0", "１.２", "1.2a", "1" * 65],
)
def test_a_uid_that_could_be_a_path_or_breaks_the_standard_is_refused(value: str) -> None:
    with pytest.raises(InvalidUid):
        check_uid(value)


def test_the_digest_covers_transfer_syntax_and_data_set_but_neither_preamble_nor_group_2() -> None:
    data = ct()
    found = scan(data)
    body = data[found.data_offset :]
    assert found.digest == hashlib.sha256(ExplicitVRLittleEndian.encode() + b"\0" + body).hexdigest()
    other_head = (
        b"\x7fELF" + bytes(124) + file_meta.encode("1.2", "1.2", ExplicitVRLittleEndian, "OTHER")[128:]
    )
    assert scan(other_head + body).digest == found.digest
    assert digest_of(ImplicitVRLittleEndian, body) != found.digest


def test_a_data_set_from_the_network_scans_like_the_file_it_becomes() -> None:
    data = ct()
    body = data[scan(data).data_offset :]
    head = file_meta.encode("1.2.840.10008.5.1.4.1.1.2", STUDY + ".1.1", ExplicitVRLittleEndian, "MODALITY")
    assert scan_data_set(body, ExplicitVRLittleEndian, len(head)) == scan(head + body)
    assert pydicom.dcmread(io.BytesIO(head + body)).file_meta.SourceApplicationEntityTitle == "MODALITY"


@pytest.mark.parametrize("transfer_syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
@pytest.mark.parametrize("frames", [1, 3])
def test_native_frames_are_ranges_of_equal_length(transfer_syntax: str, frames: int) -> None:
    made = data_set("1.2.3", frames=frames)
    pixels = bytes(range(48)) * frames
    made.PixelData = pixels
    data = part10(made, transfer_syntax)
    found = scan(data)
    assert b"".join(data[o : o + n] for o, n in found.frames) == pixels
    assert [n for _, n in found.frames] == [48] * frames
    assert data[found.pixel_offset : found.pixel_offset + found.pixel_length] == pixels
    assert found.pixel_digest == hashlib.sha256(pixels).hexdigest()


def test_one_fragment_a_frame_gives_one_range_a_frame() -> None:
    fragments = [b"\xff\xd8first", b"\xff\xd8second!", b"\xff\xd8third"]
    for table in (True, False):
        data = compressed(fragments, JPEGBaseline8Bit, frames=3, table=table)
        stored = [data[o : o + n] for o, n in scan(data).frames]
        assert [frame[: len(part)] for frame, part in zip(stored, fragments, strict=True)] == fragments


def test_frames_in_several_fragments_have_no_ranges() -> None:
    assert scan(compressed([b"ab", b"cd", b"ef"], JPEGBaseline8Bit, frames=2, table=False)).frames == ()
    assert scan(compressed([b"ab", b"cd"], JPEGBaseline8Bit, frames=1, table=False)).frames == ()


def test_an_offset_table_that_contradicts_the_fragments_gives_no_ranges() -> None:
    data = bytearray(compressed([b"abcd", b"efgh"], RLELossless, frames=2))
    found = scan(bytes(data))
    assert len(found.frames) == 2
    struct.pack_into("<I", data, found.pixel_offset + 12, 2)
    assert scan(bytes(data)).frames == ()


def test_an_extended_offset_table_gives_lengths_without_the_pad_byte() -> None:
    made = data_set("1.2.3", frames=2)
    made.PixelData = pydicom.encaps.encapsulate([b"abc", b"defgh"], has_bot=False)
    made["PixelData"].is_undefined_length = True
    made.ExtendedOffsetTable = struct.pack("<2Q", 0, 12)
    made.ExtendedOffsetTableLengths = struct.pack("<2Q", 3, 5)
    data = part10(made, JPEGBaseline8Bit)
    assert [data[o : o + n] for o, n in scan(data).frames] == [b"abc", b"defgh"]


def test_video_has_no_ranges_because_no_frame_of_it_stands_alone() -> None:
    assert scan(compressed([b"stream"], "1.2.840.10008.1.2.4.102", frames=1)).frames == ()


def test_frames_that_need_work_have_no_ranges() -> None:
    made = data_set("1.2.3")
    made.PixelData = bytes(48)
    big = scan(part10(made, ExplicitVRBigEndian))
    assert (big.frames, big.pixel_length) == ((), 48)
    deflated = scan(part10(made, DeflatedExplicitVRLittleEndian))
    assert (deflated.frames, deflated.pixel_offset, deflated.pixel_length) == ((), 0, 0)
    assert deflated.pixel_digest == hashlib.sha256(bytes(48)).hexdigest()
    odd = scan(ct(pixels=bytes(46)))
    assert (odd.frames, odd.pixel_length) == ((), 46)


def test_an_instance_without_pixel_data_has_an_empty_pixel_digest() -> None:
    found = scan(part10(data_set("1.2.3")))
    assert (found.pixel_digest, found.pixel_offset, found.pixel_length, found.frames) == ("", 0, 0, ())


@pytest.mark.parametrize("data", [b"", b"hello", b"%PDF-1.7" + bytes(500), bytes(127) + b"DICM", bytes(132)])
def test_bytes_that_are_no_dicom_file_are_refused(data: bytes) -> None:
    with pytest.raises(NotDicom):
        scan(data)


def test_a_file_without_transfer_syntax_is_refused() -> None:
    with pytest.raises(NotDicom, match="Transfer Syntax"):
        scan(bytes(128) + b"DICM" + struct.pack("<HH2sH", 2, 0x13, b"SH", 0))


@pytest.mark.parametrize(
    "keyword", ["SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "SOPClassUID"]
)
def test_an_instance_without_an_identifier_is_refused_by_name(keyword: str) -> None:
    made = data_set("1.2.3")
    part10(made)
    original = pydicom.dcmread(io.BytesIO(part10(made)))
    delattr(original, keyword)
    target = io.BytesIO()
    pydicom.dcmwrite(target, original)
    with pytest.raises(MissingIdentity):
        scan(target.getvalue())


def test_a_path_in_place_of_a_uid_is_refused() -> None:
    with pytest.raises(InvalidUid):
        scan(ct().replace(b"1.2.826.0.1.3680043.10.1338.1.1.1", b"../../../../../../../../etc/shadow"[:33]))


@pytest.mark.parametrize("undefined", [True, False])
def test_sequences_nested_beyond_the_limit_are_refused_without_recursion(undefined: bool) -> None:
    assert scan(nested(60, undefined=undefined)).frames
    with pytest.raises(OverLimits):
        scan(nested(3000, undefined=undefined))


def test_a_deep_sequence_hidden_in_an_unknown_value_is_refused() -> None:
    hidden = nested(300, undefined=True)[len(ct()) :].replace(b"SQ\0\0", b"")
    opaque = b"\xfe\xff\x00\xe0\xff\xff\xff\xff" + hidden + b"\xfe\xff\x0d\xe0\0\0\0\0"
    element = struct.pack("<HH2sxxI", 0x7FE1, 0x1001, b"UN", len(opaque)) + opaque
    with pytest.raises(OverLimits):
        scan(ct() + element)


def test_a_deflate_bomb_is_refused_at_the_cap() -> None:
    head = file_meta.encode("1.2", "1.2", DeflatedExplicitVRLittleEndian)
    machine = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = machine.compress(bytes(8 << 20)) + machine.flush()
    with pytest.raises(OverLimits, match="unfolds"):
        scan(head + bomb, Limits(inflated_bytes=1 << 20))


def test_an_instance_beyond_the_size_limit_is_refused_before_it_is_read() -> None:
    with pytest.raises(OverLimits):
        scan(ct(), Limits(instance_bytes=100))


def test_every_truncation_is_refused_and_none_is_taken_for_the_whole() -> None:
    whole = ct()
    digest = scan(whole).digest
    for length in range(len(whole)):
        try:
            assert scan(whole[:length]).digest != digest
        except InstanceError:
            continue
    with pytest.raises(TruncatedDataSet):
        scan(whole[:-1])


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(position=st.integers(132, 900), garbage=st.binary(min_size=1, max_size=16), deflated=st.booleans())
def test_mutated_files_are_read_or_refused_with_our_own_error(
    position: int, garbage: bytes, deflated: bool
) -> None:
    made = data_set("1.2.3")
    made.PixelData = bytes(48)
    data = bytearray(part10(made, DeflatedExplicitVRLittleEndian if deflated else ExplicitVRLittleEndian))
    data[position : position + len(garbage)] = garbage
    try:
        found = scan(bytes(data))
    except InstanceError:
        return
    assert all(offset + length <= len(data) for offset, length in found.frames)


@pytest.mark.parametrize(
    "name",
    ["CT_small.dcm", "MR_small_RLE.dcm", "JPEG2000.dcm", "color3d_jpeg_baseline.dcm", "image_dfl.dcm",
     "emri_small_RLE.dcm", "rtplan.dcm", "test-SR.dcm", "chrX2.dcm", "ExplVR_BigEnd.dcm", "liver_1frame.dcm"],
)  # fmt: skip
def test_real_files_are_read_as_pydicom_reads_them(name: str) -> None:
    path = get_testdata_file(name, download=False)
    if path is None:
        pytest.skip(f"{name} is in the data package, which is not installed")
    data = Path(str(path)).read_bytes()
    found, expected = scan(data), pydicom.dcmread(io.BytesIO(data))
    assert found.sop_instance_uid == expected.SOPInstanceUID
    assert found.study_uid == expected.StudyInstanceUID
    if "PixelData" in expected and found.frames:
        count = int(expected.get("NumberOfFrames", 1) or 1)
        assert len(found.frames) == count
