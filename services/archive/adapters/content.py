"""The bytes that are being put: read once, counted and digested on the way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256 as new_sha256
from io import SEEK_END
from pathlib import Path
from typing import BinaryIO

from services.archive.ports import ObjectDamaged
from services.packs.pack import sha256_of

PIECE = 1 << 20


@contextmanager
def opened(source: Path | BinaryIO) -> Iterator[BinaryIO]:
    """A file that is opened and closed here, or a stream that stays the caller's."""
    if isinstance(source, Path):
        with source.open("rb") as file:
            yield file
    else:
        yield source


def known_sha256(source: Path | BinaryIO, sha256: str | None) -> str:
    """What was announced, or what the file has; a stream's is always announced (`TypeError`)."""
    if sha256 is not None:
        return sha256
    if not isinstance(source, Path):
        raise TypeError("a stream is put with its SHA-256: it can be read once")
    return sha256_of(source)


def check_length(source: BinaryIO, length: int) -> None:
    """Raises `ObjectDamaged` where a file is not as long as was said."""
    size = source.seek(0, SEEK_END)
    if size != length:
        raise ObjectDamaged(f"{length} bytes were announced, {size} are there")


def pieces(source: BinaryIO, length: int, sha256: str) -> Iterator[bytes]:
    """The `length` bytes of `source` in pieces of at most 1 MiB.

    Raises `ObjectDamaged` after the last piece if there are fewer or more, or their SHA-256 is another:
    the caller makes the object visible only after the end.
    """
    total, digest = 0, new_sha256()
    while piece := source.read(PIECE):
        total += len(piece)
        if total > length:
            break
        digest.update(piece)
        yield piece
    if total != length:
        raise ObjectDamaged(f"{length} bytes were announced, {'more' if total > length else total} came")
    if digest.hexdigest() != sha256:
        raise ObjectDamaged(f"the bytes have SHA-256 {digest.hexdigest()}, {sha256} was announced")
