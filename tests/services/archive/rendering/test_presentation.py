"""What is shown is what PS3.3 C.11 says, compared number by number with pydicom's own reference functions."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi_lut, apply_windowing, pixel_array
from pydicom.sequence import Sequence

from services.archive.rendering.picture import picture
from services.archive.rendering.pixels import Refusal, one_frame, separated
from services.archive.rendering.presentation import Window, presented
from services.packs.instance import scan
from tests.services.archive.samples import data_set_of, file_bytes, synthetic

PNG: dict[str, Any] = {"media_type": "image/png", "quality": 90}


def a_slice(values: list[int], *, signed: bool = False, **attributes: object) -> Dataset:
    """A 4 x 4 slice with these 16 stored values."""
    pixels = np.array(values, "<i2" if signed else "<u2").tobytes()
    return data_set_of(synthetic("1.1", PixelData=pixels, PixelRepresentation=int(signed), **attributes))


def shown(data_set: Dataset, window: Window | None = None) -> Any:
    return presented(data_set.pixel_array, str(data_set.PhotometricInterpretation), data_set, window)


def reference(values: Any, low: float, high: float) -> Any:
    """Values of a range as eight bits."""
    return np.rint((np.asarray(values, np.float64) - low) / (high - low) * 255)


@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small.dcm", "JPEG2000.dcm", "JPGExtended.dcm"])
@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_a_window_gives_what_the_reference_gives(name: str, function: str) -> None:
    data_set = data_set_of(file_bytes(name))
    data_set.WindowCenter, data_set.WindowWidth, data_set.VOILUTFunction = 40, 400, function
    windowed = apply_windowing(apply_modality_lut(data_set.pixel_array, data_set), data_set)
    slope, intercept = float(data_set.get("RescaleSlope", 1)), float(data_set.get("RescaleIntercept", 0))
    bits, signed = int(data_set.BitsStored), int(data_set.PixelRepresentation)
    ends = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    expected = reference(windowed, *(end * slope + intercept for end in ends))
    # The reference counts in the stored range; a value on the edge between two greys may round to either.
    assert np.abs(shown(data_set).astype(int) - expected).max() <= 1
    data_set.WindowCenter = data_set.WindowWidth = 1
    again = shown(data_set, Window(40, 400, function))
    assert np.abs(again.astype(int) - expected).max() <= 1


def test_rescale_comes_before_the_window() -> None:
    data_set = a_slice([-1000, *range(15)], signed=True, RescaleSlope=2, RescaleIntercept=-10)
    image = shown(data_set, Window(0, 11))
    assert list(image.ravel()[:7]) == [0, 0, 0, 0, 38, 89, 140]


def test_monochrome1_and_an_inverse_shape_show_low_values_bright() -> None:
    values = list(range(16))
    plain, inverse = a_slice(values), a_slice(values, PhotometricInterpretation="MONOCHROME1")
    shape = a_slice(values, PresentationLUTShape="INVERSE")
    assert list(shown(plain).ravel()) == [17 * n for n in range(16)]
    assert list(shown(inverse).ravel()) == [255 - 17 * n for n in range(16)]
    assert list(shown(shape).ravel()) == list(shown(inverse).ravel())


def test_without_a_window_the_whole_range_is_shown_and_padding_is_no_part_of_it() -> None:
    data_set = a_slice([-2000, *range(15)], signed=True, PixelPaddingValue=-2000)
    data_set["PixelPaddingValue"].VR = "SS"
    image = shown(data_set).ravel()
    assert (image[1], image[15]) == (0, 255)
    assert shown(a_slice([7] * 16)).max() == 0


def test_a_voi_lut_goes_before_the_window_and_gives_what_the_reference_gives() -> None:
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [16, 2, 12])
    item.add_new("LUTData", "US", [(n * n * 16) & 0xFFF for n in range(16)])
    data_set = a_slice(
        list(range(16)), VOILUTSequence=Sequence([item]), WindowCenter=1, WindowWidth=1, BitsStored=12
    )
    expected = reference(apply_voi_lut(data_set.pixel_array, data_set), 0, 4095)
    assert np.array_equal(shown(data_set), expected)


def test_a_modality_lut_gives_what_the_reference_gives() -> None:
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [16, 0, 16])
    item.add_new("LUTData", "US", [65535 - n * 4000 for n in range(16)])
    data_set = a_slice(list(range(16)), ModalityLUTSequence=Sequence([item]))
    values = apply_modality_lut(data_set.pixel_array, data_set)
    assert np.array_equal(shown(data_set), reference(values, values.min(), values.max()))


@pytest.mark.parametrize("name", ["examples_palette.dcm"])
def test_a_palette_gives_what_the_reference_gives(name: str) -> None:
    data_set = data_set_of(file_bytes(name))
    colours = apply_color_lut(data_set.pixel_array, data_set)[..., :3]
    depth = colours.dtype.itemsize * 8
    assert np.array_equal(shown(data_set), reference(colours, 0, (1 << depth) - 1))


@pytest.mark.parametrize(
    "name",
    [
        "SC_rgb_small_odd.dcm", "SC_rgb_rle.dcm", "SC_rgb_jpeg_dcmtk.dcm", "SC_rgb_jls_lossy_line.dcm",
        "SC_rgb_jls_lossy_sample.dcm", "SC_ybr_full_422_uncompressed.dcm", "examples_ybr_color.dcm",
        "SC_rgb_dcmtk_+eb+cy+s2.dcm", "examples_jpeg2k.dcm", "SC_rgb_gdcm_KY.dcm",
    ],
)  # fmt: skip
def test_colours_are_those_of_the_reference_whatever_their_space_and_planes(name: str) -> None:
    content = file_bytes(name)
    expected = pixel_array(io.BytesIO(content), index=0)
    header, frame = parts(content)
    image = Image.open(io.BytesIO(picture(one_frame(header, frame, 0), PNG)))
    assert image.mode == "RGB"
    assert np.array_equal(np.asarray(image), expected)


def parts(content: bytes) -> tuple[bytes, bytes]:
    """The header and the first frame as the archive hands them to a worker."""
    data_set = data_set_of(content)
    if "StudyInstanceUID" not in data_set:  # some test files are no whole instances
        data_set.StudyInstanceUID = data_set.SeriesInstanceUID = "1.2.3"
        file = io.BytesIO()
        data_set.save_as(file)
        content = file.getvalue()
    instance = scan(content)
    if not instance.frames:
        header, frame, *_ = separated(content)
        return header, frame
    offset, length = instance.frames[0]
    return content[: instance.pixel_offset], content[offset : offset + length]


def test_sixteen_bit_colours_come_down_to_eight() -> None:
    data_set = data_set_of(file_bytes("SC_rgb_rle_16bit.dcm"))
    assert np.array_equal(shown(data_set), reference(data_set.pixel_array, 0, 65535))


def test_one_bit_is_black_and_white() -> None:
    data_set = data_set_of(synthetic("1.1", BitsAllocated=1, BitsStored=1, HighBit=0, PixelData=b"\x0f\xf0"))
    assert list(shown(data_set).ravel()) == [255] * 4 + [0] * 8 + [255] * 4


def test_a_functional_group_of_the_frame_goes_before_the_shared_one() -> None:
    def voi(center: int) -> Dataset:
        group, item = Dataset(), Dataset()
        item.WindowCenter, item.WindowWidth = center, 3
        group.FrameVOILUTSequence = Sequence([item])
        return group

    content = synthetic(
        "1.1",
        PixelData=np.arange(16, dtype="<u2").tobytes() * 2,
        NumberOfFrames=2,
        SharedFunctionalGroupsSequence=Sequence([voi(2)]),
        PerFrameFunctionalGroupsSequence=Sequence([Dataset(), voi(12)]),
    )
    header, frame = parts(content)
    for index, center in ((0, 2), (1, 12)):
        data_set = one_frame(header, frame, index)
        image = presented(data_set.pixel_array, "MONOCHROME2", data_set, None).ravel()
        assert (image[center - 2], image[center + 1]) == (0, 255)


def test_a_viewport_crops_flips_and_scales_and_keeps_the_ratio() -> None:
    content = synthetic("1.1", PixelData=np.arange(16, dtype="<u2").tobytes())
    header, frame = parts(content)

    def values(**asked: object) -> Any:
        return np.asarray(Image.open(io.BytesIO(picture(one_frame(header, frame, 0), PNG | asked))))

    whole = values()
    assert np.array_equal(values(region=(1, 0, 2, 4)), whole[:, 1:3])
    assert np.array_equal(values(region=(0, 0, -4, 4)), whole[:, ::-1])
    assert np.array_equal(values(region=(0, 0, 65536, -65536)), whole[::-1])
    assert values(size=(16, 100)).shape == (16, 16)
    assert values(size=(2, 1)).shape == (1, 1)
    with pytest.raises(Refusal):
        values(region=(4, 0, 2, 2))


@pytest.mark.parametrize("kind", ["image/jpeg", "image/png", "image/gif", "image/jp2"])
def test_a_picture_is_a_file_of_the_asked_type(kind: str) -> None:
    content = file_bytes("CT_small.dcm")
    header, frame = parts(content)
    image = Image.open(io.BytesIO(picture(one_frame(header, frame, 0), PNG | {"media_type": kind})))
    assert image.get_format_mimetype() == kind
    assert image.size == (128, 128)


def test_less_quality_is_a_smaller_file() -> None:
    content = file_bytes("CT_small.dcm")
    header, frame = parts(content)
    sizes = [
        len(picture(one_frame(header, frame, 0), {"media_type": "image/jpeg", "quality": quality}))
        for quality in (10, 90)
    ]
    assert sizes[0] < sizes[1] / 2


@pytest.mark.parametrize(
    "attributes",
    [
        {"PhotometricInterpretation": "HSV"}, {"Rows": 400}, {"BitsAllocated": 12},
        {"PhotometricInterpretation": "PALETTE COLOR"},
    ],
)  # fmt: skip
def test_what_cannot_be_shown_is_refused(attributes: dict[str, object]) -> None:
    content = synthetic("1.1", **attributes)
    data_set = dcmread(io.BytesIO(content))
    with pytest.raises(Refusal):
        picture(data_set, PNG)
