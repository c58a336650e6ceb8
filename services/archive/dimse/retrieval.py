"""Sub-operations of C-GET and C-MOVE: counted, reported while they go on, and cancellable (PS3.4 C.4.2.3, C.4.3.3).

| status | when |
|---|---|
| 0xFF00 | sub-operations are going on |
| 0x0000 | all instances were stored; also where there are none |
| 0xB000 | some were not, or with a warning; Failed SOP Instance UID List says which |
| 0xA702 | none could be stored |
| 0xFE00 | the requester cancelled |
| 0xA900 | the identifier does not fit the SOP class |
| 0xA701 | the index does not answer |
| 0xA801 | C-MOVE: the destination is not known |
| 0x0124 | C-MOVE: the caller may not send there |
| 0xC001 | a fault of ours |
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from typing import Protocol

from services.archive.dimse.caller import Rights
from services.archive.dimse.identifier import encode_identifier
from services.archive.dimse.information_model import model_of
from services.archive.dimse.outgoing import Sent
from services.archive.dimse.request import Counters, Request
from services.archive.dimse.selection import Selection, read_selection
from services.archive.index.records import StoredInstance
from services.archive.ports import Index
from services.common.errors import BadRequest, PacsError, Unavailable

logger = logging.getLogger(__name__)

SUCCESS, PENDING, CANCEL, SOME_FAILED = 0x0000, 0xFF00, 0xFE00, 0xB000
CANNOT_COUNT, CANNOT_PERFORM, DESTINATION_UNKNOWN = 0xA701, 0xA702, 0xA801
DOES_NOT_MATCH, NOT_AUTHORISED, FAULT = 0xA900, 0x0124, 0xC001
_PENDING_SECONDS = 1.0
_LISTED_UIDS = 1000  # more do not fit into one value of explicit VR (PS3.5 7.1.2)


class RetrieveObserver(Protocol):
    """Where retrievals are reported, for metrics."""

    def dimse_retrieved(self, operation: str, status: int, sent: int, failed: int) -> None:
        """A C-GET (`get`) or C-MOVE (`move`) ended with this status, after so many sub-operations."""


class Receiver(Protocol):
    """Where instances go. `expect` and `send` may raise `OSError`: nothing more can be sent then."""

    def expect(self, instances: list[StoredInstance]) -> None:
        """The next instances to be sent, which are of one study."""

    def send(self, stored: StoredInstance) -> Sent:
        """Send one of them and wait for the answer."""

    def close(self) -> None:
        """Nothing more is sent; an association that was opened for it ends."""


@dataclass
class _Progress:
    remaining: int
    completed: int = 0
    warning: int = 0
    failed: list[str] = field(default_factory=list)
    reason: str = ""

    def note(self, stored: StoredInstance, sent: Sent) -> None:
        self.remaining = max(self.remaining - 1, 0)
        self.completed += sent.is_complete
        self.warning += sent.is_warning
        if not sent.is_complete and not sent.is_warning:
            self.failed.append(stored.sop_instance_uid)
            self.reason = self.reason or sent.reason

    @property
    def counters(self) -> Counters:
        return Counters(self.remaining, self.completed, len(self.failed), self.warning)


def selected(index: Index, request: Request, rights: Rights) -> Selection:
    """What a request's identifier names, of what the caller may see. Raises `BadRequest`, `IndexUnavailable`."""
    query = read_selection(
        request.identifier(), model_of(request.sop_class), rights.institutions,
        relational=request.is_relational,
    )  # fmt: skip
    return Selection(index, query)


def refuse(request: Request, error: PacsError, counters: Counters | None = None) -> int:
    """Answer a request that cannot begin, or cannot go on; the status."""
    status = FAULT
    if isinstance(error, BadRequest):
        status = DOES_NOT_MATCH
    elif isinstance(error, Unavailable):
        status = CANNOT_COUNT
    request.respond(status, comment=f"{error.action} {error.detail}", counters=counters)
    return status


def perform(
    request: Request, selection: Selection, receiver: Receiver, *, requester_receives: bool
) -> tuple[int, Counters]:
    """Send everything, report on the way, and answer; the last status and the counters.

    Where the requester itself receives (C-GET), its loss raises `OSError`; the loss of another receiver (C-MOVE) fails
    what was not sent.
    """
    progress = _Progress(selection.count)
    receiving = receiver if requester_receives else _Losable(receiver)
    reported = time.monotonic()
    cancelled = False
    try:
        for instances in selection.studies():
            receiving.expect(instances)
            for stored in instances:
                cancelled = request.is_cancelled()
                if cancelled:
                    break
                progress.note(stored, receiving.send(stored))
                if time.monotonic() - reported >= _PENDING_SECONDS:
                    request.respond(PENDING, counters=progress.counters)
                    request.wire.flush()
                    reported = time.monotonic()
            if cancelled:
                break
    except PacsError as error:  # the index went away between two studies
        return refuse(request, error, progress.counters), progress.counters
    finally:
        receiver.close()
    status = CANCEL if cancelled else _status(progress)
    _finish(request, status, progress)
    return status, progress.counters


class _Losable:
    """A receiver that is not the requester: once it is lost, what is left fails with that reason."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver, self._lost = receiver, ""

    def expect(self, instances: list[StoredInstance]) -> None:
        if not self._lost:
            try:
                self._receiver.expect(instances)
            except OSError as error:
                self._lost = str(error)

    def send(self, stored: StoredInstance) -> Sent:
        if not self._lost:
            try:
                return self._receiver.send(stored)
            except OSError as error:
                self._lost = str(error)
        return Sent(None, self._lost)


def _status(progress: _Progress) -> int:
    if not progress.failed and not progress.warning:
        return SUCCESS
    return SOME_FAILED if progress.completed or progress.warning else CANNOT_PERFORM


def _finish(request: Request, status: int, progress: _Progress) -> None:
    identifier, comment = b"", ""
    if progress.failed:
        failed = {"00080058": {"vr": "UI", "Value": progress.failed[:_LISTED_UIDS]}}
        identifier = encode_identifier(failed, (), implicit=request.implicit)
        comment = f"{len(progress.failed)} not sent: {progress.reason}"
    request.respond(status, identifier, comment=comment, counters=progress.counters)


def report(
    request: Request,
    operation: str,
    status: int,
    counters: Counters | None,
    observer: RetrieveObserver | None,
) -> None:
    """Into the log and the metrics: who had how many instances sent, without saying of whom."""
    done = counters or Counters()
    logger.info(
        "C-%s answered with 0x%04X",
        operation.upper(),
        status,
        extra={
            "calling_ae": request.calling_ae, "address": str(request.address), "count": done.completed + done.warning,
            "detail": f"{done.failed} failed; to {request.move_destination or 'the caller'}",
        },
    )  # fmt: skip
    if observer is not None:
        observer.dimse_retrieved(operation, status, done.completed + done.warning, done.failed)
