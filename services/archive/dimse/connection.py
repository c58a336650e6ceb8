"""A pynetdicom server that bounds what one connection may cost before and while it speaks DICOM.

The released library reads a PDU of any declared length (up to 4 GiB) into memory before it knows who
sends it, and collects the fragments of a message without end.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from socketserver import BaseServer
from typing import Any, Self

from pynetdicom.association import Association
from pynetdicom.transport import AssociationServer, AssociationSocket, RequestHandler

from services.archive.dimse.caller import Network, address_of
from services.archive.dimse.room import Room

logger = logging.getLogger(__name__)

_PDU_HEADER_BYTES = 6
_RECEIVE_BYTES = 256 << 10
_OWN_BYTES = 384 << 20
"""What the archive takes without any message: programs, threads, one inflated data set (`Limits`)."""


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """`max_pdu` bytes are announced to peers and `largest_pdu` are read; `max_message` bound a message, and
    all messages under way share `messages` bytes and one largest message.

    A peer that stays silent `idle_seconds` in the middle of a PDU or before its association is cut off; between
    messages it may rest longer, since a modality keeps its association open from one scan to the next.
    """

    max_pdu: int = 256 << 10
    largest_pdu: int = 1 << 20
    max_message: int = 2 << 30
    messages: int = 2 << 30
    idle_seconds: float = 60.0
    association_idle_seconds: float = 600.0
    associations: int = 64
    per_peer: int = 16

    @classmethod
    def within(cls, memory_bytes: int) -> Self:
        """The limits of a process that may take this much memory: half of what it does not need itself is for
        one message, half for all the others. A fifth is lost where a message grows as it is put together."""
        half = max(memory_bytes - _OWN_BYTES, 0) * 4 // 5 // 2
        return cls(max_message=min(half, 2 << 30), messages=half)


class BoundedSocket(AssociationSocket):
    """pynetdicom's socket with a bound on each PDU and on the PDUs of one message, and larger reads."""

    def __init__(self, plain: AssociationSocket, limits: ConnectionLimits, room: Room) -> None:
        # The plain socket has announced the connection to the state machine already: take over its state.
        self.__dict__.update(plain.__dict__)
        self._limits, self._room = limits, room
        self._unfinished = 0
        self._complete: deque[int] = deque()

    def message_complete(self, *, to_handle: bool) -> None:
        """The message that was being received has been put together; the next starts at nothing.

        Its memory is held until `handling` has been through it; unless it is not `to_handle`.
        """
        size, self._unfinished = self._unfinished, 0
        if to_handle:
            self._complete.append(size)
        else:
            self._room.give(self, size)

    @contextmanager
    def handling(self) -> Iterator[None]:
        """While the oldest complete message is handled; then its memory is free, closed connection or not."""
        message = object()
        self._room.move(self, message, self._complete.popleft() if self._complete else 0)
        try:
            yield
        finally:
            self._room.give(message)

    def close(self) -> None:
        """Close the connection; what it had received is dropped."""
        super().close()
        self._room.give(self)

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
        self._room.take(self, nr_bytes, limits.idle_seconds)
        socket.settimeout(limits.idle_seconds)
        content = bytearray(nr_bytes)
        filled = 0
        try:
            with memoryview(content) as view:
                while filled < nr_bytes:
                    received = socket.recv_into(view[filled:], min(nr_bytes - filled, _RECEIVE_BYTES))
                    if received == 0:
                        break
                    filled += received
        finally:
            if filled < nr_bytes:  # the connection is over, and the library does not always close it
                self._room.give(self)
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
        association.dul.socket = BoundedSocket(plain, self.server.limits, self.server.room)
        library = association._serve_request

        def serve(message: Any, context_id: int) -> None:
            if not self.server.answered(association, message, context_id):
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
