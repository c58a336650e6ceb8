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
import threading
import time
from dataclasses import dataclass
from typing import Protocol

from pydicom.uid import DeflatedExplicitVRLittleEndian

from services.archive.dimse.status import comment_of
from services.common.clock import Clock, SystemClock
from services.packs import file_meta
from services.packs.arrival import Arrival
from services.packs.instance import (
    Description,
    InstanceError,
    InvalidUid,
    Limits,
    MissingIdentity,
    OverLimits,
    TruncatedDataSet,
    check_uid,
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
    """A C-STORE request: the command's UIDs, how its data set is encoded, and who sends it."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax: str
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
        # One inflated data set at a time: `Limits` bounds it, and many of them at once would be no bound.
        self._inflating = threading.Lock()

    def receive(self, request: StoreRequest, scratch: bytearray) -> Reception:
        """Take a request whose data set is about to come; `scratch` as in `Arrival`. Never raises for what a peer sent."""
        return Reception(self, request, scratch)

    def begin(self, request: StoreRequest, scratch: bytearray) -> Arrival:
        """Where the data set of this request goes. Raises `InvalidUid`."""
        check_uid(request.sop_instance_uid, "Affected SOP Instance UID")
        check_uid(request.sop_class_uid, "Affected SOP Class UID")
        check_uid(request.transfer_syntax, "Transfer Syntax UID")
        head = file_meta.encode(
            request.sop_class_uid, request.sop_instance_uid, request.transfer_syntax, request.calling_ae
        )
        return Arrival(self._log, head, request.transfer_syntax, scratch, self._limits)

    def keep(self, request: StoreRequest, arrival: Arrival) -> Description:
        """Make what arrived durable if it is what the request says. Raises `InstanceError`, `LogError`."""
        if request.transfer_syntax == DeflatedExplicitVRLittleEndian:
            with self._inflating:
                instance = arrival.describe()
        else:
            instance = arrival.describe()
        if instance.sop_instance_uid != request.sop_instance_uid:
            raise CommandMismatch("its SOP Instance UID is not the command's")
        if instance.sop_class_uid != request.sop_class_uid:
            raise CommandMismatch("its SOP Class UID is not the command's")
        header = RecordHeader.for_instance(
            instance,
            institution=self._institution,
            site=self._site,
            calling_ae=request.calling_ae,
            called_ae=request.called_ae,
            received_at=self._clock.now(),
            association=request.association,
        )
        arrival.keep(header).result()
        return instance

    def stored(self, instance: Description, seconds: float) -> StoreAnswer:
        """The answer to a request whose instance is durable, `seconds` after it had arrived whole."""
        if self._observer is not None:
            self._observer.instance_stored(self._institution, instance.length, seconds)
        return StoreAnswer(SUCCESS)

    def refuse(self, request: StoreRequest, error: InstanceError | LogError) -> StoreAnswer:
        """The answer that says why the instance was not kept."""
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


class Reception:
    """One C-STORE whose data set is coming; `complete` or `abandon` ends it.

    What is refused early is still taken, since the peer sends all of it before it listens, and goes nowhere.
    """

    def __init__(self, storage: Storage, request: StoreRequest, scratch: bytearray) -> None:
        self._storage, self._request = storage, request
        self._arrival: Arrival | None = None
        self._refused: InstanceError | LogError | None = None
        try:
            self._arrival = storage.begin(request, scratch)
        except InstanceError as error:
            self._refused = error

    def write(self, piece: memoryview) -> None:
        """Take the next bytes of the data set."""
        if self._arrival is None:
            return
        try:
            self._arrival.write(piece)
        except (InstanceError, LogError) as error:
            self._refused = error
            self.abandon()

    def complete(self) -> StoreAnswer:
        """The data set is whole: keep it and answer; blocks until it is durable."""
        started = time.perf_counter()
        try:
            if self._refused is None and self._arrival is not None:
                instance = self._storage.keep(self._request, self._arrival)
                return self._storage.stored(instance, time.perf_counter() - started)
        except (InstanceError, LogError) as error:
            self._refused = error
        finally:
            self.abandon()
        assert self._refused is not None  # noqa: S101 - what is not kept has its reason
        return self._storage.refuse(self._request, self._refused)

    def abandon(self) -> None:
        """Forget what has come; after `complete` there is nothing to forget."""
        if self._arrival is not None:
            self._arrival.drop()
            self._arrival = None
