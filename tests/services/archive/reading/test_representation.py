"""The gateway is told to give bytes as stored only where the archive itself would answer with just these."""

import pytest

from services.archive.dicomweb.accept import EXPLICIT_LE, JSON_TYPES, ranked
from services.archive.dicomweb.frames import Frames
from services.archive.dicomweb.wado import Retrieval
from services.archive.reading.representation import Kind, Representation, represent
from services.common.errors import BadRequest, NotAcceptable
from services.packs.instance import scan
from tests.services.archive.harness import Harness, harness
from tests.services.archive.samples import file_bytes

__all__ = ["harness"]

ACCEPTS = (
    "", "*/*", "application/*", "application/dicom", "application/dicom; transfer-syntax=*",
    "application/dicom; transfer-syntax=1.2.840.10008.1.2.4.90", "application/octet-stream",
    'multipart/related; type="application/dicom"', 'multipart/related; type="application/dicom"; transfer-syntax=*',
    'multipart/related; type="application/octet-stream"; transfer-syntax=*', "image/jp2", "image/*;q=0.3, image/jpeg",
    'multipart/related; type="image/jp2"', 'multipart/related; type="*/*"', "application/dicom;q=0", "text/html", '"',
    "application/zip, application/dicom; transfer-syntax=*", "image/jpeg, application/octet-stream;q=0.5",
    "application/octet-stream, image/jp2;q=0.5", "application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1",
    'multipart/related; type="application/dicom"; transfer-syntax=1.2.840.10008.1.2.1, */*;q=0.1',
)  # fmt: skip
FILES = ("CT_small.dcm", "JPEG2000.dcm", "MR_small_RLE.dcm", "image_dfl.dcm", "MR_small_bigendian.dcm")


@pytest.mark.parametrize("name", FILES)
def test_the_form_is_the_one_of_the_archives_own_answer_or_there_is_none(harness: Harness, name: str) -> None:
    content = file_bytes(name)
    harness.keep(content)
    [stored] = harness.index.instances(None, scan(content).study_uid)
    rendering = harness.archive.rendering
    retrieval, frames = Retrieval(harness.store, harness.index, rendering), Frames(harness.store, rendering)
    given = 0
    for accept in ACCEPTS:
        for kind in (Kind.FRAMES, Kind.INSTANCES):
            found = represent(kind, [stored.transfer_syntax], accept, single=True)
            try:
                ranges = ranked(accept)
                answer = (
                    frames.answer(stored, [1], ranges)
                    if kind is Kind.FRAMES
                    else retrieval.instances([stored], ranges)
                )
            except (BadRequest, NotAcceptable):
                assert found is None, accept
                continue
            if found is not None:
                given += 1
                wanted = Representation(answer.part_type, answer.parts[0].content_type, answer.multipart)
                assert found == wanted, (kind, accept)
    assert given > 4


def test_what_would_have_to_be_made_is_left_to_the_archive() -> None:
    implicit = "1.2.840.10008.1.2"
    accept = 'multipart/related; type="application/dicom"'
    assert represent(Kind.INSTANCES, [implicit], accept, single=True) is None
    assert represent(Kind.INSTANCES, [EXPLICIT_LE], accept, single=True) == Representation(
        "application/dicom", f"application/dicom;transfer-syntax={EXPLICIT_LE}", multipart=True
    )
    assert represent(Kind.INSTANCES, [EXPLICIT_LE, implicit], accept, single=False) is None


def test_several_frames_or_instances_are_never_a_single_part() -> None:
    assert represent(Kind.FRAMES, [EXPLICIT_LE], "application/octet-stream", single=False) is None
    assert represent(Kind.INSTANCES, [EXPLICIT_LE], "application/dicom", single=False) is None


def test_metadata_is_json_and_never_multipart() -> None:
    for accept, expected in (
        ("", JSON_TYPES[0]),
        ("application/json", JSON_TYPES[1]),
        ("application/*", JSON_TYPES[0]),
    ):
        found = represent(Kind.METADATA, [], accept, single=False)
        assert found is not None
        assert (found.content_type, found.multipart) == (expected, False)
    assert (
        represent(Kind.METADATA, [], 'multipart/related; type="application/dicom+json"', single=False) is None
    )
