"""Within a worker: a frame as a picture file, cropped, turned and scaled as the viewport says."""

import io
from typing import Any

from PIL import Image
from pydicom.dataset import Dataset

from services.archive.rendering.pixels import Refusal, decoded
from services.archive.rendering.presentation import Window, presented

MAX_SIDE = 16384
_FORMATS = {"image/jpeg": "JPEG", "image/png": "PNG", "image/gif": "GIF", "image/jp2": "JPEG2000"}


def picture(data_set: Dataset, asked: dict[str, Any]) -> bytes:
    """The only frame of `data_set` as a file of `asked["media_type"]`. Raises `Refusal`.

    `window`: center, width, function. `region`: left, top, width, height of the source, negative sizes flip
    (PS3.18 8.3.5.1.3). `size`: the width and height that the result fits into, its aspect ratio kept.
    """
    array, photometric = decoded(data_set)
    window = Window(*asked["window"]) if asked.get("window") else None
    image = Image.fromarray(presented(array, photometric, data_set, window))
    if asked.get("region"):
        image = _cropped(image, *asked["region"])
    if asked.get("size"):
        image = _fitted(image, *asked["size"])
    kind = _FORMATS[asked["media_type"]]
    options: dict[str, Any] = {"quality": asked["quality"]} if kind == "JPEG" else {}
    if kind == "PNG":
        options = {"compress_level": 3}
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def _cropped(image: Image.Image, left: float, top: float, width: float, height: float) -> Image.Image:
    right = min(image.width, round(left + abs(width)))
    bottom = min(image.height, round(top + abs(height)))
    box = (max(0, round(left)), max(0, round(top)), right, bottom)
    if box[0] >= box[2] or box[1] >= box[3]:
        raise Refusal("The viewport's source region lies outside of the image.")
    image = image.crop(box)
    if width < 0:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if height < 0:
        image = image.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    return image


def _fitted(image: Image.Image, width: int, height: int) -> Image.Image:
    scale = min(width / image.width, height / image.height)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image if size == image.size else image.resize(size, Image.Resampling.BILINEAR)
