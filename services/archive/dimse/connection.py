"""A pynetdicom server that bounds what one connection may cost before and while it speaks DICOM.

The released library reads a PDU of any declared length (up to 4 GiB) into memory before it knows who sends it. What
is read once an association is established is `provider`'s.
"""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable, Sequence
from socketserver import BaseServer
from typing import Any

from pynetdicom.association import Association
from pynetdicom.transport import AssociationServer, AssociationSocket, RequestHandler

from services.archive.dimse.caller import Network, address_of
from services.archive.dimse.limits import ConnectionLimits
from services.archive.dimse.provider import Checkpoint, ReceivingProvider, StoreDoor
from services.archive.dimse.room import Room

logger = logging.getLogger(__name__)


class BoundedSocket(AssociationSocket):
    """pynetdicom's socket with a bound on each PDU that is read through it, in bytes and in time."""

    def __init__(self, plain: AssociationSocket, limits: ConnectionLimits) -> None:
        # The plain socket has announced the connection to the state machine already: take over its state.
        self.__dict__.update(plain.__dict__)
        self._limits = limits

    def recv(self, nr_bytes: int) -> bytearray:
        """Exactly `nr_bytes`, fewer if the peer closes. Raises `OSError` where a limit is passed."""
        wire = self.socket
        if wire is None:
            raise OSError("the connection is closed")
        if nr_bytes > self._limits.largest_pdu:
            raise OSError(f"a PDU of {nr_bytes} bytes; at most {self._limits.largest_pdu} are read")
        content = bytearray(nr_bytes)
        filled, deadline = 0, time.monotonic() + self._limits.idle_seconds
        try:
            with memoryview(content) as view:
                while filled < nr_bytes:
                    wire.settimeout(max(deadline - time.monotonic(), 0.001))
                    received = wire.recv_into(view[filled:])
                    if received == 0:
                        break
                    filled += received
        finally:
            wire.settimeout(self._limits.idle_seconds)
        del content[filled:]
        return content


class BoundedHandler(RequestHandler):
    """Creates the association of a new connection and puts our socket under it."""

    server: BoundedServer

    def _create_association(self) -> Association:
        association, server = super()._create_association(), self.server
        negotiating = association.dul
        if negotiating.socket is None:
            raise OSError("the connection is closed")
        self.request.settimeout(server.limits.idle_seconds)
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        provider = ReceivingProvider(association, server.limits, server.room, server.stores)
        provider.socket = BoundedSocket(negotiating.socket, server.limits)
        provider.event_queue = negotiating.event_queue  # it holds the connection's first event
        association.dul = provider
        # The library's setters give the timers of the new provider their limits.
        association.network_timeout = association.network_timeout
        association.acse_timeout = association.acse_timeout
        association._reactor_checkpoint = Checkpoint(provider.has_work)
        library = association._serve_request

        def serve(message: Any, context_id: int) -> None:
            if not server.answered(association, message, context_id):
                library(message, context_id)

        setattr(association, "_serve_request", serve)  # noqa: B010 - of this association alone, as a type checker would not have it
        return association


class BoundedServer(AssociationServer):
    """Accepts connections from the allowed networks only, so many in all and so many from one address.

    `allowed` empty means no address. A connection that is not taken is closed without a word: there is
    no DICOM message before A-ASSOCIATE, and a scanner learns nothing.
    """

    limits: ConnectionLimits
    room: Room
    stores: StoreDoor
    allowed: Sequence[Network]
    refused: Callable[[str], None]
    answered: Callable[[Association, Any, int], bool]
    """Told each message: whether it was a request that has been answered; the library answers all others."""

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Hook of `socketserver`: whether to go on with this connection."""
        peer = address_of(client_address[0])
        open_now = [a.requestor.address for a in self.active_associations]
        reason = ""
        if not any(peer in network for network in self.allowed):
            reason = "address"
        elif open_now.count(client_address[0]) >= self.limits.per_peer:
            reason = "per_peer"
        elif len(open_now) >= 2 * self.limits.associations:
            # Up to `associations` are answered with a DICOM rejection; a flood beyond that is not.
            reason = "connections"
        if reason:
            logger.warning("connection from %s refused: %s", peer, reason)
            self.refused(reason)
        return not reason

    def shutdown(self) -> None:
        """Stop accepting, close the port and abort what is open."""
        BaseServer.shutdown(self)
        self.server_close()
        for association in self.active_associations:
            association.abort()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Hook of `socketserver`: a failed connection ends itself, not the server."""
        logger.error("connection from %s failed", client_address[0], exc_info=True)  # noqa: LOG014 - socketserver calls this while it handles the exception
