"""An association that the archive opens itself, to a declared destination (PS3.8 7.1, 9.3).

One thread speaks: what it sends and waits for goes straight over the socket, so that no instance waits for a queue to
be looked at.
"""

from __future__ import annotations

import logging
import socket
import ssl
import struct
from collections.abc import Sequence
from typing import Self

from pydicom.uid import UID
from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RJ, A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    ImplementationClassUIDNotification,
    ImplementationVersionNameNotification,
    MaximumLengthNotification,
)
from pynetdicom.presentation import build_context

from services.archive.dimse.destination import Destination
from services.archive.dimse.outgoing import Contexts
from services.archive.dimse.wire import Wire, decode_command
from services.packs.file_meta import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME

logger = logging.getLogger(__name__)

MOST_CONTEXTS = 128
CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 60.0
_MAX_PDU = 64 << 10
_LARGEST_PDU = 1 << 20
_LARGEST_COMMAND = 64 << 10
_APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"
_ACCEPT, _REJECT, _P_DATA, _RELEASE_REQUEST, _RELEASE_ANSWER, _ABORT = 2, 3, 4, 5, 6, 7

Proposals = Sequence[tuple[str, Sequence[str]]]
"""Presentation contexts: a SOP class, and transfer syntaxes of which the peer takes one."""


class PeerError(OSError):
    """A destination cannot be spoken to (any more); the message says why."""


class PeerAssociation:
    """An open association as requestor. Every method may raise `PeerError`; then it is over."""

    def __init__(self, connection: socket.socket, accepted: A_ASSOCIATE, proposals: Proposals) -> None:
        self._socket = connection
        self.wire = Wire(connection, _max_pdu(accepted))
        self.contexts: Contexts = _accepted(accepted, proposals)

    @classmethod
    def open(
        cls,
        destination: Destination,
        calling_ae: str,
        proposals: Proposals,
        tls: ssl.SSLContext | None = None,
    ) -> Self:
        """Connect and negotiate; at most `MOST_CONTEXTS` are proposed. Raises `PeerError`."""
        proposals = proposals[:MOST_CONTEXTS]
        if destination.tls and tls is None:
            raise PeerError(f"{destination.ae_title} wants TLS, and no CA for it is configured")
        try:
            connection = socket.create_connection((destination.host, destination.port), CONNECT_SECONDS)
        except OSError as error:
            raise PeerError(f"{destination.ae_title} cannot be reached") from error
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.settimeout(ANSWER_SECONDS)
            if destination.tls and tls is not None:
                connection = tls.wrap_socket(connection, server_hostname=destination.host)
            return cls(connection, _negotiate(connection, destination, calling_ae, proposals), proposals)
        except PeerError:
            connection.close()
            raise
        except (OSError, ValueError, struct.error) as error:
            connection.close()
            raise PeerError(f"{destination.ae_title} did not negotiate ({type(error).__name__})") from error

    def answer_to(self, message_id: int) -> int:
        """The status in the response to this message."""
        try:
            while True:
                command = decode_command(_command(self._socket))
                if int.from_bytes(command.get(0x0120, b""), "little") == message_id:
                    return int.from_bytes(command[0x0900], "little")
        except PeerError:
            raise
        except (OSError, ValueError, KeyError, struct.error) as error:
            raise PeerError(f"no answer came ({type(error).__name__})") from error

    def release(self) -> None:
        """End the association in order; never raises: what was sent was answered."""
        try:
            self._socket.sendall(struct.pack(">BBLL", _RELEASE_REQUEST, 0, 4, 0))
            while _pdu(self._socket)[0] != _RELEASE_ANSWER:
                pass
        except (OSError, struct.error):
            logger.info("a destination did not answer the release")
        finally:
            self._socket.close()

    def abort(self) -> None:
        """End it at once."""
        try:
            self._socket.sendall(struct.pack(">BBLBBBB", _ABORT, 0, 4, 0, 0, 0, 0))
        except OSError:
            logger.info("a destination is gone already")
        finally:
            self._socket.close()


def _negotiate(
    connection: socket.socket, destination: Destination, calling_ae: str, proposals: Proposals
) -> A_ASSOCIATE:
    request = A_ASSOCIATE()
    request.application_context_name = UID(_APPLICATION_CONTEXT)
    request.calling_ae_title, request.called_ae_title = calling_ae, destination.ae_title
    contexts = []
    for number, (sop_class, transfer_syntaxes) in enumerate(proposals):
        context = build_context(sop_class, list(transfer_syntaxes))
        context.context_id = 2 * number + 1
        contexts.append(context)
    request.presentation_context_definition_list = contexts
    length, implementation = MaximumLengthNotification(), ImplementationClassUIDNotification()
    version = ImplementationVersionNameNotification()
    length.maximum_length_received = _MAX_PDU
    implementation.implementation_class_uid = UID(IMPLEMENTATION_CLASS_UID)
    version.implementation_version_name = IMPLEMENTATION_VERSION_NAME
    request.user_information = [length, implementation, version]
    pdu = A_ASSOCIATE_RQ()
    pdu.from_primitive(request)
    connection.sendall(pdu.encode())
    kind, content = _pdu(connection)
    if kind == _REJECT:
        rejected = A_ASSOCIATE_RJ()
        rejected.decode(content)
        raise PeerError(f"{destination.ae_title} rejected the association: {rejected.reason_str}")
    if kind != _ACCEPT:
        raise PeerError(f"{destination.ae_title} did not accept the association")
    answer = A_ASSOCIATE_AC()
    answer.decode(content)
    return answer.to_primitive()


def _accepted(answer: A_ASSOCIATE, proposals: Proposals) -> dict[str, list[tuple[int, str]]]:
    found: dict[str, list[tuple[int, str]]] = {}
    for context in answer.presentation_context_definition_results_list:
        number = (int(context.context_id or 0) - 1) // 2
        if context.result == 0 and context.transfer_syntax and 0 <= number < len(proposals):
            place = (int(context.context_id or 0), str(context.transfer_syntax[0]))
            found.setdefault(proposals[number][0], []).append(place)
    return found


def _max_pdu(answer: A_ASSOCIATE) -> int:
    for item in answer.user_information:
        if isinstance(item, MaximumLengthNotification):
            return int(item.maximum_length_received or 0)
    return 0


def _command(connection: socket.socket) -> bytes:
    """The next command set; data sets that come with it are passed over."""
    command = bytearray()
    while True:
        kind, content = _pdu(connection)
        if kind == _RELEASE_REQUEST:
            connection.sendall(struct.pack(">BBLL", _RELEASE_ANSWER, 0, 4, 0))
        if kind != _P_DATA:
            raise PeerError("the destination ended the association")
        position = 6
        while position < len(content):
            length, _, control = struct.unpack_from(">LBB", content, position)
            if control & 1:
                command += content[position + 6 : position + 4 + length]
            position += 4 + max(length, 2)
            if len(command) > _LARGEST_COMMAND:
                raise PeerError("the destination sent a command without end")
            if control & 3 == 3:
                return bytes(command)


def _pdu(connection: socket.socket) -> tuple[int, bytes]:
    """A whole PDU, its header with it, and its type."""
    header = _exactly(connection, 6)
    kind, _, length = struct.unpack(">BBL", header)
    if length > _LARGEST_PDU:
        raise PeerError(f"the destination sent a PDU of {length} bytes")
    return kind, header + _exactly(connection, length)


def _exactly(connection: socket.socket, count: int) -> bytes:
    content = bytearray(count)
    filled = 0
    with memoryview(content) as view:
        while filled < count:
            received = connection.recv_into(view[filled:])
            if received == 0:
                raise PeerError("the destination closed the connection")
            filled += received
    return bytes(content)
