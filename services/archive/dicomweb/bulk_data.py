"""WADO-RS bulk data (PS3.18 10.4.1.1.5): the value at an attribute path, as the metadata's BulkDataURIs name it."""

import re
from collections.abc import Sequence
from functools import partial

from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian

from services.archive.dicomweb.accept import OCTETS, MediaRange
from services.archive.dicomweb.answer import Answer, etag_of, made_part, octets, stored_part
from services.archive.dicomweb.frames import Frames
from services.archive.dicomweb.multipart import Part
from services.archive.errors import translate_store
from services.archive.index.content import instance_file
from services.archive.index.dicom_json import PIXEL_TAGS
from services.archive.index.header import read_data_set
from services.archive.index.records import StoredInstance
from services.archive.ports import ObjectStore
from services.archive.rendering.byte_order import swapped
from services.archive.rendering.service import Rendering
from services.archive.rendering.syntaxes import Pixels, is_encapsulated, pixels_of, video_type
from services.common.errors import BadRequest, NotFound

_PATH = re.compile(r"[0-9A-F]{8}(/\d{1,6}/[0-9A-F]{8}){0,32}")


class BulkData:
    """Reads values that the metadata holds as links only."""

    def __init__(self, store: ObjectStore, frames: Frames, rendering: Rendering) -> None:
        self._store, self._frames, self._rendering = store, frames, rendering

    def answer(self, stored: StoredInstance, path: str, ranges: Sequence[MediaRange]) -> Answer:
        """The value at `path`. Raises `BadRequest`, `NotFound`, `NotAcceptable`."""
        if not _PATH.fullmatch(path):
            raise BadRequest(
                "The bulk data path is not one of ours.", action="Use a BulkDataURI of the metadata."
            )
        if _is_pixels(path):
            if pixels_of(stored.transfer_syntax) in (Pixels.DECODED, Pixels.UNKNOWN):
                count = len(stored.frames) or self._rendering.frame_count(stored)
                return self._frames.answer(stored, range(1, count + 1), ranges)
            return octets(self._pixels(stored), ranges, etag_of([stored], path))
        return octets(self._value(stored, path), ranges, etag_of([stored], path))

    def _pixels(self, stored: StoredInstance) -> Part:
        """Native pixels as one value; a video as the one stream that it is."""
        if is_encapsulated(stored.transfer_syntax):
            return made_part(video_type(stored.transfer_syntax), self._rendering.stream(stored))
        if stored.pixel_length and stored.transfer_syntax != ExplicitVRBigEndian:
            return stored_part(self._store, stored, OCTETS, stored.pixel_offset, stored.pixel_length)
        return made_part(OCTETS, b"".join(self._rendering.split(stored)[1:]))

    def _value(self, stored: StoredInstance, path: str) -> Part:
        big_endian = stored.transfer_syntax == ExplicitVRBigEndian
        with (
            translate_store(),
            instance_file(
                partial(self._store.read, stored.object_key), stored.offset, stored.length
            ) as source,
        ):
            data_set = read_data_set(source, stored.transfer_syntax, stored.data_offset)
        element = _element(data_set, path)
        if isinstance(element, RawDataElement) and element.value is None:
            part = stored_part(self._store, stored, OCTETS, element.value_tell, element.length)
            if not big_endian:
                return part
            value = b"".join(part.read())
        else:
            value = bytes(element.value or b"")
        return made_part(OCTETS, swapped(value, str(element.VR)) if big_endian else value)


def _is_pixels(path: str) -> bool:
    return len(path) == 8 and int(path, 16) in PIXEL_TAGS


def _element(data_set: Dataset, path: str) -> DataElement | RawDataElement:
    """The element at a path of tags and item numbers. Raises `NotFound`."""
    *steps, last = path.split("/")
    try:
        for tag, item in zip(steps[::2], steps[1::2], strict=True):
            data_set = data_set[int(tag, 16)].value[int(item)]
        element: DataElement | RawDataElement | None = data_set.get_item(int(last, 16), keep_deferred=True)
    except (KeyError, IndexError, TypeError, ValueError):
        element = None
    if element is None:
        raise NotFound("The instance has no such attribute.", action="Use a BulkDataURI of its metadata.")
    return element
