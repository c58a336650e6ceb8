"""WADO-RS frames (PS3.18 10.4.1.1.6): as they lie in the store, or as a worker makes them.

`as_stored` decides which frames need no work at all: those the gateway may serve by itself.
"""

import re
from collections.abc import Sequence
from functools import partial
from itertools import groupby

from services.archive.dicomweb.accept import EXPLICIT_LE, OCTETS, MediaRange, not_acceptable
from services.archive.dicomweb.answer import Answer, etag_of, made_part, stored_part
from services.archive.dicomweb.multipart import Part
from services.archive.index.records import StoredInstance
from services.archive.ports import ObjectStore
from services.archive.rendering.service import Rendering
from services.archive.rendering.syntaxes import COMPRESSED, FRAME_TYPES, NATIVE, Pixels, pixels_of
from services.common.errors import BadRequest, NotFound

MAX_FRAMES = 100_000
_LIST = re.compile(r"\d{1,9}(,\d{1,9})*", re.ASCII)
# What a type without `transfer-syntax` means where it is not the stored one's (PS3.18 table 8.7.3-5).
_ENCODED = {one.media_type: one.uid for one in COMPRESSED if one.encoded}


class Frames:
    """Reads frames that lie in the store; has the others made."""

    def __init__(self, store: ObjectStore, rendering: Rendering) -> None:
        self._store, self._rendering = store, rendering

    def answer(self, stored: StoredInstance, numbers: Sequence[int], ranges: Sequence[MediaRange]) -> Answer:
        """Frames by number from 1. Raises `NotFound`, `NotAcceptable`.

        Of what a client accepts equally, the stored form goes first.
        """
        single = len(numbers) == 1
        for _, equal in groupby(ranges, key=lambda one: one.quality):
            fitting = [one for one in equal if one.is_multipart or one.kind == "*/*" or single]
            for one in fitting:
                kind = as_stored(stored, one)
                if kind is not None:
                    return self._stored(stored, numbers, kind, one)
            for one in fitting:
                target = _target(stored, one)
                if target is not None:
                    return self._made(stored, numbers, target, one)
        raise not_acceptable("The instance", stored.transfer_syntax)

    def _stored(self, stored: StoredInstance, numbers: Sequence[int], kind: str, asked: MediaRange) -> Answer:
        content_type = f"{kind};transfer-syntax={_given(stored)}"
        if stored.frames:
            check_numbers(numbers, len(stored.frames))
            places = [stored.frames[number - 1] for number in numbers]
            parts = [stored_part(self._store, stored, content_type, *place) for place in places]
        else:
            _, *frames = self._rendering.split(stored)
            check_numbers(numbers, len(frames))
            parts = [made_part(content_type, frames[number - 1]) for number in numbers]
        return _answer(stored, parts, numbers, (kind, _given(stored)), asked)

    def _made(
        self, stored: StoredInstance, numbers: Sequence[int], target: tuple[str, str], asked: MediaRange
    ) -> Answer:
        kind, syntax = target
        check_numbers(numbers, self._rendering.frame_count(stored))

        def make(number: int) -> list[bytes]:
            if syntax == EXPLICIT_LE:
                return [bytes(self._rendering.decoded(stored, number - 1))]
            return [bytes(self._rendering.encoded(stored, number - 1, syntax))]

        content_type = f"{kind};transfer-syntax={syntax}"
        # Made when its turn comes: a whole object's frames are never in memory together.
        parts = [Part(content_type, None, partial(make, number)) for number in numbers]
        return _answer(stored, parts, numbers, target, asked)


def as_stored(stored: StoredInstance, asked: MediaRange) -> str | None:
    """The media type under which a frame fits the range in the encoding that it is stored in; None: it needs work."""
    syntax, given = stored.transfer_syntax, _given(stored)
    for kind in filter(None, (FRAME_TYPES.get(syntax), OCTETS)):
        # Octets without a syntax mean Explicit VR LE; image/* types imply the one they are made of.
        default = EXPLICIT_LE if asked.content == OCTETS else given
        if asked.takes(kind) and (asked.transfer_syntax or default) in ("*", given, syntax):
            return kind
    return None


def frame_numbers(text: str) -> list[int]:
    """A frame list such as `1,2,5`. Raises `BadRequest`."""
    if len(text) > 10 * MAX_FRAMES or not _LIST.fullmatch(text):
        raise BadRequest("The frame list cannot be read.", action="Give numbers from 1, separated by commas.")
    chosen = [int(number) for number in text.split(",")]
    if min(chosen) < 1 or len(chosen) > MAX_FRAMES:
        raise BadRequest("Frames are counted from 1.", action="Give numbers from 1, separated by commas.")
    return chosen


def check_numbers(numbers: Sequence[int], count: int) -> None:
    """Raise `NotFound` for a frame that is not there."""
    if max(numbers) > count:
        raise NotFound(f"The instance has {count} frames.", action=f"Ask for frames 1 to {count}.")


def _given(stored: StoredInstance) -> str:
    """The transfer syntax of a frame as it leaves: native ones in little endian whatever the data set's encoding was."""
    return EXPLICIT_LE if stored.transfer_syntax in NATIVE else stored.transfer_syntax


def _target(stored: StoredInstance, asked: MediaRange) -> tuple[str, str] | None:
    """The media type and transfer syntax to make for this range, or None where no such frame can be made."""
    if pixels_of(stored.transfer_syntax) not in (Pixels.NATIVE, Pixels.DECODED) or asked.kind == "*/*":
        return None
    wanted = asked.transfer_syntax
    if asked.content == OCTETS and wanted in (None, EXPLICIT_LE):
        return OCTETS, EXPLICIT_LE
    for kind, syntax in _ENCODED.items():
        if asked.content in (kind, OCTETS) and wanted in (
            (syntax, None) if asked.content == kind else (syntax,)
        ):
            return asked.content, syntax
    return None


def _answer(
    stored: StoredInstance,
    parts: Sequence[Part],
    numbers: Sequence[int],
    made: tuple[str, str],
    asked: MediaRange,
) -> Answer:
    multipart = asked.is_multipart or asked.kind == "*/*"
    return Answer(parts, made[0], multipart, etag_of([stored], "frames", tuple(numbers), *made))
