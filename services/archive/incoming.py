"""Where bodies from the network wait while they are received: temporary files on the spool's disk.

Nothing here was acknowledged, so all of it goes away with its request, or at the next start.
"""

import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

from starlette.concurrency import run_in_threadpool

from services.common.errors import NoRoom, PacsError, TooLarge, Unavailable

WRITE_BYTES = 1 << 20


class IncomingFile:
    """A body under way: its bytes, their count and SHA-256."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path, self._descriptor = path, descriptor
        self._digest = hashlib.sha256()
        self.length = 0

    def write(self, piece: bytes) -> None:
        """Append; blocks on the disk. Raises `NoRoom`, `Unavailable`."""
        view = memoryview(piece)
        try:
            while view:
                view = view[os.write(self._descriptor, view) :]
        except OSError as error:
            raise _not_taken(error) from error
        self._digest.update(piece)
        self.length += len(piece)

    async def receive(self, pieces: AsyncIterator[bytes], most: int) -> None:
        """Append a whole stream, in few large writes off the event loop. Raises `NoRoom`, `TooLarge`."""
        pending = bytearray()
        async for piece in pieces:
            pending += piece
            if self.length + len(pending) > most:
                raise TooLarge(f"The body is larger than {most} bytes.", action="Send less at once.")
            if len(pending) >= WRITE_BYTES:
                await run_in_threadpool(self.write, bytes(pending))
                pending.clear()
        if pending:
            await run_in_threadpool(self.write, bytes(pending))

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()


class Incoming:
    """The directory of bodies under way; `reserve` bytes of its disk stay free for sealing."""

    def __init__(self, directory: Path, reserve: int) -> None:
        self._directory, self._reserve = directory, reserve
        directory.mkdir(parents=True, exist_ok=True)
        for leftover in directory.iterdir():
            leftover.unlink()

    @contextmanager
    def file(self, expected: int = 0) -> Iterator[IncomingFile]:
        """A new file that is removed afterwards. Raises `NoRoom` when `expected` bytes do not fit."""
        if shutil.disk_usage(self._directory).free - expected < self._reserve:
            raise _no_room()
        try:
            descriptor, name = tempfile.mkstemp(dir=self._directory, suffix=".incoming")
        except OSError as error:
            raise _not_taken(error) from error
        path = Path(name)
        try:
            yield IncomingFile(path, descriptor)
        finally:
            os.close(descriptor)
            path.unlink(missing_ok=True)


def _not_taken(error: OSError) -> PacsError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return _no_room()
    return Unavailable(
        f"The spool's disk did not take this body ({error.strerror}); nothing of it was kept.",
        action="Send it again later; the operator looks after the disk.",
    )


def _no_room() -> NoRoom:
    return NoRoom(
        "The spool has no room for this body; nothing of it was kept.",
        action="Free space on the spool; send it again.",
    )
