"""An object store that tells how long each call took."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from prometheus_client import Histogram

from services.archive.ports import ObjectStore


class TimedStore:
    """`ObjectStore` around another one; the histogram has the labels `operation, outcome`."""

    def __init__(self, inner: ObjectStore, seconds: Histogram) -> None:
        self._inner, self._seconds = inner, seconds

    def put(self, key: str, source: Path | BinaryIO, length: int, sha256: str | None) -> None:
        with self._timed("put"):
            self._inner.put(key, source, length, sha256)

    def size(self, key: str) -> int:
        with self._timed("size"):
            return self._inner.size(key)

    def read(self, key: str, offset: int, length: int) -> bytes:
        with self._timed("read"):
            return self._inner.read(key, offset, length)

    def stream(self, key: str, offset: int, length: int) -> Iterator[bytes]:
        with self._timed("stream_start"):
            # The first piece tells how long the store took; the rest is the client's pace.
            pieces = self._inner.stream(key, offset, length)
            first = next(pieces, None)
        if first is not None:
            yield first
            yield from pieces

    def exists(self, key: str) -> bool:
        with self._timed("exists"):
            return self._inner.exists(key)

    def key_id(self, key: str) -> str | None:
        with self._timed("key_id"):
            return self._inner.key_id(key)

    def modified(self, key: str) -> datetime:
        with self._timed("modified"):
            return self._inner.modified(key)

    def list(self, prefix: str) -> Iterator[str]:
        return self._inner.list(prefix)

    def delete(self, key: str) -> None:
        with self._timed("delete"):
            self._inner.delete(key)

    def end_unfinished(self, before: datetime) -> int:
        return self._inner.end_unfinished(before)

    @contextmanager
    def _timed(self, operation: str) -> Iterator[None]:
        started, outcome = time.perf_counter(), "error"
        try:
            yield
            outcome = "ok"
        finally:
            self._seconds.labels(operation, outcome).observe(time.perf_counter() - started)
