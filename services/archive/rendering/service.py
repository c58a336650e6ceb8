"""Rendering and transcoding of stored instances: which bytes a worker needs, and what comes back.

A frame that lies in the store as a byte range goes to a worker with the instance's header alone, so that a frame of a
large multi-frame object costs a frame. Everything else goes as a whole, up to `WORK_BYTES`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from threading import BoundedSemaphore
from typing import Any, Protocol

from services.archive.errors import translate_store
from services.archive.index.records import StoredInstance
from services.archive.ports import ObjectStore
from services.archive.rendering.errors import CannotRender
from services.archive.rendering.split_frames import Split, SplitFrames
from services.archive.rendering.syntaxes import EXPLICIT_LE, NATIVE, TARGETS, Pixels, pixels_of
from services.common.errors import NotAcceptable, NotFound

WORK_BYTES = 256 << 20
HEADER_BYTES = 64 << 20
DEFAULT_QUALITY = 90
_AS_STORED = "Add `transfer-syntax=*` to the accepted type and fetch the instance as stored."


@dataclass(frozen=True, slots=True)
class Picture:
    """How a frame shall be shown (PS3.18 8.3.5.1): what the client left open is None.

    `window` is center, width and function; `region` left, top, width and height of the source, where negative
    sizes flip; `size` the width and height to fit into.
    """

    media_type: str = "image/jpeg"
    quality: int = DEFAULT_QUALITY
    window: tuple[float, float, str] | None = None
    region: tuple[float, float, float, float] | None = None
    size: tuple[int, int] | None = None


class Workers(Protocol):
    """Who does the work: `RenderingPool`."""

    def run(self, operation: str, head: dict[str, Any], *blobs: bytes | memoryview) -> list[bytearray]:
        """The blobs made of these. Raises `CannotRender`, `RenderingBusy`."""

    def close(self) -> None:
        """End them."""


class Transcoder(Protocol):
    """Instances in another transfer syntax than they came in: what WADO-RS, C-GET and C-MOVE ask for."""

    def targets(self, stored: StoredInstance) -> tuple[str, ...]:
        """The transfer syntaxes that the instance can be written in beside its own, best first."""

    def transcoded(self, stored: StoredInstance, target: str) -> bytes | bytearray:
        """A Part 10 file of the instance in `target`. Raises `NotAcceptable`, `RenderingBusy` and the store's errors."""


class Rendering:
    """The work on pixels, behind one door; it is a `Transcoder`. Safe to use from every thread."""

    def __init__(self, store: ObjectStore, workers: Workers, *, whole_at_once: int = 2) -> None:
        """`whole_at_once`: how many whole instances are held for the workers at a time."""
        self._store, self._workers, self._split = store, workers, SplitFrames()
        self._room = BoundedSemaphore(whole_at_once)

    def targets(self, stored: StoredInstance) -> tuple[str, ...]:
        """See `Transcoder`."""
        if stored.length > WORK_BYTES:
            return ()
        has_pixels = bool(stored.pixel_length) or stored.transfer_syntax not in NATIVE
        if has_pixels and pixels_of(stored.transfer_syntax) in (Pixels.VIDEO, Pixels.UNKNOWN):
            return ()
        return tuple(one for one in TARGETS if one != stored.transfer_syntax)

    def transcoded(self, stored: StoredInstance, target: str) -> bytearray:
        """See `Transcoder`."""
        if target not in self.targets(stored):
            raise NotAcceptable(
                f"An instance in transfer syntax {stored.transfer_syntax} cannot be written in {target}.",
                action=_AS_STORED,
            )
        return self._of_whole(stored, "transcode", {"target": target})[0]

    def frame_count(self, stored: StoredInstance) -> int:
        """How many frames there are; may have to split them. Raises `NotAcceptable`."""
        return len(stored.frames) or len(self.split(stored)) - 1

    def split(self, stored: StoredInstance) -> Split:
        """The header and each frame of an instance whose frames are no byte ranges. Raises `NotAcceptable`."""
        self._check_pixels(stored)
        return self._split.of(stored, lambda: self._of_whole(stored, "separate", {}))

    def stream(self, stored: StoredInstance) -> bytes | bytearray:
        """The pixel data of a video as one stream, without its fragments' borders. Raises `NotAcceptable`."""
        return self._of_whole(stored, "join", {})[0]

    def picture(self, stored: StoredInstance, index: int, wanted: Picture) -> bytearray:
        """Frame `index`, counted from 0, as a picture file. Raises `NotFound`, `NotAcceptable`."""
        head = {
            "media_type": wanted.media_type, "quality": wanted.quality, "window": wanted.window,
            "region": wanted.region, "size": wanted.size,
        }  # fmt: skip
        return self._of_frame(stored, index, "render", head)

    def decoded(self, stored: StoredInstance, index: int) -> bytearray:
        """Frame `index`, from 0, as native little-endian pixels; colours as RGB. Raises `NotFound`, `NotAcceptable`."""
        return self._of_frame(stored, index, "decode", {})

    def encoded(self, stored: StoredInstance, index: int, target: str) -> bytearray:
        """Frame `index`, from 0, as a code stream of `target`. Raises `NotFound`, `NotAcceptable`."""
        return self._of_frame(stored, index, "encode", {"target": target})

    def close(self) -> None:
        """End the workers."""
        self._workers.close()

    def _of_frame(
        self, stored: StoredInstance, index: int, operation: str, head: dict[str, Any]
    ) -> bytearray:
        self._check_pixels(stored)
        count = self.frame_count(stored)
        if index >= count:
            raise NotFound(f"The instance has {count} frames.", action=f"Ask for frames 1 to {count}.")
        header, frame = self._header_and_frame(stored, index)
        return self._workers.run(operation, {"index": index, **head}, header, frame)[0]

    def _header_and_frame(self, stored: StoredInstance, index: int) -> Sequence[bytes]:
        if not stored.frames:
            split = self.split(stored)
            return bytes(split[0]), bytes(split[index + 1])
        offset, length = stored.frames[index]
        if stored.pixel_offset > HEADER_BYTES or length > WORK_BYTES:
            raise _too_large(max(stored.pixel_offset, length))
        return self._read(stored, 0, stored.pixel_offset), self._read(stored, offset, length)

    def _of_whole(self, stored: StoredInstance, operation: str, head: dict[str, Any]) -> list[bytearray]:
        if stored.length > WORK_BYTES:
            raise _too_large(stored.length)
        with self._room:
            return self._workers.run(operation, head, self._read(stored, 0, stored.length))

    def _read(self, stored: StoredInstance, offset: int, length: int) -> bytes:
        with translate_store():
            return self._store.read(stored.object_key, stored.offset + offset, length)

    @staticmethod
    def _check_pixels(stored: StoredInstance) -> None:
        kind = pixels_of(stored.transfer_syntax)
        if kind is Pixels.VIDEO:
            raise CannotRender(
                f"The instance is a video ({stored.transfer_syntax}): its frames are one stream and cannot be had singly.",
                action="Fetch the instance as stored, or its bulk data, and play it.",
            )
        if kind is Pixels.UNKNOWN:
            raise CannotRender(
                f"There is no decoder for transfer syntax {stored.transfer_syntax}.", action=_AS_STORED
            )


def _too_large(length: int) -> NotAcceptable:
    return NotAcceptable(
        f"This needs work on {length} bytes at once; at most {WORK_BYTES} are worked on.", action=_AS_STORED
    )


__all__ = ["EXPLICIT_LE", "Picture", "Rendering", "Transcoder", "Workers"]
