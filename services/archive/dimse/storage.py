"""What C-STORE answers: an instance is scanned, made durable, and only then acknowledged (PS3.4 annex B).

| status | when |
|---|---|
| 0x0000 | the instance is durable in the segment log |
| 0x0110 | the disk reported an error, or the service is stopping |
| 0x0117 | a UID breaks PS3.5 9.1 |
| 0xA700 | no room |
| 0xA900 | the data set is of another SOP class or instance than the command says |
| 0xC000 | the data set cannot be understood, or is beyond our limits |
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import Protocol

from services.archive.dimse.status import comment_of
from services.common.clock import Clock, SystemClock
from services.packs import file_meta
from services.packs.instance import (
    Instance,
    InstanceError,
    InvalidUid,
    Limits,
    MissingIdentity,
    OverLimits,
    TruncatedDataSet,
    check_uid,
    scan_data_set,
)
from services.packs.segment import LogError, OutOfRoom, RecordHeader, SegmentLog

logger = logging.getLogger(__name__)

SUCCESS = 0x0000
PROCESSING_FAILURE = 0x0110
INVALID_INSTANCE = 0x0117
OUT_OF_RESOURCES = 0xA700
DOES_NOT_MATCH = 0xA900
CANNOT_UNDERSTAND = 0xC000


class CommandMismatch(InstanceError):
    """The data set is of another SOP class or instance than its C-STORE command says."""


# Status and what the sender can do. The first kind that fits decides: the particular before the general.
_REFUSALS: dict[type[Exception], tuple[int, str]] = {
    InvalidUid: (INVALID_INSTANCE, "Correct it"),
    CommandMismatch: (DOES_NOT_MATCH, "Mend the sender"),
    MissingIdentity: (CANNOT_UNDERSTAND, "Complete it"),
    TruncatedDataSet: (CANNOT_UNDERSTAND, "Send it again whole"),
    OverLimits: (CANNOT_UNDERSTAND, "Not for this archive"),
    InstanceError: (CANNOT_UNDERSTAND, "Repair it"),
    # A log's own message names paths, which are not the peer's business.
    OutOfRoom: (OUT_OF_RESOURCES, "Not stored: the archive's disk is full. Keep it, send it later"),
    LogError: (PROCESSING_FAILURE, "Not stored: the archive's disk fails or it stops. Send it later"),
}


@dataclass(frozen=True, slots=True)
class StoreRequest:
    """A C-STORE request: the command's UIDs, the data set as received, and who sent it."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax: str
    data_set: bytes | memoryview
    calling_ae: str
    called_ae: str
    association: str


@dataclass(frozen=True, slots=True)
class StoreAnswer:
    """Status of PS3.4 table B.2-1 (or PS3.7 annex C); what to do and why, for Error Comment (0000,0902)."""

    status: int
    comment: str = ""


class StorageObserver(Protocol):
    """Where storage reports what it did, for metrics."""

    def instance_stored(self, institution: str, size: int, seconds: float) -> None:
        """An instance of `size` bytes was acknowledged `seconds` after it had arrived whole."""

    def instance_refused(self, status: int) -> None:
        """A request was answered with a failure status."""


class Storage:
    """Decides on each C-STORE; safe to use from every association's thread. All of it belongs to `institution`."""

    def __init__(
        self,
        log: SegmentLog,
        *,
        institution: str,
        site: str,
        limits: Limits | None = None,
        observer: StorageObserver | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._log, self._institution, self._site = log, institution, site
        self._limits = limits or Limits()
        self._observer, self._clock = observer, clock or SystemClock()

    def store(self, request: StoreRequest) -> StoreAnswer:
        """Keep the instance and answer; blocks until it is durable. Never raises for what a peer sent."""
        started = time.perf_counter()
        try:
            head, instance = self._understand(request)
            header = RecordHeader.for_instance(
                instance,
                institution=self._institution,
                site=self._site,
                calling_ae=request.calling_ae,
                called_ae=request.called_ae,
                received_at=self._clock.now(),
                association=request.association,
            )
            self._log.append(header, head, request.data_set).result()
        except (InstanceError, LogError) as error:
            return self._refuse(request, error)
        if self._observer is not None:
            self._observer.instance_stored(self._institution, instance.length, time.perf_counter() - started)
        return StoreAnswer(SUCCESS)

    def _understand(self, request: StoreRequest) -> tuple[bytes, Instance]:
        """The file head for this data set, and what the scan says of both together."""
        check_uid(request.sop_instance_uid, "Affected SOP Instance UID")
        check_uid(request.sop_class_uid, "Affected SOP Class UID")
        check_uid(request.transfer_syntax, "Transfer Syntax UID")
        head = file_meta.encode(
            request.sop_class_uid, request.sop_instance_uid, request.transfer_syntax, request.calling_ae
        )
        instance = scan_data_set(request.data_set, request.transfer_syntax, len(head), self._limits)
        if instance.sop_instance_uid != request.sop_instance_uid:
            raise CommandMismatch("its SOP Instance UID is not the command's")
        if instance.sop_class_uid != request.sop_class_uid:
            raise CommandMismatch("its SOP Class UID is not the command's")
        return head, instance

    def _refuse(self, request: StoreRequest, error: InstanceError | LogError) -> StoreAnswer:
        status, action = next(known for kind, known in _REFUSALS.items() if isinstance(error, kind))
        logger.warning(
            "C-STORE from %s refused with 0x%04X: %s (instance %.66r)",
            request.calling_ae,
            status,
            error,
            request.sop_instance_uid,
        )
        if self._observer is not None:
            self._observer.instance_refused(status)
        return StoreAnswer(
            status, comment_of(action if isinstance(error, LogError) else f"{action}: {error}")
        )
