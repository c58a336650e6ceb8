"""WADO-RS (PS3.18 10.4): which bytes answer a retrieval. Nothing is parsed here that the index already knows."""

import io
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian

from services.archive.dicomweb.accept import DICOM, EXPLICIT_LE, OCTETS, MediaRange, not_acceptable
from services.archive.dicomweb.multipart import Part
from services.archive.dicomweb.pixels import is_encapsulated, is_rewritable, rewritten, swapped
from services.archive.dicomweb.split_frames import SplitFrames
from services.archive.errors import translate_store
from services.archive.index.content import instance_file
from services.archive.index.dicom_json import PIXEL_TAGS
from services.archive.index.header import read_data_set
from services.archive.index.records import StoredInstance
from services.archive.ports import Index, ObjectStore
from services.common.errors import BadRequest, NotAcceptable, NotFound

MAX_FRAMES = 100_000
_PATH = re.compile(r"[0-9A-F]{8}(/\d{1,6}/[0-9A-F]{8}){0,32}")
_BATCH = 200

# PS3.18 table 8.7.3-4 ff.: the media type of one compressed frame by its transfer syntax.
FRAME_TYPES = {
    "1.2.840.10008.1.2.4.50": "image/jpeg", "1.2.840.10008.1.2.4.51": "image/jpeg",
    "1.2.840.10008.1.2.4.57": "image/jpeg", "1.2.840.10008.1.2.4.70": "image/jpeg",
    "1.2.840.10008.1.2.4.80": "image/jls", "1.2.840.10008.1.2.4.81": "image/jls",
    "1.2.840.10008.1.2.4.90": "image/jp2", "1.2.840.10008.1.2.4.91": "image/jp2",
    "1.2.840.10008.1.2.4.201": "image/jphc", "1.2.840.10008.1.2.4.202": "image/jphc",
    "1.2.840.10008.1.2.4.203": "image/jphc", "1.2.840.10008.1.2.5": "image/dicom-rle",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Answer:
    """Parts to send, their type, and whether the client wants them as multipart."""

    parts: list[Part]
    part_type: str
    multipart: bool


class Retrieval:
    """Reads what the index says from the store."""

    def __init__(self, store: ObjectStore, index: Index) -> None:
        self._store, self._index, self._split = store, index, SplitFrames()

    def find(
        self,
        institutions: frozenset[str] | None,
        study: str,
        series: str | None = None,
        instance: str | None = None,
    ) -> list[StoredInstance]:
        """The instances asked for. Raises `NotFound`, also for what the caller may not see."""
        found = self._index.instances(institutions, study, series, instance)
        if not found:
            raise NotFound(
                "There is no such study, series or instance.", action="Search for it with QIDO-RS."
            )
        return found

    def metadata(self, found: Sequence[StoredInstance]) -> Iterator[bytes]:
        """A JSON array of the ready objects: concatenated, never parsed or written again."""
        opening = b"["
        for start in range(0, len(found), _BATCH):
            yield opening + b",".join(self._index.headers(found[start : start + _BATCH]))
            opening = b","
        yield b"]"

    def instances(self, found: Sequence[StoredInstance], ranges: Sequence[MediaRange]) -> Answer:
        """Whole instances as Part 10 files (PS3.18 10.4.1.1). Raises `NotAcceptable`."""
        for one in ranges:
            if one.takes(DICOM) and (one.is_multipart or one.kind == "*/*" or len(found) == 1):
                parts = [part for stored in found if (part := self._part(stored, one)) is not None]
                if len(parts) == len(found):
                    return Answer(parts, DICOM, multipart=one.is_multipart or one.kind == "*/*")
        raise not_acceptable("At least one instance", found[0].transfer_syntax)

    def _part(self, stored: StoredInstance, asked: MediaRange) -> Part | None:
        """The part for an instance, or None where it cannot be had as asked."""
        # An open type leaves the choice to us; application/dicom alone means Explicit VR LE (PS3.18 8.7.3.5.2).
        wanted = asked.transfer_syntax or ("*" if asked.content != DICOM else EXPLICIT_LE)
        if wanted in ("*", stored.transfer_syntax):
            return self._as_stored(stored)
        if wanted == EXPLICIT_LE and is_rewritable(stored):
            # Written when its turn comes: a study of them is never in memory together.
            return Part(f"{DICOM};transfer-syntax={EXPLICIT_LE}", None, partial(self._rewrite, stored))
        return None

    def _as_stored(self, stored: StoredInstance) -> Part:
        content_type = f"{DICOM};transfer-syntax={stored.transfer_syntax}"
        return Part(content_type, stored.length, partial(self._stream, stored, 0, stored.length))

    def _rewrite(self, stored: StoredInstance) -> Iterator[bytes]:
        yield rewritten(stored, partial(self._load, stored))

    def frames(self, stored: StoredInstance, numbers: Sequence[int], ranges: Sequence[MediaRange]) -> Answer:
        """Frames by number from 1, each as stored (PS3.18 10.4.1.1.6). Raises `NotFound`, `NotAcceptable`."""
        part_type, content_type, multipart = frame_type(
            stored.transfer_syntax, ranges, single=len(numbers) == 1
        )
        return Answer(
            [self._frame(part, content_type) for part in self._pick(stored, numbers)], part_type, multipart
        )

    def _pick(
        self, stored: StoredInstance, numbers: Sequence[int]
    ) -> Iterable[tuple[StoredInstance, int, int] | bytes]:
        if stored.frames:
            self._check_numbers(numbers, len(stored.frames))
            return [(stored, *stored.frames[number - 1]) for number in numbers]
        frames = self._split.of(stored, partial(self._load, stored))
        self._check_numbers(numbers, len(frames))
        return [frames[number - 1] for number in numbers]

    def _frame(self, frame: tuple[StoredInstance, int, int] | bytes, content_type: str) -> Part:
        if isinstance(frame, bytes):
            return Part(content_type, len(frame), lambda: [frame])
        stored, offset, length = frame
        return Part(content_type, length, partial(self._stream, stored, offset, length))

    @staticmethod
    def _check_numbers(numbers: Sequence[int], count: int) -> None:
        if max(numbers) > count:
            raise NotFound(f"The instance has {count} frames.", action=f"Ask for frames 1 to {count}.")

    def bulk_data(self, stored: StoredInstance, path: str, ranges: Sequence[MediaRange]) -> Answer:
        """The value at an attribute path, as the BulkDataURIs of the metadata name it (PS3.18 10.4.1.1.5)."""
        if not _PATH.fullmatch(path):
            raise BadRequest(
                "The bulk data path is not one of ours.", action="Use a BulkDataURI of the metadata."
            )
        if _is_pixels(path) and is_encapsulated(stored.transfer_syntax):
            count = len(stored.frames) or len(self._split.of(stored, partial(self._load, stored)))
            return self.frames(stored, range(1, count + 1), ranges)
        if _is_pixels(path) and stored.pixel_length and stored.transfer_syntax != ExplicitVRBigEndian:
            offset, length = stored.pixel_offset, stored.pixel_length
            return _octets(Part(OCTETS, length, partial(self._stream, stored, offset, length)), ranges)
        return _octets(self._value(stored, path), ranges)

    def _value(self, stored: StoredInstance, path: str) -> Part:
        big_endian = stored.transfer_syntax == ExplicitVRBigEndian
        if _is_pixels(path):
            value = b"".join(self._split.of(stored, partial(self._load, stored)))
            return Part(OCTETS, len(value), lambda: [value])
        with translate_store(), self._open(stored) as source:
            data_set = read_data_set(source, stored.transfer_syntax, stored.data_offset)
        element = _element(data_set, path)
        if isinstance(element, RawDataElement) and element.value is None and not big_endian:
            return Part(
                OCTETS, element.length, partial(self._stream, stored, element.value_tell, element.length)
            )
        if isinstance(element, RawDataElement) and element.value is None:
            value = b"".join(self._stream(stored, element.value_tell, element.length))
        else:
            value = bytes(element.value or b"")
        content = swapped(value, str(element.VR)) if big_endian else value
        return Part(OCTETS, len(content), lambda: [content])

    def _open(self, stored: StoredInstance) -> io.BufferedReader:
        return instance_file(partial(self._store.read, stored.object_key), stored.offset, stored.length)

    def _load(self, stored: StoredInstance) -> io.BytesIO:
        with translate_store():
            return io.BytesIO(self._store.read(stored.object_key, stored.offset, stored.length))

    def _stream(self, stored: StoredInstance, offset: int, length: int) -> Iterator[bytes]:
        with translate_store():
            yield from self._store.stream(stored.object_key, stored.offset + offset, length)


def frame_type(syntax: str, ranges: Sequence[MediaRange], *, single: bool) -> tuple[str, str, bool]:
    """Of frames as stored in `syntax`: the media type, the same with its syntax, and whether multipart is wanted.

    Raises `NotAcceptable`.
    """
    compressed = is_encapsulated(syntax)
    # Native frames leave here in little endian whatever the data set's encoding was.
    given = syntax if compressed else EXPLICIT_LE
    for one in ranges:
        if not one.is_multipart and one.kind != "*/*" and not single:
            continue
        for part_type in filter(None, (FRAME_TYPES.get(syntax), OCTETS)):
            # Octets without a syntax mean Explicit VR LE; image/* types imply the one they are made of.
            default = EXPLICIT_LE if one.content == OCTETS else given
            if one.takes(part_type) and (one.transfer_syntax or default) in ("*", given, syntax):
                multipart = one.is_multipart or one.kind == "*/*"
                return part_type, f"{part_type};transfer-syntax={given}", multipart
    raise not_acceptable("The instance", syntax)


def frame_numbers(text: str) -> list[int]:
    """A frame list such as `1,2,5`. Raises `BadRequest`."""
    numbers = text.split(",")
    if len(numbers) > MAX_FRAMES or not all(
        n.isascii() and n.isdecimal() and 0 < len(n) < 10 for n in numbers
    ):
        raise BadRequest("The frame list cannot be read.", action="Give numbers from 1, separated by commas.")
    chosen = [int(number) for number in numbers]
    if min(chosen) < 1:
        raise BadRequest("Frames are counted from 1.", action="Give numbers from 1, separated by commas.")
    return chosen


def _is_pixels(path: str) -> bool:
    return len(path) == 8 and int(path, 16) in PIXEL_TAGS


def _octets(part: Part, ranges: Sequence[MediaRange]) -> Answer:
    for one in ranges:
        if one.takes(OCTETS):
            return Answer([part], OCTETS, multipart=one.is_multipart or one.kind == "*/*")
    raise NotAcceptable(
        "Bulk data is given as octets only.", action=f"Accept {OCTETS}, alone or in multipart/related."
    )


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
