"""Frames that had to be split off, kept for the next request: a viewer asks for one frame after the other."""

from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import BinaryIO

from services.archive.dicomweb.pixels import ROOM, worked_frames
from services.archive.index.records import StoredInstance

KEPT_BYTES = 64 << 20


class SplitFrames:
    """The frames of the instances asked for last, at most `kept_bytes` together; safe to use from every thread.

    What a digest names never changes, so nothing kept here can be out of date.
    """

    def __init__(self, kept_bytes: int = KEPT_BYTES) -> None:
        self._limit, self._bytes, self._lock = kept_bytes, 0, Lock()
        self._kept: OrderedDict[tuple[str, str], list[bytes]] = OrderedDict()

    def of(self, stored: StoredInstance, load: Callable[[], BinaryIO]) -> list[bytes]:
        """Every frame of the instance; split once, also for those that asked while it was being split.

        Raises what `worked_frames` and `load` raise; a failure is not kept.
        """
        key = (stored.transfer_syntax, stored.digest)
        frames = self._find(key)
        if frames is None:
            with ROOM:
                frames = self._find(key)
                if frames is None:
                    frames = worked_frames(stored, load)
                    self._keep(key, frames)
        return frames

    def _find(self, key: tuple[str, str]) -> list[bytes] | None:
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def _keep(self, key: tuple[str, str], frames: list[bytes]) -> None:
        size = sum(map(len, frames))
        with self._lock:
            if size > self._limit or key in self._kept:
                return
            self._kept[key] = frames
            self._bytes += size
            while self._bytes > self._limit:
                _, dropped = self._kept.popitem(last=False)
                self._bytes -= sum(map(len, dropped))
