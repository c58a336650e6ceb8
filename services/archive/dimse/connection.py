"""A pynetdicom server that bounds what one connection may cost before and while it speaks DICOM.

The released library reads a PDU of any declared length (up to 4 GiB) into memory before it knows who
sends it, and collects the fragments of a message without end.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from socketserver import BaseServer
from typing import Any

from pynetdicom.association import Association
from pynetdicom.transport import AssociationServer, AssociationSocket, RequestHandler

from services.archive.dimse.caller import Network, address_of

logger = logging.getLogger(__name__)

_PDU_HEADER_BYTES = 6
_RECEIVE_BYTES = 256 << 10


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """`max_pdu` bytes are announced to peers and `largest_pdu` are read; `max_message` bound a message.

    A peer that stays silent `idle_seconds` in the middle of a PDU is cut off.
    """

    max_pdu: int = 256 << 10
    largest_pdu: int = 1 << 20
    max_message: int = 2 << 30
    idle_seconds: float = 60.0
    associations: int = 64
    per_peer: int = 16


class BoundedSocket(AssociationSocket):
    """pynetdicom's socket with a bound on each PDU and on the PDUs of one message, and larger reads."""

    def __init__(self, plain: AssociationSocket, limits: ConnectionLimits) -> None:
        # The plain socket has announced the connection to the state machine already: take over its state.
        self.__dict__.update(plain.__dict__)
        self._limits = limits
        self._unfinished = 0

    def message_complete(self) -> None:
        """The message that was being received has been put together; the next starts at nothing."""
        self._unfinished = 0

    def recv(self, nr_bytes: int) -> bytearray:
        """Exactly `nr_bytes`, fewer if the peer closes. Raises `OSError` where a limit is passed."""
        limits, socket = self._limits, self.socket
        if socket is None:
            raise OSError("the connection is closed")
        if nr_bytes > limits.largest_pdu:
            raise OSError(f"a PDU of {nr_bytes} bytes; at most {limits.largest_pdu} are read")
        self._unfinished += nr_bytes
        if self._unfinished > limits.max_message:
            raise OSError(f"a message of more than {limits.max_message} bytes")
        socket.settimeout(limits.idle_seconds)
        content = bytearray(nr_bytes)
        view, filled = memoryview(content), 0
        while filled < nr_bytes:
            received = socket.recv_into(view[filled:], min(nr_bytes - filled, _RECEIVE_BYTES))
            if received == 0:
                break
            filled += received
        view.release()
        del content[filled:]
        return content


class BoundedHandler(RequestHandler):
    """Creates the association of a new connection and puts our socket under it."""

    server: BoundedServer

    def _create_association(self) -> Association:
        association = super()._create_association()
        plain = association.dul.socket
        if plain is None:
            raise OSError("the connection is closed")
        association.dul.socket = BoundedSocket(plain, self.server.limits)
        return association


class BoundedServer(AssociationServer):
    """Accepts connections from the allowed networks only, so many in all and so many from one address.

    `allowed` empty means no address. A connection that is not taken is closed without a word: there is
    no DICOM message before A-ASSOCIATE, and a scanner learns nothing.
    """

    limits: ConnectionLimits
    allowed: Sequence[Network]
    refused: Callable[[str], None]

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
