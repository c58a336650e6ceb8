"""One request on an association, and its responses, which go straight onto the connection (PS3.7 9.1)."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from typing import Any

from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.uid import UID
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_FIND, C_GET, C_MOVE
from pynetdicom.presentation import PresentationContext

from services.archive.dimse.caller import Address, address_of
from services.archive.dimse.status import comment_of
from services.archive.dimse.wire import DATA_SET, NO_DATA_SET, Wire, encode_command
from services.common.errors import BadRequest

MOST_IDENTIFIER_BYTES = 1 << 20
_RESPONSES = {C_FIND: 0x8020, C_GET: 0x8010, C_MOVE: 0x8021}


@dataclass(frozen=True, slots=True)
class Counters:
    """Sub-operations of a C-GET or C-MOVE (PS3.7 9.1.3.1)."""

    remaining: int = 0
    completed: int = 0
    failed: int = 0
    warning: int = 0


class Request:
    """A C-FIND, C-GET or C-MOVE request. Its methods raise `OSError` once the peer is gone."""

    def __init__(self, association: Association, message: Any, context: PresentationContext) -> None:
        self.association, self._message = association, message
        self.context_id = int(context.context_id or 0)
        transfer_syntax = context.transfer_syntax[0]
        self.implicit = transfer_syntax.is_implicit_VR
        self.sop_class = str(message.AffectedSOPClassUID)
        self.message_id = int(message.MessageID)
        connection = association.dul.socket
        plain = connection.socket if connection is not None else None
        if plain is None:
            raise OSError("the connection is closed")
        self.connection = connection
        self.wire = Wire(plain, int(association.requestor.maximum_length or 0))

    @property
    def calling_ae(self) -> str:
        return str(self.association.requestor.ae_title)

    @property
    def address(self) -> Address:
        return address_of(self.association.requestor.address)

    @property
    def move_destination(self) -> str:
        """AE title that a C-MOVE names (0000,0600)."""
        return str(getattr(self._message, "MoveDestination", None) or "").strip()

    @property
    def is_relational(self) -> bool:
        """Whether relational queries or retrieval were negotiated for the SOP class (PS3.4 C.5.1.1, C.5.2.1)."""
        information = self.association.requestor.sop_class_extended.get(UID(self.sop_class)) or b""
        return information[:1] == b"\1"

    def identifier(self) -> Dataset:
        """The request's identifier. Raises `BadRequest` where there is none or it cannot be decoded."""
        content = self._message.Identifier
        raw = content.getvalue() if content is not None else b""
        if not raw or len(raw) > MOST_IDENTIFIER_BYTES:
            raise BadRequest("There is no identifier of up to 1 MiB.", action="Send one with the request.")
        try:
            # Not the library's decode: it would warn of odd values, with their text.
            data_set = read_dataset(BytesIO(raw), self.implicit, True)
            for _ in data_set.iterall():  # elements are decoded when they are looked at
                pass
        except (Exception, RecursionError) as error:
            raise BadRequest("The identifier cannot be decoded.", action="Mend the requester.") from error
        return data_set

    def is_cancelled(self) -> bool:
        """Whether a C-CANCEL of this request has come (PS3.7 9.3.2.3)."""
        return self.message_id in self.association.dimse.cancel_req

    def respond(
        self, status: int, identifier: bytes = b"", *, comment: str = "", counters: Counters | None = None
    ) -> None:
        """A response. Pending ones (0xFF00, 0xFF01) may be gathered; every other is sent at once and is the last."""
        command: dict[int, int | str] = {
            0x0002: self.sop_class, 0x0100: _RESPONSES[type(self._message)], 0x0120: self.message_id,
            0x0800: DATA_SET if identifier else NO_DATA_SET, 0x0900: status,
        }  # fmt: skip
        if comment:
            command[0x0902] = comment_of(comment)
        if counters is not None:
            if status in (0xFF00, 0xFE00):
                command[0x1020] = min(counters.remaining, 0xFFFF)
            command |= {
                0x1021: min(counters.completed, 0xFFFF), 0x1022: min(counters.failed, 0xFFFF),
                0x1023: min(counters.warning, 0xFFFF),
            }  # fmt: skip
        self.wire.put(self.context_id, encode_command(command), [identifier], len(identifier))
        if status not in (0xFF00, 0xFF01):
            self.wire.flush()
