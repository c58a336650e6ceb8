"""An object store in memory: for tests, with the contract of the others."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from services.archive.adapters.content import PIECE, known_sha256, opened, pieces
from services.archive.adapters.keys import check_key
from services.archive.ports import ObjectConflict, ObjectDamaged, ObjectMissing


class MemoryStore:
    """`ObjectStore` over a dictionary."""

    def __init__(self) -> None:
        self._objects: dict[str, bytes] = {}
        self.put_at: dict[str, datetime] = {}
        self._lock = threading.Lock()

    def put(self, key: str, source: Path | BinaryIO, length: int, sha256: str | None) -> None:
        check_key(key)
        with opened(source) as stream:
            content = b"".join(pieces(stream, length, known_sha256(source, sha256)))
        with self._lock:
            if self._objects.setdefault(key, content) != content:
                raise ObjectConflict(f"{key} already holds other content; it was not overwritten")
            self.put_at.setdefault(key, datetime.now(UTC))

    def size(self, key: str) -> int:
        return len(self._content(key))

    def read(self, key: str, offset: int, length: int) -> bytes:
        content = self._content(key)
        if not 0 <= offset <= offset + length <= len(content):
            raise ObjectDamaged(f"{key} has {len(content)} bytes; {length} from {offset} were asked for")
        return content[offset : offset + length]

    def stream(self, key: str, offset: int, length: int) -> Iterator[bytes]:
        content = self.read(key, offset, length)
        return (content[start : start + PIECE] for start in range(0, length, PIECE))

    def exists(self, key: str) -> bool:
        return check_key(key) in self._objects

    def key_id(self, key: str) -> str | None:
        self._content(key)
        return None

    def modified(self, key: str) -> datetime:
        self._content(key)
        return self.put_at[key]

    def list(self, prefix: str) -> Iterator[str]:
        with self._lock:
            return iter(sorted(key for key in self._objects if key.startswith(prefix)))

    def delete(self, key: str) -> None:
        with self._lock:
            self._objects.pop(check_key(key), None)
            self.put_at.pop(key, None)

    def end_unfinished(self, before: datetime) -> int:
        return 0

    def _content(self, key: str) -> bytes:
        try:
            return self._objects[check_key(key)]
        except KeyError:
            raise ObjectMissing(f"there is no object {key}") from None
