"""WADO-RS (PS3.18 10.4): which bytes answer a retrieval. Nothing is parsed here that the index already knows."""

from collections.abc import Iterator, Sequence
from functools import partial

from services.archive.dicomweb.accept import DICOM, EXPLICIT_LE, MediaRange, not_acceptable
from services.archive.dicomweb.answer import Answer, etag_of, stored_part
from services.archive.dicomweb.multipart import Part
from services.archive.dicomweb.zipped import ZIP, zip_part
from services.archive.index.records import StoredInstance
from services.archive.ports import Index, ObjectStore
from services.archive.rendering.service import Transcoder
from services.common.errors import NotFound

_BATCH = 200


class Retrieval:
    """Reads what the index says from the store; another transfer syntax is the transcoder's work."""

    def __init__(self, store: ObjectStore, index: Index, transcoder: Transcoder) -> None:
        self._store, self._index, self._transcoder = store, index, transcoder

    def find(
        self,
        institutions: frozenset[str] | None,
        study: str,
        series: str | None = None,
        instance: str | None = None,
    ) -> list[StoredInstance]:
        """The instances asked for. Raises `NotFound`, also for what the caller may not see."""
        found = self._index.instances(institutions, study, series, instance)
        if not found:
            raise NotFound(
                "There is no such study, series or instance.", action="Search for it with QIDO-RS."
            )
        return found

    def metadata(self, found: Sequence[StoredInstance]) -> Iterator[bytes]:
        """A JSON array of the ready objects: concatenated, never parsed or written again."""
        opening = b"["
        for start in range(0, len(found), _BATCH):
            yield opening + b",".join(self._index.headers(found[start : start + _BATCH]))
            opening = b","
        yield b"]"

    def instances(self, found: Sequence[StoredInstance], ranges: Sequence[MediaRange]) -> Answer:
        """Whole instances as Part 10 files (PS3.18 10.4.1.1), singly, as multipart or as a zip archive.

        Raises `NotAcceptable`.
        """
        for one in ranges:
            if one.kind == ZIP:
                return self._zip(found, one)
            if one.takes(DICOM) and (one.is_multipart or one.kind == "*/*" or len(found) == 1):
                parts = self._parts(found, one)
                if parts is not None:
                    etag = etag_of(found, "instances", *(part.content_type for part in parts))
                    return Answer(parts, DICOM, one.is_multipart or one.kind == "*/*", etag)
        # Asked for one by one: what cannot be had of the study may be one instance of it.
        raise not_acceptable(
            "At least one instance", found[0].transfer_syntax, self._transcoder.targets(found[0])
        )

    def _zip(self, found: Sequence[StoredInstance], asked: MediaRange) -> Answer:
        parts = self._parts(found, asked)
        if parts is None:
            raise not_acceptable("At least one instance", found[0].transfer_syntax)
        return Answer([zip_part(found, parts)], ZIP, multipart=False)

    def _parts(self, found: Sequence[StoredInstance], asked: MediaRange) -> list[Part] | None:
        parts = [part for stored in found if (part := self._part(stored, asked)) is not None]
        return parts if len(parts) == len(found) else None

    def _part(self, stored: StoredInstance, asked: MediaRange) -> Part | None:
        """The part for an instance, or None where it cannot be had as asked."""
        # An open type leaves the choice to us; application/dicom alone means Explicit VR LE (PS3.18 8.7.3.5.2).
        wanted = asked.transfer_syntax or ("*" if asked.content != DICOM else EXPLICIT_LE)
        if wanted in ("*", stored.transfer_syntax):
            content_type = f"{DICOM};transfer-syntax={stored.transfer_syntax}"
            return stored_part(self._store, stored, content_type, 0, stored.length)
        if wanted in self._transcoder.targets(stored):
            # Made when its turn comes: a study of them is never in memory together.
            return Part(f"{DICOM};transfer-syntax={wanted}", None, partial(self._transcode, stored, wanted))
        return None

    def _transcode(self, stored: StoredInstance, wanted: str) -> Iterator[bytes]:
        yield bytes(self._transcoder.transcoded(stored, wanted))
