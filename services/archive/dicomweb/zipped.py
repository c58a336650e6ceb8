"""Instances as a zip archive (PS3.18 8.7.3.6), written while it is sent: what is held is one piece of one instance."""

import io
import zipfile
from collections.abc import Iterator, Sequence
from typing import Any

from services.archive.dicomweb.multipart import Part
from services.archive.index.records import StoredInstance

ZIP = "application/zip"
# A zip archive's clock starts here; when it was made is nobody's business, and the same study is the same archive.
_EPOCH = (1980, 1, 1, 0, 0, 0)


class _Outlet(io.RawIOBase):
    """Collects what is written until it is taken; it cannot seek, so that zipfile writes sizes after the content."""

    def __init__(self) -> None:
        super().__init__()
        self._written: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, piece: Any) -> int:
        self._written.append(bytes(piece))
        return len(self._written[-1])

    def take(self) -> bytes:
        content = b"".join(self._written)
        self._written.clear()
        return content


def zip_part(found: Sequence[StoredInstance], parts: Sequence[Part]) -> Part:
    """One archive with a file `<study>/<series>/<instance>.dcm` for each part; stored, not deflated again."""

    def read() -> Iterator[bytes]:
        outlet = _Outlet()
        with zipfile.ZipFile(outlet, "w", zipfile.ZIP_STORED) as archive:
            for stored, part in zip(found, parts, strict=True):
                name = f"{stored.study_uid}/{stored.series_uid}/{stored.sop_instance_uid}.dcm"
                with archive.open(zipfile.ZipInfo(name, _EPOCH), "w", force_zip64=True) as entry:
                    for piece in part.read():
                        entry.write(piece)
                        yield outlet.take()
                yield outlet.take()
        yield outlet.take()

    return Part(ZIP, None, read)
