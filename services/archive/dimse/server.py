"""The DIMSE listener: Verification and Storage SCP on pynetdicom (PS3.4 annexes A and B).

Every storage SOP class is accepted, private and yet unknown ones too, in whatever transfer syntax the peer
prefers, and kept as received: the data set is neither decoded nor encoded on its way. C-STORE does not pass through
the library's messages and events (`provider`); every other service is its own.
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, cast
from weakref import WeakKeyDictionary, WeakSet

from pynetdicom import AE, _config, evt
from pynetdicom.association import Association

from services.archive.dimse.caller import Caller, address_of, is_known
from services.archive.dimse.command import StoreCommand
from services.archive.dimse.connection import BoundedHandler, BoundedServer
from services.archive.dimse.limits import ConnectionLimits
from services.archive.dimse.request import Request
from services.archive.dimse.room import Room
from services.archive.dimse.service_class import ServiceClass
from services.archive.dimse.storage import PROCESSING_FAILURE, Reception, Storage, StoreAnswer, StoreRequest
from services.common.listening import cannot_listen
from services.packs.file_meta import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME

logger = logging.getLogger(__name__)

VERIFICATION = "1.2.840.10008.1.1"


@dataclass(frozen=True, slots=True)
class DimseListener:
    """Where and as whom to listen, and who may call; without `callers` nobody may."""

    ae_title: str
    host: str = "0.0.0.0"  # noqa: S104 - modalities are on the hospital LAN, the firewall role bounds it
    port: int = 11112
    callers: Sequence[Caller] = ()
    limits: ConnectionLimits = field(default_factory=ConnectionLimits)


class AssociationObserver(Protocol):
    """Where the listener reports associations, for metrics."""

    def association_accepted(self, calling_ae: str) -> None:
        """An association was established."""

    def association_ended(self) -> None:
        """An accepted association was released, aborted or lost."""

    def association_refused(self, reason: str) -> None:
        """`called_ae`, `calling_ae`, `limit` were rejected; `address`, `per_peer`, `connections` closed; `fault`: a
        C-STORE met a fault of ours."""


class DimseServer:
    """One listening AE. `ended` is told the id of each association that is over, for sealing."""

    def __init__(
        self,
        listener: DimseListener,
        storage: Storage,
        *,
        ended: Callable[[str], None],
        observer: AssociationObserver | None = None,
        services: Sequence[ServiceClass] = (),
    ) -> None:
        self._listener, self._storage, self._ended, self._observer = listener, storage, ended, observer
        self._services = services
        self._ids: WeakKeyDictionary[Association, str] = WeakKeyDictionary()
        self._open: WeakSet[Association] = WeakSet()
        self._lock = threading.Lock()
        self.room = Room(listener.limits.messages)
        self._server: BoundedServer | None = None
        self._thread: threading.Thread | None = None

    @property
    def port(self) -> int:
        """The port that is listened on; useful where 0 was asked for."""
        if self._server is None:
            raise RuntimeError("the DIMSE listener is not started")
        return int(self._server.server_address[1])

    @property
    def threads(self) -> list[threading.Thread]:
        """The thread that accepts connections; none before `start`."""
        return [self._thread] if self._thread is not None else []

    def start(self) -> None:
        """Listen. Raises `OSError` if the port is taken."""
        _configure_pynetdicom()
        try:
            server = self._make_server()
        except OSError as error:
            raise cannot_listen(self._listener.host, self._listener.port, error) from error
        server.limits = self._listener.limits
        server.allowed = [caller.network for caller in self._listener.callers]
        server.refused, server.room, server.stores = self._refused, self.room, self
        server.answered = self._answered
        self._server = server
        self._thread = threading.Thread(
            target=server.serve_forever, args=(0.1,), name="dimse-accept", daemon=True
        )
        self._thread.start()
        logger.info("DIMSE listens on %s:%d as %s", self._listener.host, self.port, self._listener.ae_title)

    def _make_server(self) -> BoundedServer:
        made = self._application_entity().make_server(
            (self._listener.host, self._listener.port),
            evt_handlers=[
                (evt.EVT_REQUESTED, self._on_requested),
                (evt.EVT_ACCEPTED, self._on_accepted),
                (evt.EVT_REJECTED, self._on_rejected),
                (evt.EVT_RELEASED, self._on_end),
                (evt.EVT_ABORTED, self._on_end),
                (evt.EVT_CONN_CLOSE, self._on_end),
                *(handler for service in self._services for handler in service.handlers.items()),
            ],
            server_class=BoundedServer,
            request_handler=BoundedHandler,
        )
        return cast("BoundedServer", made)

    def stop(self) -> None:
        """Stop listening and abort what is under way: a sender repeats what was not acknowledged."""
        if self._server is None or self._thread is None:
            return
        self._server.shutdown()
        self._thread.join()
        self._server = self._thread = None

    def _application_entity(self) -> AE:
        limits = self._listener.limits
        ae = AE(self._listener.ae_title)
        ae.implementation_class_uid = IMPLEMENTATION_CLASS_UID
        ae.implementation_version_name = IMPLEMENTATION_VERSION_NAME
        ae.add_supported_context(VERIFICATION)
        for service in self._services:
            for abstract_syntax in service.abstract_syntaxes:
                ae.add_supported_context(abstract_syntax, list(service.transfer_syntaxes))
        ae.require_called_aet = True
        # The library compares titles alone; `_on_requested` sees to it that title and address belong together.
        ae.require_calling_aet = [caller.ae_title for caller in self._listener.callers]
        ae.maximum_pdu_size = limits.max_pdu
        ae.maximum_associations = limits.associations
        ae.network_timeout = limits.association_idle_seconds
        ae.acse_timeout = limits.idle_seconds
        ae.dimse_timeout = limits.idle_seconds
        return ae

    def _on_requested(self, event: evt.Event) -> None:
        """Reject a listed AE title that calls from another device's network, before anything is negotiated."""
        association = event.assoc
        if _called_ae(association) != self._listener.ae_title or self._is_known(association):
            return  # negotiation goes on, and rejects a wrong called AE title itself
        # PS3.8 9.3.4: rejected-permanent, service-user, calling-AE-title-not-recognized.
        association.acse.send_reject(0x01, 0x01, 0x03)
        self._on_rejected(event)
        association.kill()

    def _is_known(self, association: Association) -> bool:
        requestor = association.requestor
        return is_known(self._listener.callers, _calling_ae(association), address_of(requestor.address))

    def _on_accepted(self, event: evt.Event) -> None:
        with self._lock:
            self._open.add(event.assoc)
        if self._observer is not None:
            self._observer.association_accepted(event.assoc.requestor.ae_title)

    def _id_of(self, association: Association) -> str:
        with self._lock:
            return self._ids.setdefault(association, uuid.uuid4().hex)

    def _on_rejected(self, event: evt.Event) -> None:
        requestor = event.assoc.requestor
        called = _called_ae(event.assoc)
        if called != self._listener.ae_title:
            # PS3.8 9.3.4: rejected-permanent, called-AE-title-not-recognized.
            reason = "called_ae"
            why = f"it called {called!r}, this is {self._listener.ae_title!r}; correct the called AE title at the device"
        elif not self._is_known(event.assoc):
            reason = "calling_ae"
            why = (
                "no device of this AE title is known in the network it calls from; "
                "add or correct it under `calling` in the stack file"
            )
        else:
            reason = "limit"
            why = f"{self._listener.limits.associations} associations are open; it may try again"
        calling = _calling_ae(event.assoc)
        logger.warning("association of %r at %s rejected: %s", calling, requestor.address, why)
        self._refused(reason)

    def _refused(self, reason: str) -> None:
        if self._observer is not None:
            self._observer.association_refused(reason)

    def _on_end(self, event: evt.Event) -> None:
        with self._lock:
            if event.assoc not in self._open:
                return  # rejected, or told before
            self._open.remove(event.assoc)
        self._ended(self._id_of(event.assoc))
        if self._observer is not None:
            self._observer.association_ended()

    def _answered(self, association: Association, message: Any, context_id: int) -> bool:
        """Whether a service class of ours took this message as its request."""
        sop_class = str(getattr(message, "AffectedSOPClassUID", None) or "")
        context = association._accepted_cx.get(context_id)
        if context is None or context.abstract_syntax != sop_class or not message.is_valid_request:
            return False
        for service in self._services:
            answer = service.requests.get(type(message))
            if answer is not None and sop_class in service.abstract_syntaxes:
                break
        else:
            return False
        association.dimse.cancel_req = {}
        try:
            answer(Request(association, message, context))
        except Exception:  # whatever it was, no further message of this peer can be trusted to be understood
            logger.warning("association of %s aborted", association.requestor.ae_title, exc_info=True)
            association.abort()
        association.dimse.cancel_req = {}
        # A long answer was no silence of the peer: it may rest from now on.
        association.dul._idle_timer.restart()
        return True

    # What the provider of an association asks (StoreDoor).

    def begin(
        self, association: Association, context_id: int, command: StoreCommand, scratch: bytearray
    ) -> Reception | None:
        """The reception of a C-STORE; None in a presentation context that was not accepted."""
        context = association._accepted_cx.get(context_id)
        if context is None:
            return None
        request = StoreRequest(
            sop_class_uid=command.sop_class_uid,
            sop_instance_uid=command.sop_instance_uid,
            transfer_syntax=str(context.transfer_syntax[0]),
            calling_ae=association.requestor.ae_title,
            called_ae=_called_ae(association),
            association=self._id_of(association),
        )
        return self._storage.receive(request, scratch)

    def complete(self, association: Association, reception: Reception) -> StoreAnswer:
        """The answer to a C-STORE that is whole; blocks until its instance is durable."""
        try:
            return reception.complete()
        except Exception:
            logger.exception("a C-STORE of %s failed unexpectedly", association.requestor.ae_title)
            self._refused("fault")
            return StoreAnswer(PROCESSING_FAILURE, "Not stored: a fault of the archive. Send it later")


def _calling_ae(association: Association) -> str:
    """From the request itself: the library fills in `requestor.ae_title` only while it negotiates."""
    primitive = association.requestor.primitive
    return primitive.calling_ae_title or "" if primitive is not None else ""


def _called_ae(association: Association) -> str:
    primitive = association.requestor.primitive
    return primitive.called_ae_title or "" if primitive is not None else ""


def _configure_pynetdicom() -> None:
    """The library's switches are global to the process; this service is the only one that listens in it."""
    _config.UNRESTRICTED_STORAGE_SERVICE = True
    # Its standard handlers describe every PDU and identifier; we log what we decide, without patient data.
    _config.LOG_HANDLER_LEVEL = "none"
    _config.LOG_REQUEST_IDENTIFIERS = False
    _config.LOG_RESPONSE_IDENTIFIERS = False
