"""An object store on a directory: the branch's packs (docs/contracts.md, sections 5 and 12).

An object appears under its key only when all of it is on the disk: written to `<key>.part`, fsynced, linked
to the key, the directory fsynced. A finished file on the same file system is linked instead of copied.
"""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from services.archive.adapters.content import PIECE, check_length, known_sha256, opened, pieces
from services.archive.adapters.keys import check_key
from services.archive.ports import (
    ObjectConflict,
    ObjectDamaged,
    ObjectMissing,
    StoreOutOfRoom,
    StoreUnavailable,
)
from services.common.durable import sync_directory
from services.packs.pack import sha256_of

PART_SUFFIX = ".part"


class FilesystemStore:
    """`ObjectStore` under one directory, which belongs to it; several processes may share it."""

    def __init__(self, root: Path) -> None:
        self._root = root
        root.mkdir(parents=True, exist_ok=True)

    def put(self, key: str, source: Path | BinaryIO, length: int, sha256: str | None) -> None:
        target = self._path(key)
        with _translated(f"store {key}"):
            if target.exists():
                self._compare(target, key, length, known_sha256(source, sha256))
                return
            self._make_directory(target.parent)
            part = target.with_name(f"{target.name}.{uuid.uuid4().hex}{PART_SUFFIX}")
            try:
                self._fill(part, source, length, sha256)
                if not self._publish(part, target):
                    self._compare(target, key, length, known_sha256(source, sha256))
            finally:
                part.unlink(missing_ok=True)

    def size(self, key: str) -> int:
        with _translated(f"look at {key}"):
            return self._path(key).stat().st_size

    def read(self, key: str, offset: int, length: int) -> bytes:
        return b"".join(self.stream(key, offset, length))

    def stream(self, key: str, offset: int, length: int) -> Iterator[bytes]:
        with _translated(f"read {key}"):
            file = self._path(key).open("rb")
        return self._pieces(file, key, offset, length)

    def exists(self, key: str) -> bool:
        return self._path(key).is_file()

    def key_id(self, key: str) -> str | None:
        """None: what lies here is encrypted by the file system (LUKS), or not at all."""
        self.size(key)
        return None

    def modified(self, key: str) -> datetime:
        with _translated(f"look at {key}"):
            # Of the inode's last change: a linked file keeps the time at which its content was written.
            return datetime.fromtimestamp(self._path(key).stat().st_ctime, UTC)

    def list(self, prefix: str) -> Iterator[str]:
        # Only the folder that every match lies in is walked.
        folder = self._root / prefix.rpartition("/")[0]
        if ".." in folder.parts:
            return iter(())
        keys = (
            path.relative_to(self._root).as_posix()
            for path in folder.rglob("*")
            if path.is_file() and path.suffix != PART_SUFFIX
        )
        return iter(sorted(key for key in keys if key.startswith(prefix)))

    def delete(self, key: str) -> None:
        path = self._path(key)
        with _translated(f"delete {key}"):
            path.unlink(missing_ok=True)
            if path.parent.exists():
                sync_directory(path.parent)

    def end_unfinished(self, before: datetime) -> int:
        ended = 0
        for part in self._root.rglob("*" + PART_SUFFIX):
            try:
                if datetime.fromtimestamp(part.stat().st_ctime, UTC) < before:
                    part.unlink()
                    ended += 1
            except FileNotFoundError:
                continue  # its writer came to an end just now
        return ended

    def remove_unfinished(self, folder: str) -> int:
        """Remove what interrupted puts left behind below `folder`; only at start, before the first put. How many."""
        parts = list((self._root / folder).rglob("*" + PART_SUFFIX))
        for part in parts:
            part.unlink(missing_ok=True)
        return len(parts)

    def _path(self, key: str) -> Path:
        if key.endswith(PART_SUFFIX):
            raise ValueError(f"{key!r} is no object key: {PART_SUFFIX} marks unfinished objects")
        return self._root / check_key(key)

    def _make_directory(self, directory: Path) -> None:
        """The directory with every name on the way to it durable."""
        missing = [path for path in (directory, *directory.parents) if not path.exists()]
        directory.mkdir(parents=True, exist_ok=True)
        for path in reversed(missing):
            sync_directory(path.parent)

    @staticmethod
    def _fill(part: Path, source: Path | BinaryIO, length: int, sha256: str | None) -> None:
        """`part` with the announced bytes, durable: a link to a finished file if that can be, else a copy."""
        with opened(source) as stream:
            if isinstance(source, Path) and _linked(source, part):
                if sha256 is None:
                    check_length(stream, length)
                else:
                    for _ in pieces(stream, length, sha256):
                        pass
                os.fsync(stream.fileno())
                return
            with part.open("xb") as file:
                for piece in pieces(stream, length, known_sha256(source, sha256)):
                    file.write(piece)
                file.flush()
                os.fsync(file.fileno())

    @staticmethod
    def _publish(part: Path, target: Path) -> bool:
        """Whether `part` is there under its name now; False where something is already."""
        # A link, unlike a rename, never replaces what another process put there a moment ago.
        try:
            target.hardlink_to(part)
        except FileExistsError:
            return False
        finally:
            sync_directory(target.parent)
        return True

    @staticmethod
    def _compare(target: Path, key: str, length: int, sha256: str) -> None:
        same = target.stat().st_size == length and sha256_of(target) == sha256
        if not same:
            raise ObjectConflict(f"{key} already holds other content; it was not overwritten")

    @staticmethod
    def _pieces(file: BinaryIO, key: str, offset: int, length: int) -> Iterator[bytes]:
        with file, _translated(f"read {key}"):
            file.seek(offset)
            while length > 0:
                piece = file.read(min(length, PIECE))
                if not piece:
                    raise ObjectDamaged(f"{key} ends {length} bytes before the range that was asked for")
                length -= len(piece)
                yield piece


def _linked(source: Path, part: Path) -> bool:
    try:
        part.hardlink_to(source)
    except OSError as error:
        if error.errno in (errno.EXDEV, errno.EPERM, errno.EMLINK):
            return False
        raise
    return True


@contextmanager
def _translated(what: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise ObjectMissing(f"cannot {what}: there is no such object") from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StoreOutOfRoom(f"cannot {what}: the file system is full; free or add space") from error
        raise StoreUnavailable(f"cannot {what}: {error.strerror}; check the disk") from error
