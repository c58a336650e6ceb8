"""STOW-RS (PS3.18 10.5): each part becomes durable in the segment log before the answer names it stored."""

import asyncio
import json
import logging
import mmap
import uuid
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from starlette.concurrency import run_in_threadpool

from services.archive.access import Access
from services.archive.dicomweb.multipart import PartStream
from services.archive.incoming import Incoming, IncomingFile
from services.archive.metrics import ArchiveMetrics
from services.common.clock import Clock
from services.common.errors import BadRequest, Forbidden, NoRoom, TooLarge
from services.packs.instance import Instance, InstanceError, NotDicom, scan
from services.packs.record import LogError, Record, RecordHeader
from services.packs.segment import OutOfRoom, SegmentLog

PREAMBLE_BYTES = 128
MAX_INSTANCE_BYTES = 2 << 30
MAX_PARTS = 10_000
# PS3.18 table I.2-2.
PROCESSING_FAILURE = 0x0110
OUT_OF_RESOURCES = 0xA700
CANNOT_UNDERSTAND = 0xC000
OTHER_STUDY = 0xC001
_log = logging.getLogger(__name__)


class _Target(NamedTuple):
    institution: str
    study_uid: str | None
    association: str


@dataclass(frozen=True, slots=True)
class Failure:
    """A part that was not stored: its number from 1, the code and the words of why, and what is known of it."""

    part: int
    reason: int
    why: str
    instance: Instance | None = None


@dataclass(slots=True)
class Stored:
    """What became of every part of a request."""

    kept: list[Instance] = field(default_factory=list)
    failed: list[Failure] = field(default_factory=list)

    @property
    def parts(self) -> int:
        """How many parts have had their verdict."""
        return len(self.kept) + len(self.failed)

    @property
    def status(self) -> int:
        """200 all stored, 202 some, 409 none (PS3.18 10.5.3.1)."""
        if not self.failed:
            return 200
        return 202 if self.kept else 409


class StoreService:
    """Takes instances from a multipart body into the segment log.

    `own_only`: every instance must be of `institution`, because the site's certificate lets it forward no
    other. Where nothing is forwarded (the centre) a token of one other institution stores for that one.
    """

    def __init__(
        self,
        log: SegmentLog,
        incoming: Incoming,
        metrics: ArchiveMetrics,
        clock: Clock,
        *,
        institution: str,
        site: str,
        own_only: bool,
        ended: Callable[[str], None],
    ) -> None:
        """`own_only`: other institutions' instances are refused; a branch may forward its own alone."""
        self._log, self._incoming, self._metrics, self._clock = log, incoming, metrics, clock
        self._institution, self._site, self._own_only, self._ended = institution, site, own_only, ended

    def institution_for(self, access: Access) -> str:
        """Whose instances these will be: this site's, else (`own_only` unset) the token's only institution.

        Raises `Forbidden`.
        """
        if access.may_store_for(self._institution):
            return self._institution
        if self._own_only:
            raise Forbidden(
                f"The token is not for {self._institution}, and this site stores for no other institution.",
                action=f"Use a token of {self._institution}, or store at the centre.",
            )
        if access.institutions is not None and len(access.institutions) == 1:
            return next(iter(access.institutions))
        raise Forbidden(
            "The token does not say for which institution these instances are.",
            action="Use a token of exactly one institution to store.",
        )

    async def store(
        self, body: AsyncIterator[bytes], boundary: str, institution: str, study_uid: str | None
    ) -> Stored:
        """Store every part, one after the other; a few MiB of memory whatever the body's size.

        Raises `BadRequest` for a malformed body: parts before the fault may be stored, and a resend
        of them is a success that changes nothing.
        """
        result, association = Stored(), f"stow-{uuid.uuid4().hex}"
        try:
            async for content in PartStream(body, boundary).parts():
                if result.parts >= MAX_PARTS:
                    raise TooLarge(
                        f"More than {MAX_PARTS} instances in one request.", action="Send fewer at once."
                    )
                await self._store_part(content, result, _Target(institution, study_uid, association))
        finally:
            self._ended(association)
        if not result.kept and not result.failed:
            raise BadRequest(
                "The body holds no instance.", action="Send at least one part of application/dicom."
            )
        if not result.kept and all(one.reason == OUT_OF_RESOURCES for one in result.failed):
            raise NoRoom(
                "The spool is full; nothing of this request was kept.",
                action="Free space, then send it again.",
            )
        return result

    async def _store_part(self, content: AsyncIterator[bytes], result: Stored, target: _Target) -> None:
        with self._incoming.file() as file:
            await file.receive(content, MAX_INSTANCE_BYTES)
            try:
                instance = await run_in_threadpool(_scan, file)
            except InstanceError as error:
                self._refuse(
                    result, Failure(result.parts + 1, CANNOT_UNDERSTAND, str(error)), type(error).__name__
                )
                return
            if target.study_uid not in (None, instance.study_uid):
                why = f"it is of study {instance.study_uid}, the URL names {target.study_uid}"
                self._refuse(result, Failure(result.parts + 1, OTHER_STUDY, why, instance), "OtherStudy")
                return
            try:
                await asyncio.wrap_future(await run_in_threadpool(self._append, file, instance, target))
            except LogError as error:
                # A log's own message names paths, which are not the client's business.
                reason, why = (
                    (OUT_OF_RESOURCES, "the archive's disk is full; keep it and send it later")
                    if isinstance(error, OutOfRoom)
                    else (PROCESSING_FAILURE, "the archive's disk fails or it stops; send it again later")
                )
                self._refuse(result, Failure(result.parts + 1, reason, why, instance), type(error).__name__)
                return
        result.kept.append(instance)
        self._metrics.instance_received("stow", instance.length)

    def _refuse(self, result: Stored, failure: Failure, reason: str) -> None:
        result.failed.append(failure)
        self._metrics.refused.labels("stow", reason).inc()
        _log.warning("part of a STOW request refused", extra={"reason": reason})

    def _append(self, file: IncomingFile, instance: Instance, target: _Target) -> Future[Record]:
        header = RecordHeader.for_instance(
            instance,
            institution=target.institution,
            site=self._site,
            calling_ae="",
            called_ae="",
            received_at=self._clock.now(),
            association=target.association,
        )
        # The preamble means nothing to DICOM and may be another format's header (PS3.10 7.1): it goes out as zeros.
        return self._log.append(header, bytes(PREAMBLE_BYTES), _content(file)[PREAMBLE_BYTES:])


def _scan(file: IncomingFile) -> Instance:
    if file.length == 0:
        raise NotDicom("the part is empty")
    return scan(_content(file))


def _content(file: IncomingFile) -> memoryview:
    """The file's bytes, mapped; unmapped with the last reference, since an error's traceback may point into them."""
    with file.path.open("rb") as opened:
        return memoryview(mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ))


def response_document(result: Stored, base_url: str, study_uid: str | None) -> bytes:
    """The Store Instances Response Module (PS3.18 table I.2-1) as DICOM JSON."""
    document: dict[str, Any] = {}
    studies = {study_uid} if study_uid else {one.study_uid for one in result.kept}
    if len(studies) == 1:
        document["00081190"] = {"vr": "UR", "Value": [f"{base_url}/studies/{studies.pop()}"]}
    unknown = [{"00081197": _us(one.reason)} for one in result.failed if one.instance is None]
    failed = [
        _reference(one.instance) | {"00081197": _us(one.reason)} for one in result.failed if one.instance
    ]
    if failed:
        document["00081198"] = {"vr": "SQ", "Value": failed}
    kept = [
        _reference(one) | {"00081190": {"vr": "UR", "Value": [
            f"{base_url}/studies/{one.study_uid}/series/{one.series_uid}/instances/{one.sop_instance_uid}"
        ]}} for one in result.kept
    ]  # fmt: skip
    if kept:
        document["00081199"] = {"vr": "SQ", "Value": kept}
    if unknown:
        # Other Failures Sequence: parts of which no SOP Instance UID could be read.
        document["0008119A"] = {"vr": "SQ", "Value": unknown}
    return json.dumps(document, separators=(",", ":")).encode()


def warning_of(result: Stored) -> str | None:
    """A Warning header (RFC 7234 5.5, code 299) in words for the first part that was not stored, if one was not.

    The response module has codes only, and a person who sees `C000` does not know what to mend.
    """
    if not result.failed:
        return None
    first, others = result.failed[0], len(result.failed) - 1
    more = f" ({others} more parts were not stored)" if others else ""
    text = f"part {first.part} was not stored: {first.why}{more}"
    plain = text.encode("ascii", "backslashreplace").decode().replace("\\", "/").replace('"', "'")
    return f'299 pacs "{plain}"'


def _reference(instance: Instance) -> dict[str, Any]:
    return {
        "00081150": {"vr": "UI", "Value": [instance.sop_class_uid]},
        "00081155": {"vr": "UI", "Value": [instance.sop_instance_uid]},
    }


def _us(value: int) -> dict[str, Any]:
    return {"vr": "US", "Value": [value]}
