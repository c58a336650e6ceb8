"""Frames that had to be split off, kept for the next request: a viewer asks for one frame after the other."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from threading import Lock

from services.archive.index.records import StoredInstance

KEPT_BYTES = 64 << 20
Split = Sequence[bytes | bytearray]


class SplitFrames:
    """What was split off of the instances asked for last, at most `kept_bytes` together; safe to use from every thread.

    What a digest names never changes, so nothing kept here can be out of date.
    """

    def __init__(self, kept_bytes: int = KEPT_BYTES) -> None:
        self._limit, self._bytes, self._lock = kept_bytes, 0, Lock()
        self._kept: OrderedDict[tuple[str, str], Split] = OrderedDict()
        self._working: dict[tuple[str, str], Lock] = {}

    def of(self, stored: StoredInstance, split: Callable[[], Split]) -> Split:
        """What `split` makes of the instance; done once, also for those that asked while it was being done.

        Raises what `split` raises; a failure is not kept.
        """
        key = (stored.transfer_syntax, stored.digest)
        found = self._find(key)
        if found is not None:
            return found
        with self._lock:
            working = self._working.setdefault(key, Lock())
        with working:
            try:
                found = self._find(key)
                if found is None:
                    found = split()
                    self._keep(key, found)
            finally:
                with self._lock:
                    self._working.pop(key, None)
        return found

    def _find(self, key: tuple[str, str]) -> Split | None:
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def _keep(self, key: tuple[str, str], frames: Split) -> None:
        size = sum(map(len, frames))
        with self._lock:
            if size > self._limit or key in self._kept:
                return
            self._kept[key] = frames
            self._bytes += size
            while self._bytes > self._limit:
                _, dropped = self._kept.popitem(last=False)
                self._bytes -= sum(map(len, dropped))
