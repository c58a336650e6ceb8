"""Tells when a directory changed, without asking it all the time: inotify(7) through the C library."""

from __future__ import annotations

import ctypes
import os
import select
from contextlib import suppress
from pathlib import Path
from types import TracebackType

_IN_CREATE, _IN_MOVED_TO = 0x100, 0x80
_IN_NONBLOCK, _IN_CLOEXEC = os.O_NONBLOCK, os.O_CLOEXEC
_libc = ctypes.CDLL(None, use_errno=True)


class DirectoryWatch:
    """Wakes its one waiting thread when a name appears in `directory` or someone calls `wake`."""

    def __init__(self, directory: Path) -> None:
        self._inotify = _libc.inotify_init1(_IN_NONBLOCK | _IN_CLOEXEC)
        if self._inotify < 0:
            raise _last_error("inotify_init1")
        if _libc.inotify_add_watch(self._inotify, os.fsencode(directory), _IN_CREATE | _IN_MOVED_TO) < 0:
            raise _last_error(f"watching {directory}")
        self._woken, self._waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def wait(self, seconds: float) -> None:
        """Return after an event, a `wake`, or `seconds`; events that have gathered count once."""
        ready, _, _ = select.select([self._inotify, self._woken], [], [], max(0.0, seconds))
        for descriptor in ready:
            with suppress(BlockingIOError):
                while os.read(descriptor, 1 << 16):
                    pass

    def wake(self) -> None:
        """End the current or next `wait` at once; may be called from any thread."""
        with suppress(BlockingIOError):  # the pipe is full of wake-ups already
            os.write(self._waker, b"w")

    def __enter__(self) -> DirectoryWatch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for descriptor in (self._inotify, self._woken, self._waker):
            os.close(descriptor)


def _last_error(what: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{what}: {os.strerror(number)}")
