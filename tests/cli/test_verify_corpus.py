"""What `verify` sends covers what it claims, and no two runs or files collide."""

from __future__ import annotations

import io
import re
from collections import Counter

import pytest
from pydicom import dcmread
from pydicom.uid import UID

from cli.verify.corpus import CORPUS, CorpusError, Recipe, build_conflict, build_corpus, build_series
from cli.verify.document import encapsulated_pdf, pdf
from load_tests.data.synthetic import CtStudy, RunUids


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return build_corpus(RunUids.fresh(), tmp_path_factory.mktemp("corpus"))


def test_every_kind_of_image_that_hospitals_send_is_in_the_corpus(corpus):
    classes = Counter(UID(s.sop_class).name for s in corpus)
    assert {
        "CT Image Storage", "MR Image Storage", "Ultrasound Image Storage",
        "Computed Radiography Image Storage", "Ultrasound Multi-frame Image Storage", "RT Plan Storage",
        "RT Structure Set Storage", "RT Dose Storage",
        "Comprehensive SR Storage", "Encapsulated PDF Storage", "Segmentation Storage",
    } <= set(classes)  # fmt: skip


def test_every_transfer_syntax_family_is_in_the_corpus(corpus):
    assert {
        "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99",
        "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.80",
        "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91", "1.2.840.10008.1.2.5",
    } <= {s.transfer_syntax for s in corpus}  # fmt: skip


def test_every_far_eastern_character_set_is_in_the_corpus(corpus):
    charsets = {str(dcmread(s.path).get("SpecificCharacterSet", "")) for s in corpus if s.search}
    assert all(
        any(name in charset for charset in charsets)
        for name in ("GB18030", "GBK", "ISO_IR 192", "ISO 2022 IR 58", "IR 87", "IR 13", "ISO 2022 IR 149")
    )


def test_files_that_shared_a_uid_have_one_of_their_own(corpus):
    assert len({s.sop_uid for s in corpus}) == len({s.study_uid for s in corpus}) == len(CORPUS)
    assert all(UID(s.sop_uid).is_valid and s.sop_uid.startswith("2.25.") for s in corpus)


def test_the_file_on_disk_is_the_specimen(corpus):
    for specimen in corpus:
        ds = dcmread(specimen.path)
        assert (ds.SOPInstanceUID, ds.PatientID) == (specimen.sop_uid, specimen.patient_id)
        assert ds.file_meta.MediaStorageSOPInstanceUID == specimen.sop_uid
        assert len(specimen.patient_id) <= 64, "PS3.5 6.2, VR LO"


def test_two_runs_share_no_uid_and_no_patient(tmp_path, corpus):
    again = build_corpus(RunUids.fresh(), tmp_path)
    assert not {s.sop_uid for s in corpus} & {s.sop_uid for s in again}
    assert not {s.patient_id for s in corpus} & {s.patient_id for s in again}


def test_the_gb2312_name_is_byte_for_byte_the_example_of_the_standard(corpus):
    (specimen,) = (s for s in corpus if s.key == "name-gb2312")
    assert b"Zhang^XiaoDong=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab" in specimen.path.read_bytes()


def test_the_conflict_is_one_uid_with_different_pixels_and_nothing_else(tmp_path):
    first, second = build_conflict(RunUids.fresh(), tmp_path)
    assert first.sop_uid == second.sop_uid
    assert first.digest != second.digest
    one, other = dcmread(first.path), dcmread(second.path)
    assert one.PixelData != other.PixelData
    del one.PixelData, other.PixelData
    assert one == other


def test_a_file_that_is_not_installed_is_named_with_its_remedy(tmp_path):
    with pytest.raises(CorpusError, match=r"nowhere\.dcm .* pydicom-data.*doctor"):
        build_corpus(RunUids.fresh(), tmp_path, [Recipe("x", "x", "nowhere.dcm")])


def test_slices_of_the_series_are_in_one_series_and_all_differ(tmp_path):
    slices = list(build_series(CtStudy(RunUids.fresh(), seed=3, count=4, matrix=32), tmp_path))
    assert len({s.series_uid for s in slices}) == 1
    assert len({s.digest for s in slices}) == len({s.sop_uid for s in slices}) == 4


def test_the_pdf_has_a_cross_reference_that_points_at_its_objects():
    document = pdf("Discharge letter")
    table = int(re.search(rb"startxref\n(\d+)\n", document)[1])
    assert document[table:].startswith(b"xref\n0 6\n")
    offsets = [int(m) for m in re.findall(rb"^(\d{10}) 00000 n", document[table:], re.MULTILINE)]
    assert [document[o:].split(b" ")[0] for o in offsets] == [b"1", b"2", b"3", b"4", b"5"]
    assert b"stream\n" in document
    assert document.endswith(b"%%EOF\n")


@pytest.mark.parametrize("line", ["药", "a(b", "a\\b"])
def test_the_pdf_refuses_text_it_cannot_set(line):
    with pytest.raises(ValueError, match="plain ASCII"):
        pdf(line)


def test_an_encapsulated_document_of_odd_length_says_its_true_length():
    ds = encapsulated_pdf("x")
    assert len(ds.EncapsulatedDocument) % 2 == 0
    assert io.BytesIO(ds.EncapsulatedDocument).read(ds.EncapsulatedDocumentLength).endswith(b"%%EOF\n")
