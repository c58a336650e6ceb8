"""Storage Commitment Push Model SCP: N-ACTION taken, N-EVENT-REPORT sent (PS3.4 annex J).

| status of N-ACTION | when |
|---|---|
| 0x0000 | the request is durable; its report follows |
| 0x0110 | it could not be kept now |
| 0x0112 | not the well-known instance 1.2.840.10008.1.20.1.1 |
| 0x0115 | a transaction UID or reference is missing or none, or the transaction UID was used for others |
| 0x0123 | another action than 1 |
| 0x0213 | more references than are taken in one request |

The report goes over the requester's own association while that is open, else over a new one to the destination of
its AE title, where the archive proposes the role of the SCP (PS3.7 D.3.3.4).
"""

from __future__ import annotations

import logging
import ssl
import threading
from collections.abc import Callable, Sequence
from io import BytesIO
from typing import Any

from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pynetdicom import AE, build_role, evt
from pynetdicom.association import Association

from services.archive.dimse.destination import Destination, destination_of
from services.archive.dimse.service_class import ServiceClass
from services.archive.dimse.status import status_of
from services.archive.workflow.commitment import (
    CommitmentRequest,
    CommitmentReused,
    Outcome,
    Reference,
)
from services.archive.workflow.ports import Commitments
from services.common.clock import Clock
from services.common.errors import PacsError
from services.common.requestor import associate
from services.packs.instance import InstanceError, check_uid

logger = logging.getLogger(__name__)

SOP_CLASS, SOP_INSTANCE = "1.2.840.10008.1.20.1", "1.2.840.10008.1.20.1.1"
SUCCESS, PROCESSING_FAILURE = 0x0000, 0x0110
NO_SUCH_INSTANCE, INVALID_ARGUMENT, NO_SUCH_ACTION = 0x0112, 0x0115, 0x0123
RESOURCE_LIMITATION = 0x0213
REQUEST_COMMITMENT = 1
ALL_COMMITTED, SOME_FAILED = 1, 2
MOST_REFERENCES, MOST_BYTES = 50_000, 16 << 20

Answer = tuple[Dataset, Dataset | None]
Associations = dict[tuple[str, str], Association]


class _Refused(Exception):
    def __init__(self, status: int, comment: str) -> None:
        super().__init__(comment)
        self.status, self.comment = status, comment


class CommitmentProvider:
    """Takes requests of one institution's devices and reports to them; `refused` is told each refusal's status."""

    def __init__(
        self,
        commitments: Commitments,
        *,
        institution: str,
        site: str,
        ae_title: str,
        holder: str,
        clock: Clock,
        refused: Callable[[int], None],
        destinations: Sequence[Destination] = (),
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._commitments, self._institution, self._site = commitments, institution, site
        self._ae_title, self._holder, self._clock, self._refused = ae_title, holder, clock, refused
        self._destinations, self._tls = destinations, tls
        self._lock = threading.Lock()
        self._open: Associations = {}

    def service_class(self) -> ServiceClass:
        return ServiceClass([SOP_CLASS], {evt.EVT_N_ACTION: self._on_action})

    def _on_action(self, event: evt.Event) -> Answer:
        """Never raises: what the library would log of an exception may quote the data set."""
        try:
            self._take(event)
        except _Refused as error:
            return self._refuse(event, error.status, error.comment)
        except PacsError as error:
            logger.warning("a storage commitment request was not kept", exc_info=True)
            return self._refuse(event, PROCESSING_FAILURE, f"Not taken, ask later: {error.detail}")
        except Exception:
            logger.exception("a storage commitment request was not kept: unexpected")
            return self._refuse(event, PROCESSING_FAILURE, "A fault of the archive. Ask later")
        return status_of(SUCCESS), None

    def _take(self, event: evt.Event) -> None:
        message: Any = event.request
        if str(message.RequestedSOPInstanceUID) != SOP_INSTANCE:
            raise _Refused(NO_SUCH_INSTANCE, f"The instance of this service is {SOP_INSTANCE}")
        if message.ActionTypeID != REQUEST_COMMITMENT:
            raise _Refused(NO_SUCH_ACTION, "Action 1 alone is known: request storage commitment")
        transaction_uid, references = _action_of(message.ActionInformation, event.context.transfer_syntax)
        calling_ae = str(event.assoc.requestor.ae_title)
        request = CommitmentRequest(
            self._institution, self._site, calling_ae, transaction_uid, references, self._clock.now()
        )
        self._remember(request, event.assoc)
        try:
            self._commitments.accept(request, self._holder)
        except CommitmentReused:
            raise _Refused(INVALID_ARGUMENT, "This Transaction UID was used for other instances") from None

    def _remember(self, request: CommitmentRequest, association: Association) -> None:
        with self._lock:
            self._open = {key: one for key, one in self._open.items() if one.is_established}
            self._open[(request.calling_ae, request.transaction_uid)] = association

    def report(self, request: CommitmentRequest, outcome: Outcome) -> bool:
        """See `workflow.reporting.Requester`."""
        with self._lock:
            association = self._open.pop((request.calling_ae, request.transaction_uid), None)
        if (
            association is not None
            and association.is_established
            and _told(association, self._event(request, outcome))
        ):
            return True
        destination = destination_of(self._destinations, request.calling_ae)
        return destination is not None and self._report_to(destination, self._event(request, outcome))

    def _report_to(self, destination: Destination, event: Dataset) -> bool:
        entity = AE(self._ae_title)
        entity.connection_timeout = entity.acse_timeout = 10
        entity.dimse_timeout = entity.network_timeout = 30
        entity.add_requested_context(SOP_CLASS)
        tls = (self._tls, destination.host) if destination.tls and self._tls is not None else None
        if destination.tls and tls is None:
            return False
        association = associate(
            entity,
            destination.host,
            destination.port,
            ae_title=destination.ae_title,
            ext_neg=[build_role(SOP_CLASS, scp_role=True)],
            tls_args=tls,
        )
        try:
            return association.is_established and _told(association, event)
        finally:
            if association.is_established:
                association.release()

    def _event(self, request: CommitmentRequest, outcome: Outcome) -> Dataset:
        """The Event Information of PS3.4 table J.3-2."""
        event = Dataset()
        event.TransactionUID = request.transaction_uid
        event.RetrieveAETitle = self._ae_title
        if outcome.committed:
            event.ReferencedSOPSequence = [_item(reference) for reference in outcome.committed]
        if outcome.failed:
            event.FailedSOPSequence = [_item(reference, reason) for reference, reason in outcome.failed]
        return event

    def _refuse(self, event: evt.Event, status: int, why: str) -> Answer:
        logger.warning(
            "storage commitment of %s refused with 0x%04X: %s", event.assoc.requestor.ae_title, status, why
        )
        self._refused(status)
        return status_of(status, why), None


def _told(association: Association, event: Dataset) -> bool:
    """Whether the peer took the report; an association that ends meanwhile did not."""
    kind = SOME_FAILED if "FailedSOPSequence" in event else ALL_COMMITTED
    try:
        answer, _ = association.send_n_event_report(event, kind, SOP_CLASS, SOP_INSTANCE)
    except (RuntimeError, ValueError):
        # What the library raises for an association that is over, or one without the presentation context.
        logger.warning("a storage commitment report found no association", exc_info=True)
        return False
    return getattr(answer, "Status", None) == SUCCESS


def _item(reference: Reference, reason: int | None = None) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = reference.sop_class_uid
    item.ReferencedSOPInstanceUID = reference.sop_instance_uid
    if reason is not None:
        item.FailureReason = reason
    return item


def _action_of(content: BytesIO | None, transfer_syntax: str) -> tuple[str, tuple[Reference, ...]]:
    """Transaction UID and references of an N-ACTION's data set. Raises `_Refused`."""
    raw = content.getvalue() if content is not None else b""
    if len(raw) > MOST_BYTES:
        raise _Refused(RESOURCE_LIMITATION, f"At most {MOST_REFERENCES} instances are taken in a request")
    try:
        # Not the library's decode: it would warn of odd values, with their text.
        data_set = read_dataset(BytesIO(raw), transfer_syntax == "1.2.840.10008.1.2", True)
        transaction_uid = str(data_set.get("TransactionUID") or "")
        pairs = [
            (str(item.get("ReferencedSOPClassUID") or ""), str(item.get("ReferencedSOPInstanceUID") or ""))
            for item in data_set.get("ReferencedSOPSequence") or []
        ]
    except (Exception, RecursionError):
        logger.warning("action information cannot be decoded", exc_info=True)
        raise _Refused(INVALID_ARGUMENT, "The action information cannot be decoded") from None
    if not pairs:
        raise _Refused(INVALID_ARGUMENT, "Without instances in Referenced SOP Sequence")
    if len(pairs) > MOST_REFERENCES:
        raise _Refused(RESOURCE_LIMITATION, f"At most {MOST_REFERENCES} instances are taken in a request")
    try:
        check_uid(transaction_uid, "Transaction UID")
        for pair in pairs:
            check_uid(pair[0], "Referenced SOP Class UID")
            check_uid(pair[1], "Referenced SOP Instance UID")
    except InstanceError as error:
        raise _Refused(INVALID_ARGUMENT, str(error)) from None
    return transaction_uid, tuple(dict.fromkeys(Reference(*pair) for pair in pairs))
