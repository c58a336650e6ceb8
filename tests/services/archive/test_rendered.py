"""Rules of rendered resources, thumbnails and WADO-URI (PS3.18 8.3.5, 9, 10.4.1.1.3): pictures of what was asked for."""

import io

import numpy as np
import pytest
from PIL import Image

from services.archive.dicomweb.rendered import picture_of
from services.common.errors import BadRequest
from tests.services.archive.harness import Harness, harness, parts_of
from tests.services.archive.samples import file_bytes, synthetic
from tests.services.archive.test_wado import path_of

__all__ = ["harness"]

SERIES = "/studies/1.2.3/series/1.2.3.1"
ONE = SERIES + "/instances/1.1"
JPEGS = 'multipart/related; type="image/jpeg"'


def grey(value: int) -> bytes:
    """A frame of one value but for a black and a white corner, which fix the range."""
    return np.array([0, *[value] * 14, 255], "<u2").tobytes()


def image_of(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)))


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (None, "image/jpeg"), ("*/*", "image/jpeg"), ("image/*", "image/jpeg"), ("image/png", "image/png"),
        ("image/jpeg;q=0.5, image/png", "image/png"), ("image/webp, image/gif;q=0.1", "image/gif"),
        ("image/jp2", "image/jp2"),
    ],
)  # fmt: skip
def test_a_picture_has_the_type_that_the_client_likes_best(
    harness: Harness, accept: str | None, kind: str
) -> None:
    harness.keep(file_bytes("CT_small.dcm"))
    answer = harness.get(path_of(file_bytes("CT_small.dcm")) + "/rendered", accept)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == kind
    assert Image.open(io.BytesIO(answer.content)).get_format_mimetype() == kind


def test_a_type_that_is_no_picture_is_refused_with_those_that_are_made(harness: Harness) -> None:
    harness.keep(synthetic("1.1"))
    answer = harness.get(ONE + "/rendered", "application/pdf")
    assert answer.status_code == 406
    assert "image/png" in answer.json()["detail"]


def test_an_instance_shows_its_first_frame_and_a_frame_itself(harness: Harness) -> None:
    harness.keep(synthetic("1.1", NumberOfFrames=3, PixelData=grey(10) + grey(100) + grey(200)))
    assert image_of(harness.get(ONE + "/rendered", "image/png").content)[1, 1] == 10
    assert image_of(harness.get(ONE + "/frames/3/rendered", "image/png").content)[1, 1] == 200
    several = harness.get(ONE + "/frames/2,1/rendered", 'multipart/related; type="image/png"')
    assert [image_of(body)[1, 1] for _, body in parts_of(several)] == [100, 10]
    assert harness.get(ONE + "/frames/1,2/rendered", "image/png").status_code == 406
    assert harness.get(ONE + "/frames/4/rendered").status_code == 404
    assert harness.get(ONE + "/frames/0/rendered").status_code == 400


def test_a_series_and_a_study_come_as_one_picture_for_each_image_in_reading_order(harness: Harness) -> None:
    harness.keep(*(synthetic(f"1.{n}", InstanceNumber=n, PixelData=grey(n * 50)) for n in (3, 1, 2)))
    for path in (SERIES, "/studies/1.2.3"):
        bodies = parts_of(harness.get(path + "/rendered", 'multipart/related; type="image/png"'))
        assert [image_of(body)[1, 1] for _, body in bodies] == [50, 100, 150]
        assert harness.get(path + "/rendered", "image/png").status_code == 406


def test_what_holds_no_pixels_is_told_so(harness: Harness) -> None:
    content = file_bytes("rtplan.dcm")
    harness.keep(content)
    for resource in ("/rendered", "/thumbnail"):
        answer = harness.get(path_of(content) + resource)
        assert answer.status_code == 406
        assert "no pixel data" in answer.json()["detail"]


def test_window_viewport_and_quality_change_the_picture_as_they_say(harness: Harness) -> None:
    harness.keep(synthetic("1.1", PixelData=np.arange(0, 1600, 100, dtype="<u2").tobytes()))
    windowed = image_of(harness.get(ONE + "/rendered?window=800,1,linear", "image/png").content).ravel()
    assert list(windowed) == [0] * 8 + [255] * 8
    exact = image_of(harness.get(ONE + "/rendered?window=800,1600,linear-exact", "image/png").content)
    assert exact[2, 0] == 128
    assert image_of(harness.get(ONE + "/rendered?viewport=8,100", "image/png").content).shape == (8, 8)
    part = image_of(harness.get(ONE + "/rendered?viewport=2,2,2,0,-2,2", "image/png").content)
    whole = image_of(harness.get(ONE + "/rendered", "image/png").content)
    assert np.array_equal(part, whole[:2, 2:][:, ::-1])
    annotated = harness.get(ONE + "/rendered?annotation=patient,technique", "image/png")
    assert np.array_equal(image_of(annotated.content), whole)


@pytest.mark.parametrize(
    "query",
    [
        "window=1", "window=a,b", "window=1,0", "window=1,2,cubic", "window=1,2,linear,4", "window=nan,4", "window=1,inf",
        "viewport=0,5", "viewport=5", "viewport=1,2,3", "viewport=99999,1", "viewport=1,1,-1,0,1,1", "viewport=1,1,0,0,0,1",
        "viewport=1e9999,1", "quality=0", "quality=101", "quality=x", "quality=٣", "iccprofile=srgb",
    ],
)  # fmt: skip
def test_a_parameter_that_cannot_be_honoured_is_refused_by_name(harness: Harness, query: str) -> None:
    harness.keep(synthetic("1.1"))
    answer = harness.get(f"{ONE}/rendered?{query}")
    assert answer.status_code == 400
    assert query.partition("=")[0] in answer.json()["detail"] + answer.json()["action"]


def test_an_empty_source_value_of_a_viewport_is_its_default() -> None:
    wanted = picture_of({"viewport": "10,20,,,5,"}, "image/png")
    assert (wanted.size, wanted.region) == ((10, 20), (0.0, 0.0, 5.0, 65536.0))
    with pytest.raises(BadRequest):
        picture_of({"viewport": "10,20,,,,x"}, "image/png")


def test_a_thumbnail_is_small_and_of_the_middle(harness: Harness) -> None:
    harness.keep(*(synthetic(f"1.{n}", InstanceNumber=n, PixelData=grey(n * 50)) for n in (1, 2, 3)))
    for path, seen in (("/studies/1.2.3", 100), (SERIES, 100), (SERIES + "/instances/1.1", 50)):
        answer = harness.get(path + "/thumbnail?viewport=4,4", "image/png")
        assert image_of(answer.content)[1, 1] == seen, path
    large = file_bytes("JPEG2000.dcm")
    harness.keep(large)
    assert max(image_of(harness.get(path_of(large) + "/thumbnail").content).shape) == 256
    assert harness.get(SERIES + "/instances/1.1/frames/1/thumbnail").status_code == 200
    assert harness.get(SERIES + "/instances/1.1/frames/2/thumbnail").status_code == 404


def wado_uri(content: bytes | None = None, **parameters: str) -> str:
    uids = path_of(content).split("/")[2::2] if content else ["1.2.3", "1.2.3.1", "1.1"]
    named = dict(zip(("studyUID", "seriesUID", "objectUID"), uids, strict=True)) | parameters
    return "/wado?requestType=WADO&" + "&".join(f"{name}={value}" for name, value in named.items())


def test_wado_uri_gives_a_jpeg_of_a_single_frame_and_dicom_when_asked(harness: Harness) -> None:
    content = file_bytes("CT_small.dcm")
    harness.keep(content)
    assert harness.get(wado_uri(content)).headers["content-type"] == "image/jpeg"
    png = harness.get(
        wado_uri(content, contentType="image/png", rows="64", windowCenter="40", windowWidth="400")
    )
    assert image_of(png.content).shape == (64, 64)
    dicom = harness.get(wado_uri(content, contentType="application/dicom"))
    assert dicom.headers["content-type"] == "application/dicom;transfer-syntax=1.2.840.10008.1.2.1"
    assert dicom.content[128:132] == b"DICM"


def test_wado_uri_gives_a_multi_frame_object_as_dicom_and_its_frames_as_pictures(harness: Harness) -> None:
    harness.keep(synthetic("1.1", NumberOfFrames=2, PixelData=grey(10) + grey(100)))
    assert harness.get(wado_uri()).headers["content-type"].startswith("application/dicom")
    picture = harness.get(wado_uri(frameNumber="2", contentType="image/png"))
    assert image_of(picture.content)[1, 1] == 100
    assert harness.get(wado_uri(frameNumber="3", contentType="image/png")).status_code == 404


def test_wado_uri_in_another_transfer_syntax(harness: Harness) -> None:
    content = file_bytes("JPEG2000.dcm")
    harness.keep(content)
    path = wado_uri(content, contentType="application/dicom")
    assert harness.get(path).headers["content-type"].endswith("=1.2.840.10008.1.2.1")
    as_stored = harness.get(path + "&transferSyntax=1.2.840.10008.1.2.4.91")
    assert as_stored.headers["content-type"].endswith("=1.2.840.10008.1.2.4.91")
    assert harness.get(path + "&transferSyntax=1.2.840.10008.1.2.4.50").status_code == 406


@pytest.mark.parametrize(
    ("parameters", "status"),
    [
        ({"requestType": "XDS"}, 400), ({"objectUID": "../etc"}, 400), ({"anonymize": "yes"}, 400),
        ({"presentationUID": "1.2"}, 400), ({"contentType": "text/html"}, 406), ({"frameNumber": "0"}, 400),
        ({"rows": "x"}, 400), ({"windowCenter": "1"}, 400), ({"imageQuality": "200"}, 400), ({"region": "0,0,1,1"}, 400),
        ({"objectUID": "1.9"}, 404), ({"transferSyntax": "x", "contentType": "application/dicom"}, 400),
    ],
)  # fmt: skip
def test_a_wado_uri_request_that_cannot_be_honoured_is_refused(
    harness: Harness, parameters: dict[str, str], status: int
) -> None:
    harness.keep(synthetic("1.1"))
    answer = harness.get(wado_uri(**parameters))
    assert answer.status_code == status
    assert answer.json()["action"]
