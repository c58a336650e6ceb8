"""The metadata of a series as one gzipped blob: written once when the series has fallen quiet, then only handed out."""

from __future__ import annotations

import logging
import threading
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256

from services.archive.metrics import ArchiveMetrics
from services.archive.ports import Index
from services.common.errors import Unavailable

QUIET_SECONDS = 5.0
AT_ONCE = 20
_GZIP = zlib.MAX_WBITS | 16
_PIECE = 256 << 10
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SeriesMetadata:
    """A JSON array of the instances' DICOM JSON objects in reading order, gzipped, and a tag that names it."""

    etag: str
    content: bytes

    def plain(self) -> Iterator[bytes]:
        """The array itself, in pieces."""
        inflate = zlib.decompressobj(_GZIP)
        for start in range(0, len(self.content), _PIECE):
            yield inflate.decompress(self.content[start : start + _PIECE])
        yield inflate.flush()


def packed(objects: Iterable[bytes]) -> SeriesMetadata:
    """The blob of these objects; only what is compressed is ever in memory together."""
    deflate, digest, made = zlib.compressobj(1, zlib.DEFLATED, _GZIP), sha256(), bytearray()
    opening = b"["
    for one in objects:
        for piece in (opening, one):
            digest.update(piece)
            made += deflate.compress(piece)
        opening = b","
    last = b"]" if opening == b"," else b"[]"
    digest.update(last)
    made += deflate.compress(last) + deflate.flush()
    return SeriesMetadata(digest.hexdigest()[:32], bytes(made))


class MetadataKeeper:
    """Builds the blobs of series that have been quiet for a while, on a thread of its own."""

    def __init__(
        self, index: Index, metrics: ArchiveMetrics, *, quiet_seconds: float = QUIET_SECONDS
    ) -> None:
        self._index, self._metrics, self._quiet = index, metrics, quiet_seconds
        self._stop = threading.Event()
        self.threads: list[threading.Thread] = []
        """What runs once it was started; the process needs it."""

    def start(self) -> None:
        """Begin; once."""
        self.threads.append(threading.Thread(target=self._run, name="metadata-keeper", daemon=True))
        self.threads[0].start()

    def stop(self) -> None:
        """Build no more; the rest is built at the next start, or when it is asked for."""
        self._stop.set()
        for thread in self.threads:
            thread.join()

    def build_due(self) -> int:
        """Build some of the blobs that are due; how many. Raises `IndexUnavailable`."""
        built = 0
        for series in self._index.series_without_metadata(self._quiet, AT_ONCE):
            if self._stop.is_set():
                break
            built += self._index.build_metadata(series)
        self._metrics.built_metadata.inc(built)
        return built

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                built = self.build_due()
            except Unavailable:
                built = 0  # whoever asks meanwhile is told; the index's own probe says why
            except Exception:  # a series that cannot be built must not end the thread: it is read row by row
                _log.exception("the metadata of a series cannot be built")
                built = 0
            if built < AT_ONCE:
                self._stop.wait(self._quiet / 2)
