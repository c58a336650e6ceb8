"""Rules of WADO-RS (PS3.18 10.4): stored bytes come out as they are, in the form that was asked for, or 406."""

import io
import json

import pytest
from pydicom import dcmread
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from services.archive.adapters.memory_store import MemoryStore
from services.archive.ports import ObjectStoreError
from services.packs.instance import scan
from tests.services.archive.harness import AS_STORED, Harness, harness, parts_of
from tests.services.archive.samples import data_set_of, file_bytes, synthetic

__all__ = ["harness"]

ONE = "/studies/1.2.3/series/1.2.3.1/instances/1.2.3.1.1"
OCTETS = 'multipart/related; type="application/octet-stream"'


def path_of(content: bytes) -> str:
    instance = scan(content)
    return f"/studies/{instance.study_uid}/series/{instance.series_uid}/instances/{instance.sop_instance_uid}"


def in_syntax(transfer_syntax: str, pixels: bytes = bytes(range(32)), **attributes: object) -> bytes:
    """The synthetic slice in one of the four native syntaxes, its pixel words in that byte order."""
    if transfer_syntax == ExplicitVRBigEndian:
        swapped = bytearray(pixels)
        swapped[::2], swapped[1::2] = pixels[1::2], pixels[::2]
        pixels = bytes(swapped)
    return synthetic("1.2.3.1.1", transfer_syntax=transfer_syntax, PixelData=pixels, **attributes)


@pytest.mark.parametrize(
    "name",
    [
        "CT_small.dcm",
        "MR_small_bigendian.dcm",
        "image_dfl.dcm",
        "JPEG2000.dcm",
        "JPEG-LL.dcm",
        "MR_small_RLE.dcm",
        "rtplan.dcm",
    ],
)
def test_an_instance_comes_back_with_the_digest_it_came_with(harness: Harness, name: str) -> None:
    content = file_bytes(name)
    harness.keep(content)
    response = harness.get(path_of(content), AS_STORED)
    [(kind, body)] = parts_of(response)
    assert scan(body).digest == scan(content).digest
    assert kind == f"application/dicom;transfer-syntax={scan(content).transfer_syntax}"
    assert int(response.headers["content-length"]) == len(response.content)


def test_a_study_and_a_series_bring_every_instance_in_reading_order(harness: Harness) -> None:
    other = synthetic("1.9", series="1.2.3.9", SeriesNumber=2)
    harness.keep(*(synthetic(f"1.2.3.1.{n}", InstanceNumber=4 - n) for n in (1, 2, 3)), other)
    series = ["1.2.3.1.3", "1.2.3.1.2", "1.2.3.1.1"]
    for path, expected in (("/studies/1.2.3/series/1.2.3.1", series), ("/studies/1.2.3", [*series, "1.9"])):
        bodies = [body for _, body in parts_of(harness.get(path, AS_STORED))]
        assert [scan(body).sop_instance_uid for body in bodies] == expected


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        (AS_STORED, 200), ("*/*", 200), (None, 200), ("application/dicom; transfer-syntax=*", 200),
        ('multipart/related; type="application/dicom"', 200), ("application/dicom", 200),
        ('multipart/related; type="application/dicom"; transfer-syntax=1.2.840.10008.1.2.4.91', 200),
        ('multipart/related; type="application/dicom"; transfer-syntax=1.2.840.10008.1.2.4.50', 406),
        ('multipart/related; type="application/dicom"; transfer-syntax=1.2.840.10008.1.2.4.50;q=0.9, ' + AS_STORED, 200),
        ("image/png", 406), ("application/dicom;q=0", 406), ("nonsense", 400), ('text/"', 400),
    ],
)  # fmt: skip
def test_a_compressed_instance_is_given_as_it_was_asked_for_or_the_refusal_says_what_can_be_had(
    harness: Harness, accept: str | None, status: int
) -> None:
    content = file_bytes("JPEG2000.dcm")
    harness.keep(content)
    response = harness.get(path_of(content), accept)
    assert response.status_code == status
    if status == 406:
        assert "transfer-syntax=*" in response.json()["action"]


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
def test_a_native_little_endian_instance_is_written_anew_when_explicit_vr_is_asked_for(
    harness: Harness, syntax: str
) -> None:
    content = in_syntax(syntax)
    harness.keep(content)
    [(kind, body)] = parts_of(harness.get(ONE, 'multipart/related; type="application/dicom"'))
    assert kind.endswith("1.2.840.10008.1.2.1")
    assert dcmread(io.BytesIO(body)).PixelData == data_set_of(content).PixelData
    assert scan(body).transfer_syntax == "1.2.840.10008.1.2.1"


def test_a_single_instance_can_be_had_without_multipart(harness: Harness) -> None:
    content = synthetic("1.2.3.1.1")
    harness.keep(content)
    response = harness.get(ONE, "application/dicom")
    assert response.headers["content-type"] == "application/dicom;transfer-syntax=1.2.840.10008.1.2.1"
    assert scan(response.content).digest == scan(content).digest


@pytest.mark.parametrize(
    "syntax",
    ["1.2.840.10008.1.2.1", ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian],
)
def test_native_frames_come_as_little_endian_pixels_whatever_the_encoding(
    harness: Harness, syntax: str
) -> None:
    pixels = bytes(range(96))
    harness.keep(in_syntax(syntax, pixels, NumberOfFrames=3))
    response = harness.get(ONE + "/frames/3,1", OCTETS)
    assert [body for _, body in parts_of(response)] == [pixels[64:], pixels[:32]]
    assert parts_of(response)[0][0] == "application/octet-stream;transfer-syntax=1.2.840.10008.1.2.1"
    whole = harness.get(ONE + "/bulkdata/7FE00010", "application/octet-stream")
    assert whole.content[:96] == pixels


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ('multipart/related; type="application/octet-stream"; transfer-syntax=*', "application/octet-stream"),
        ('multipart/related; type="image/jp2"', "image/jp2"),
        ('multipart/related; type="image/jp2"; transfer-syntax=1.2.840.10008.1.2.4.91', "image/jp2"),
        ('multipart/related; type="image/*"; transfer-syntax=*', "image/jp2"), ("*/*", "image/jp2"),
        ("image/jp2", "image/jp2"),
    ],
)  # fmt: skip
def test_a_compressed_frame_is_given_as_stored(harness: Harness, accept: str, kind: str) -> None:
    content = file_bytes("JPEG2000.dcm")
    harness.keep(content)
    response = harness.get(path_of(content) + "/frames/1", accept)
    if accept == "image/jp2":
        got, body = response.headers["content-type"], response.content
    else:
        [(got, body)] = parts_of(response)
    assert got == f"{kind};transfer-syntax=1.2.840.10008.1.2.4.91"
    assert body.startswith(b"\xff\x4f\xff\x51"), "a JPEG 2000 code stream"


@pytest.mark.parametrize(
    "accept",
    ['multipart/related; type="image/jpeg"', "text/plain", OCTETS + "; transfer-syntax=1.2.840.10008.1.2"],
)
def test_a_frame_for_which_there_is_no_encoder_is_refused(harness: Harness, accept: str) -> None:
    content = file_bytes("JPEG2000.dcm")
    harness.keep(content)
    assert harness.get(path_of(content) + "/frames/1", accept).status_code == 406


def test_one_bit_frames_that_share_a_byte_are_told_apart(harness: Harness) -> None:
    # Two frames of 5 pixels: 11111 and 00000, least significant bit first.
    content = synthetic(
        "1.2.3.1.1",
        Rows=1,
        Columns=5,
        BitsAllocated=1,
        BitsStored=1,
        HighBit=0,
        NumberOfFrames=2,
        PixelData=b"\x1f\x00",
    )
    harness.keep(content)
    assert [body for _, body in parts_of(harness.get(ONE + "/frames/1,2", OCTETS))] == [b"\x1f", b"\x00"]


@pytest.mark.parametrize(
    ("frames", "status"),
    [("2", 404), ("0", 400), ("1,x", 400), ("-1", 400), ("1,,2", 400), ("9" * 12, 400), ("", 404)],
)
def test_a_frame_that_is_not_there_is_refused(harness: Harness, frames: str, status: int) -> None:
    harness.keep(synthetic("1.2.3.1.1"))
    assert harness.get(f"{ONE}/frames/{frames}", OCTETS).status_code == status


def test_metadata_is_the_stored_bytes_in_one_array(harness: Harness) -> None:
    harness.keep(*(synthetic(f"1.2.3.1.{n}", InstanceNumber=n) for n in range(1, 4)))
    for path in ("/studies/1.2.3", "/studies/1.2.3/series/1.2.3.1"):
        response = harness.get(path + "/metadata", "application/dicom+json")
        stored = harness.index.headers(harness.index.instances(None, "1.2.3"))
        assert response.content == b"[" + b",".join(stored) + b"]"
        assert response.headers["content-type"] == "application/dicom+json"
    assert [one["00200013"]["Value"] for one in response.json()] == [[1], [2], [3]]
    assert len(harness.get(ONE + "/metadata").json()) == 1
    assert (
        harness.get(ONE + "/metadata", 'multipart/related; type="application/dicom+xml"').status_code == 406
    )


def test_every_bulk_data_uri_of_the_metadata_leads_to_its_value(harness: Harness) -> None:
    content = synthetic(
        "1.2.3.1.1", EncapsulatedDocument=b"%PDF" + bytes(200_000), RedPaletteColorLookupTableData=b"ab" * 900
    )
    harness.keep(content)
    [attributes] = harness.get(ONE + "/metadata").json()
    links = {tag: value["BulkDataURI"] for tag, value in attributes.items() if "BulkDataURI" in value}
    assert links.keys() == {"7FE00010", "00420011", "00281201"}
    data_set = data_set_of(content)
    for tag, link in links.items():
        response = harness.get(link.removeprefix("/dicom-web"), "application/octet-stream")
        assert response.content == data_set[int(tag, 16)].value


def test_a_nested_bulk_value_is_found_by_its_path(harness: Harness) -> None:
    content = file_bytes("waveform_ecg.dcm")
    harness.keep(content)
    [attributes] = harness.get(path_of(content) + "/metadata").json()
    link = attributes["54000100"]["Value"][0]["54001010"]["BulkDataURI"]
    expected = data_set_of(content).WaveformSequence[0].WaveformData
    [(kind, body)] = parts_of(harness.get(link.removeprefix("/dicom-web"), OCTETS))
    assert (kind, body) == ("application/octet-stream", expected)


@pytest.mark.parametrize(
    "path",
    ["00091001", "zz", "7FE00010/0", "54000100/99/54001010", "../../etc/passwd", "00100010/0/00100010"],
)
def test_a_bulk_path_that_leads_nowhere_is_refused(harness: Harness, path: str) -> None:
    harness.keep(synthetic("1.2.3.1.1"))
    assert harness.get(f"{ONE}/bulkdata/{path}", "*/*").status_code in (400, 404)


@pytest.mark.parametrize(
    "path", ["/studies/..%2f..%2fetc", "/studies/1.2.3/series/x/metadata", "/studies/" + "1" * 65]
)
def test_what_is_no_uid_goes_nowhere(harness: Harness, path: str) -> None:
    response = harness.get(path, AS_STORED)
    assert response.status_code in (400, 404)
    assert response.headers["content-type"] == "application/problem+json"


def test_a_study_that_is_not_there_is_404_with_a_reason(harness: Harness) -> None:
    response = harness.get("/studies/1.2.99", AS_STORED)
    assert response.status_code == 404
    assert response.json()["title"] == "Not found"


def test_a_conflicting_version_can_be_listed_and_read(harness: Harness) -> None:
    first, other = synthetic("1.2.3.1.1"), synthetic("1.2.3.1.1", pixels=bytes(32))
    harness.keep(first)
    harness.keep(other)
    [(_, body)] = parts_of(harness.get(ONE, AS_STORED))
    assert scan(body).digest == scan(first).digest
    [conflict] = harness.get("/studies/1.2.3/conflicts").json()
    assert (conflict["digest"], conflict["first_digest"]) == (scan(other).digest, scan(first).digest)
    version = harness.get(conflict["url"].removeprefix("/dicom-web"), "application/dicom; transfer-syntax=*")
    assert scan(version.content).digest == scan(other).digest
    assert harness.get(f"{ONE}/versions/{'0' * 64}").status_code == 404
    assert json.loads(harness.get("/studies/1.2.99/conflicts").content) == []


@pytest.mark.parametrize(
    ("path", "accept"),
    [
        ("", AS_STORED),
        ("", 'multipart/related; type="application/dicom"'),
        ("/series/1.2.3.1/instances/1.1", "application/dicom; transfer-syntax=*"),
        ("/series/1.2.3.1/instances/1.1/frames/1", "application/octet-stream"),
    ],
)
@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
def test_a_store_that_is_away_is_told_by_the_status_and_not_by_a_broken_body(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, syntax: str, path: str, accept: str
) -> None:
    harness.keep(synthetic("1.1", transfer_syntax=syntax))

    def away(*_: object) -> bytes:
        raise ObjectStoreError("no route to host")

    monkeypatch.setattr(MemoryStore, "read", away)
    response = harness.get(f"/studies/1.2.3{path}", accept)
    assert response.status_code == 503
    assert response.json()["type"] == "urn:pacs:problem:store-unavailable"


def test_an_instance_that_cannot_be_written_as_asked_is_406_before_anything_is_sent(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness.keep(synthetic("1.1", transfer_syntax=DeflatedExplicitVRLittleEndian))
    whole = MemoryStore.read
    monkeypatch.setattr(MemoryStore, "read", lambda *asked: whole(*asked)[:-40])
    response = harness.get("/studies/1.2.3", 'multipart/related; type="application/dicom"')
    assert response.status_code == 406
    assert response.json()["detail"] == "The data set cannot be read."
