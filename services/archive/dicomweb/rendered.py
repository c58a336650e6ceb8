"""Rendered resources and thumbnails (PS3.18 10.4.1.1.3, 10.4.1.1.4): what a client asks to see, and of which frames."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from pydicom.uid import DeflatedExplicitVRLittleEndian

from services.archive.dicomweb.accept import MediaRange
from services.archive.dicomweb.answer import Answer, etag_of
from services.archive.dicomweb.frames import check_numbers
from services.archive.dicomweb.multipart import Part
from services.archive.index.records import StoredInstance
from services.archive.rendering.service import Picture, Rendering
from services.common.errors import BadRequest, NotAcceptable

MEDIA_TYPES = ("image/jpeg", "image/png", "image/gif", "image/jp2")
THUMBNAIL_SIDE = 256
MAX_SIDE = 16384
MAX_RENDERED = 1000
_FUNCTIONS = {"linear": "LINEAR", "linear-exact": "LINEAR_EXACT", "sigmoid": "SIGMOID"}
_NUMBER_CHARACTERS = 32


class Rendered:
    """Pictures of instances, frames and, as thumbnails, of series and studies."""

    def __init__(self, rendering: Rendering) -> None:
        self._rendering = rendering

    def frames(
        self, stored: StoredInstance, numbers: Sequence[int], wanted: Picture, asked: MediaRange
    ) -> Answer:
        """Frames by number from 1. Raises `NotFound`, `NotAcceptable`."""
        check_numbers(numbers, self._rendering.frame_count(stored))
        if len(numbers) > 1 and not asked.is_multipart:
            raise NotAcceptable(
                "Several frames are several pictures.", action='Accept multipart/related; type="image/jpeg".'
            )
        parts = [self._part(stored, number, wanted) for number in numbers]
        etag = etag_of([stored], "rendered", tuple(numbers), wanted)
        return Answer(parts, wanted.media_type, asked.is_multipart, etag)

    def instances(self, found: Sequence[StoredInstance], wanted: Picture, asked: MediaRange) -> Answer:
        """The first frame of each instance that has pixels. Raises `NotAcceptable`.

        A client that takes no multipart gets the picture if there is but one.
        """
        images = [stored for stored in found if has_pixels(stored)]
        if not images:
            raise NotAcceptable(
                "Nothing of this can be shown as a picture: it holds no pixel data.",
                action="Fetch the instances or their metadata.",
            )
        if len(images) > MAX_RENDERED or (len(images) > 1 and not asked.is_multipart):
            raise NotAcceptable(
                f"These are {len(images)} pictures; one request gives at most {MAX_RENDERED}, as multipart.",
                action='Accept multipart/related; type="image/jpeg", or ask for one series or instance.',
            )
        parts = [self._part(stored, 1, wanted) for stored in images]
        return Answer(parts, wanted.media_type, asked.is_multipart, etag_of(images, "rendered", wanted))

    def thumbnail(
        self, found: Sequence[StoredInstance], number: int | None, wanted: Picture, asked: MediaRange
    ) -> Answer:
        """One small picture of a study, series, instance or frame: of the middle one, where most is to be seen.

        Raises `NotFound`, `NotAcceptable`.
        """
        images = [stored for stored in found if has_pixels(stored)]
        first_series = [one for one in images if one.series_uid == images[0].series_uid]
        if not first_series:
            return self.instances(found, wanted, asked)
        stored = first_series[len(first_series) // 2]
        count = self._rendering.frame_count(stored)
        chosen = number if number is not None else count // 2 + 1
        small = replace(wanted, size=wanted.size or (THUMBNAIL_SIDE, THUMBNAIL_SIDE))
        return self.frames(stored, [chosen], small, asked)

    def _part(self, stored: StoredInstance, number: int, wanted: Picture) -> Part:
        def make() -> list[bytes]:
            return [bytes(self._rendering.picture(stored, number - 1, wanted))]

        return Part(wanted.media_type, None, make)


def has_pixels(stored: StoredInstance) -> bool:
    """Whether there is something to be shown, as far as the index knows: a deflated data set tells only when inflated."""
    return (
        bool(stored.pixel_length or stored.frames) or stored.transfer_syntax == DeflatedExplicitVRLittleEndian
    )


def media_type(ranges: Sequence[MediaRange]) -> tuple[str, MediaRange]:
    """The picture's type and the range that asks for it; JPEG where the client leaves it open. Raises `NotAcceptable`."""
    for one in ranges:
        for kind in MEDIA_TYPES:
            if one.takes(kind):
                return kind, one
    raise NotAcceptable(
        f"Pictures are made as {', '.join(MEDIA_TYPES)}.",
        action="Accept one of these (PS3.18 table 8.7.4-1).",
    )


def picture_of(parameters: Mapping[str, str], kind: str) -> Picture:
    """The parameters of a rendered resource (PS3.18 8.3.5.1). Raises `BadRequest` for one that cannot be read.

    `annotation` is not burnt in, as an origin server may choose (8.3.5.1.1); `iccprofile=no` is what is done.
    """
    if parameters.get("iccprofile", "no").lower() != "no":
        raise BadRequest("Pictures come without an ICC profile.", action="Leave iccprofile out, or say no.")
    size, region = _viewport(parameters.get("viewport"))
    quality = parameters.get("quality")
    return Picture(
        media_type=kind,
        quality=_quality(quality) if quality is not None else Picture().quality,
        window=_window(parameters.get("window")),
        region=region,
        size=size,
    )


def _quality(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 4 and 1 <= int(text) <= 100):
        raise BadRequest("quality cannot be read.", action="Give a whole number from 1 to 100.")
    return int(text)


def _window(text: str | None) -> tuple[float, float, str] | None:
    """`center,width,function` (PS3.18 8.3.5.1.4)."""
    if text is None:
        return None
    center, width, function = ([*text.split(","), "", "", ""])[:3]
    name = _FUNCTIONS.get(function.strip().lower() or "linear")
    numbers = (_decimal(center), _decimal(width))
    if name is None or text.count(",") not in (1, 2) or None in numbers:
        raise _wrong_window()
    least = 1.0 if name == "LINEAR" else 1e-9
    found_center, found_width = numbers
    if found_center is None or found_width is None or found_width < least:
        raise _wrong_window()
    return found_center, found_width, name


def _wrong_window() -> BadRequest:
    return BadRequest(
        "window cannot be read.",
        action="Give center,width,function: a width of at least 1, and linear, linear-exact or sigmoid.",
    )


def _viewport(
    text: str | None,
) -> tuple[tuple[int, int] | None, tuple[float, float, float, float] | None]:
    """`vw,vh` or `vw,vh,sx,sy,sw,sh` (PS3.18 8.3.5.1.3); an empty source value is its default."""
    if text is None:
        return None, None
    fields = text.split(",")
    wrong = BadRequest(
        "viewport cannot be read.",
        action=f"Give vw,vh or vw,vh,sx,sy,sw,sh: sizes of 1 to {MAX_SIDE} pixels, a source within the image.",
    )
    width, height = (_decimal(one) for one in ([*fields, ""])[:2])
    if len(fields) not in (2, 6) or width is None or height is None:
        raise wrong
    if not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE):
        raise wrong
    size = (round(width), round(height))
    if len(fields) == 2:
        return size, None
    source = [
        _decimal(one) if one.strip() else default for one, default in zip(fields[2:], _WHOLE, strict=True)
    ]
    left, top, wide, high = source
    if left is None or top is None or not wide or not high or left < 0 or top < 0:
        raise wrong
    return size, (left, top, wide, high)


# Reaches beyond any image's edge: cropping ends there.
_WHOLE = (0.0, 0.0, 65536.0, 65536.0)


def _decimal(text: str) -> float | None:
    """A finite number as a client writes it, or None."""
    plain = text.strip()
    if not plain.isascii() or len(plain) > _NUMBER_CHARACTERS or not set(plain) <= set("0123456789+-.eE"):
        return None
    try:
        number = float(plain)
    except ValueError:
        return None
    return number if abs(number) < 1e12 else None
