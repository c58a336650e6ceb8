"""Every transfer syntax: stored as it came, shown, and written in another one, or told plainly why not.

The files are pydicom's own; where it brings none of a syntax, one is made with the encoders at hand.
"""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate
from pydicom.pixels import pixel_array
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

from services.archive.rendering.syntaxes import COMPRESSED, NATIVE, TARGETS, Pixels, pixels_of
from services.packs.instance import scan
from tests.services.archive.harness import AS_STORED, Harness, harness, parts_of
from tests.services.archive.samples import data_set_of, synthetic
from tests.services.archive.test_wado import path_of

__all__ = ["harness"]

FIXTURES = Path(__file__).parents[3] / "fixtures" / "htj2k"
OCTETS = 'multipart/related; type="application/octet-stream"'
FILES = {
    "1.2.840.10008.1.2": "MR_small_implicit.dcm",
    "1.2.840.10008.1.2.1": "MR_small.dcm",
    "1.2.840.10008.1.2.1.99": "image_dfl.dcm",
    "1.2.840.10008.1.2.2": "MR_small_bigendian.dcm",
    "1.2.840.10008.1.2.4.50": "SC_rgb_small_odd_jpeg.dcm",
    "1.2.840.10008.1.2.4.51": "JPGExtended.dcm",
    "1.2.840.10008.1.2.4.57": "JPEG-LL.dcm",
    "1.2.840.10008.1.2.4.70": "JPGLosslessP14SV1_1s_1f_8b.dcm",
    "1.2.840.10008.1.2.4.80": "MR_small_jpeg_ls_lossless.dcm",
    "1.2.840.10008.1.2.4.81": "JPEGLSNearLossless_16.dcm",
    "1.2.840.10008.1.2.4.90": "MR_small_jp2klossless.dcm",
    "1.2.840.10008.1.2.4.91": "JPEG2000.dcm",
    "1.2.840.10008.1.2.4.201": "lossless.j2c",
    "1.2.840.10008.1.2.4.202": "lossless-rpcl.j2c",
    "1.2.840.10008.1.2.4.203": "lossy.j2c",
    "1.2.840.10008.1.2.5": "MR_small_RLE.dcm",
}
VIDEOS = [
    *(f"1.2.840.10008.1.2.4.{number}" for number in range(100, 109)),
    *(f"1.2.840.10008.1.2.4.{number}.1" for number in range(100, 107)),
]


def a_file(syntax: str) -> bytes:
    """An instance in this syntax, whole enough to be stored."""
    name = FILES[syntax]
    if name.endswith(".j2c"):
        data_set = dcmread(str(get_testdata_file("MR_small.dcm")))
        data_set.PixelData = encapsulate([(FIXTURES / name).read_bytes()])
        data_set["PixelData"].VR = "OB"
    else:
        path = get_testdata_file(name, download=False)
        assert path is not None, f"neither pydicom nor pydicom-data brings {name}"
        data_set = dcmread(str(path))
    for name, uid in (
        ("StudyInstanceUID", "1.2.3"),
        ("SeriesInstanceUID", "1.2.3.1"),
        ("SOPInstanceUID", "1.1"),
    ):
        setattr(data_set, name, data_set.get(name) or uid)
    data_set.SOPClassUID = data_set.get("SOPClassUID") or "1.2.840.10008.5.1.4.1.1.7"
    data_set.file_meta.TransferSyntaxUID = UID(syntax)
    file = io.BytesIO()
    data_set.save_as(file, enforce_file_format=True)
    return file.getvalue()


def test_the_table_names_every_syntax_of_the_standard_once() -> None:
    assert {one.uid for one in COMPRESSED} | NATIVE == FILES.keys()
    assert all(pixels_of(uid) is Pixels.VIDEO for uid in VIDEOS)
    assert pixels_of("1.2.840.10008.1.2.4.99") is Pixels.UNKNOWN


@pytest.mark.parametrize("syntax", FILES)
def test_an_image_of_every_syntax_is_kept_as_it_came_shown_and_written_in_explicit_vr(
    harness: Harness, syntax: str
) -> None:
    content = a_file(syntax)
    harness.keep(content)
    path = path_of(content)
    [(_, kept)] = parts_of(harness.get(path, AS_STORED))
    assert scan(kept).digest == scan(content).digest
    expected = pixel_array(data_set_of(content), index=0)
    expected = expected.astype(expected.dtype.newbyteorder("<"))

    image = Image.open(io.BytesIO(harness.get(path + "/rendered", "image/png").content))
    assert (image.height, image.width) == expected.shape[:2]
    if expected.ndim == 3:
        assert np.array_equal(np.asarray(image), expected)

    [(kind, frame)] = parts_of(harness.get(path + "/frames/1", OCTETS))
    assert kind == "application/octet-stream;transfer-syntax=1.2.840.10008.1.2.1"
    assert frame[: expected.nbytes] == expected.tobytes()

    written = harness.get(path, "application/dicom")
    data_set = data_set_of(written.content)
    assert data_set.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert data_set.SOPInstanceUID == scan(content).sop_instance_uid
    assert np.array_equal(pixel_array(io.BytesIO(written.content), index=0), expected)


@pytest.mark.parametrize("name", ["lossless.j2c", "lossless-rpcl.j2c", "lossy.j2c"])
def test_an_htj2k_stream_of_another_encoder_is_the_image_that_went_in(name: str) -> None:
    syntax = next(uid for uid, file in FILES.items() if file == name)
    original = data_set_of(a_file("1.2.840.10008.1.2.1")).pixel_array.astype(int)
    difference = np.abs(data_set_of(a_file(syntax)).pixel_array.astype(int) - original).max()
    assert difference == 0 if name.startswith("lossless") else 0 < difference < 64


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.5"])
def test_an_instance_is_written_without_loss_in_every_syntax_with_an_encoder(
    harness: Harness, syntax: str, target: str
) -> None:
    content = a_file(syntax)
    harness.keep(content)
    path = path_of(content)
    written = harness.get(path, f"application/dicom; transfer-syntax={target}").content
    data_set = data_set_of(written)
    assert data_set.file_meta.TransferSyntaxUID == target
    expected = pixel_array(io.BytesIO(content))
    assert np.array_equal(pixel_array(io.BytesIO(written)), expected)
    assert data_set.SOPInstanceUID == scan(content).sop_instance_uid
    assert data_set.PatientName == data_set_of(content).PatientName
    stream = harness.get(path + "/frames/1", f"application/octet-stream; transfer-syntax={target}")
    if target in NATIVE:
        assert stream.status_code == (200 if target == ExplicitVRLittleEndian else 406)
    else:
        # The code stream of the frame, laid into the written instance, is the same image.
        data_set.PixelData = encapsulate([stream.content])
        file = io.BytesIO()
        data_set.save_as(file)
        assert np.array_equal(pixel_array(io.BytesIO(file.getvalue())), expected)


@pytest.mark.parametrize("kind", ["image/jls", "image/jp2", "image/dicom-rle"])
def test_a_frame_is_encoded_in_the_type_that_is_asked_for(harness: Harness, kind: str) -> None:
    content = a_file("1.2.840.10008.1.2.1")
    harness.keep(content)
    answer = harness.get(path_of(content) + "/frames/1", kind)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith(kind + ";transfer-syntax=")


def test_of_what_is_accepted_equally_the_stored_form_goes_out(harness: Harness) -> None:
    content = a_file("1.2.840.10008.1.2.4.91")
    harness.keep(content)
    accept = f'{OCTETS}, multipart/related; type="image/jp2"; transfer-syntax=1.2.840.10008.1.2.4.91'
    [(kind, _)] = parts_of(harness.get(path_of(content) + "/frames/1", accept))
    assert kind.startswith("image/jp2")
    preferred = (
        f'{OCTETS}, multipart/related; type="image/jp2"; transfer-syntax=1.2.840.10008.1.2.4.91; q=0.5'
    )
    [(kind, _)] = parts_of(harness.get(path_of(content) + "/frames/1", preferred))
    assert kind.startswith("application/octet-stream")


@pytest.mark.parametrize("syntax", VIDEOS)
def test_a_video_is_kept_given_as_one_stream_and_told_apart_from_images(
    harness: Harness, syntax: str
) -> None:
    data_set = data_set_of(synthetic("1.1", NumberOfFrames=25))
    stream = bytes(range(256)) * 5
    data_set.PixelData = encapsulate([stream[:600], stream[600:]], has_bot=False)
    data_set.file_meta.TransferSyntaxUID = UID(syntax)
    data_set["PixelData"].VR = "OB"
    data_set["PixelData"].is_undefined_length = True
    file = io.BytesIO()
    data_set.save_as(file, implicit_vr=False, little_endian=True)
    harness.keep(file.getvalue())
    path = "/studies/1.2.3/series/1.2.3.1/instances/1.1"
    [(_, kept)] = parts_of(harness.get(path, AS_STORED))
    assert scan(kept).digest == scan(file.getvalue()).digest
    for resource in ("/rendered", "/thumbnail", "/frames/1/rendered"):
        answer = harness.get(path + resource)
        assert answer.status_code == 406
        assert "is a video" in answer.json()["detail"]
    assert harness.get(path, "application/dicom").status_code == 406
    bulk = harness.get(path + "/bulkdata/7FE00010", "video/*, application/octet-stream;q=0.5")
    assert bulk.content == stream
    kind = "video/mpeg" if syntax[20:23] in ("100", "101") else "video/mp4"
    assert bulk.headers["content-type"] == kind


def test_a_syntax_that_nobody_knows_is_kept_and_not_guessed_at(harness: Harness) -> None:
    data_set = data_set_of(synthetic("1.1"))
    data_set.PixelData = encapsulate([b"secret sauce"])
    data_set["PixelData"].VR = "OB"
    data_set["PixelData"].is_undefined_length = True
    data_set.file_meta.TransferSyntaxUID = UID("1.2.826.0.1.3680043.9999.1")
    file = io.BytesIO()
    data_set.save_as(file, implicit_vr=False, little_endian=True)
    harness.keep(file.getvalue())
    path = "/studies/1.2.3/series/1.2.3.1/instances/1.1"
    assert scan(parts_of(harness.get(path, AS_STORED))[0][1]).digest == scan(file.getvalue()).digest
    answer = harness.get(path + "/rendered")
    assert answer.status_code == 406
    assert "1.2.826.0.1.3680043.9999.1" in answer.json()["detail"]


def test_an_instance_without_pixels_is_written_in_another_encoding_too(harness: Harness) -> None:
    content = synthetic("1.1", transfer_syntax=DeflatedExplicitVRLittleEndian)
    harness.keep(content)
    written = harness.get("/studies/1.2.3/series/1.2.3.1/instances/1.1", "application/dicom")
    assert written.status_code == 200
    assert data_set_of(written.content).PixelData == data_set_of(content).PixelData
