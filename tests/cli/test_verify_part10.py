"""The bytes that `verify` compares: files split, digests taken, multipart answers taken apart."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.verify.part10 import NotPart10Error, Part10, multipart_parts, write_part10
from load_tests.data.synthetic import CtStudy, RunUids

CONTENT_TYPE = 'multipart/related; type="application/dicom"; boundary="q"'


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "slice.dcm"
    ds = CtStudy(RunUids.fresh(), seed=1, count=2, matrix=16).slice(0)
    write_part10(ds, path)
    return path.read_bytes()


def body_of(parts: list[bytes]) -> bytes:
    return b"".join(b"--q\r\nContent-Type: application/dicom\r\n\r\n" + p + b"\r\n" for p in parts) + b"--q--"


def test_the_digest_covers_the_transfer_syntax_and_the_data_set_but_not_the_preamble(file):
    part10 = Part10.parse(file)
    assert part10.digest == hashlib.sha256(b"1.2.840.10008.1.2.1\0" + part10.data_set).hexdigest()
    assert Part10.parse(b"X" * 128 + file[128:]).digest == part10.digest


def test_one_flipped_bit_of_the_data_set_changes_the_digest(file):
    altered = file[:-1] + bytes([file[-1] ^ 1])
    assert Part10.parse(altered).digest != Part10.parse(file).digest


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda f: f[4:], "no DICM prefix"),
        (lambda f: f[:132] + b"\x08\x00" + f[134:], "does not begin with"),
        (lambda f: f[:150], "group length ends at"),
        (lambda f: b"", "no DICM prefix at byte 128 of 0 bytes"),
    ],
)
def test_what_is_not_a_dicom_file_is_refused_with_the_place(file, damage, reason):
    with pytest.raises(NotPart10Error, match=reason):
        Part10.parse(damage(file))


@given(st.lists(st.binary(max_size=200).filter(lambda part: b"--q" not in part), max_size=5))
def test_parts_come_out_of_a_multipart_answer_as_they_went_in(parts):
    assert multipart_parts(CONTENT_TYPE, body_of(parts)) == parts


def test_a_multipart_answer_that_was_cut_off_is_an_error_not_a_shorter_list():
    with pytest.raises(ValueError, match="closing boundary"):
        multipart_parts(CONTENT_TYPE, body_of([b"one", b"two"])[:-4])


@pytest.mark.parametrize("kind", ["application/dicom", "multipart/related", "text/html; boundary=q", ""])
def test_an_answer_of_another_kind_is_an_error(kind):
    with pytest.raises(ValueError, match="expected multipart/related"):
        multipart_parts(kind, body_of([b"one"]))
