"""What a peer sends while data is transferred, as it comes: PDUs cut into fragments of messages (PS3.8 9.3, E.2)."""

from __future__ import annotations

import struct
from typing import NamedTuple, Protocol

P_DATA_TF = 0x04
_PDU_HEADER = struct.Struct(">BxI")
_PDV_HEADER = struct.Struct(">IBB")
_COMMAND, _LAST = 0x01, 0x02
OTHER_PDU_BYTES = 64 << 10
"""Of a release or an abort, which have 10 bytes; nothing longer may come once an association is established."""


class ProtocolError(Exception):
    """Bytes that are no PDU that may come here; the association is aborted."""


class Fragment(NamedTuple):
    """A piece of a message's command or data set, `last` of it or not. Valid until the next bytes are read."""

    context_id: int
    is_command: bool
    is_last: bool
    content: memoryview


class FragmentReader(Protocol):
    """Who is given what was cut."""

    def fragment(self, fragment: Fragment) -> None:
        """The next piece; pieces of one PDV come in as many as they were received in."""

    def other_pdu(self, pdu: bytes) -> None:
        """A whole PDU that is no P-DATA-TF."""


class Cutter:
    """Cuts a stream of bytes without waiting for whole PDUs. `largest_pdu` bounds each."""

    def __init__(self, reader: FragmentReader, largest_pdu: int) -> None:
        self._reader, self._largest_pdu = reader, largest_pdu
        self._pdu_left = 0  # of a P-DATA-TF
        self._pdv_left = 0
        self._context_id = self._control = 0

    @property
    def midway(self) -> bool:
        """Whether a P-DATA-TF has begun and not ended."""
        return self._pdu_left > 0

    def feed(self, data: memoryview) -> int:
        """Take as much of `data` as can be used now; how many bytes. Raises `ProtocolError`."""
        position, end = 0, len(data)
        while position < end:
            if self._pdv_left:
                taken = min(self._pdv_left, end - position)
                self._pass_on(data[position : position + taken])
            elif self._pdu_left:
                taken = self._begin_pdv(data[position:])
            else:
                taken = self._begin_pdu(data[position:])
            if not taken:
                break
            position += taken
        return position

    def _begin_pdu(self, data: memoryview) -> int:
        if len(data) < _PDU_HEADER.size:
            return 0
        kind, length = _PDU_HEADER.unpack_from(data)
        if length > self._largest_pdu:
            raise ProtocolError(f"a PDU of {length} bytes; at most {self._largest_pdu} are read")
        if kind == P_DATA_TF:
            self._pdu_left = length
            return _PDU_HEADER.size
        whole = _PDU_HEADER.size + length
        if whole > OTHER_PDU_BYTES:
            raise ProtocolError(f"a PDU of type {kind:02X} and {length} bytes while data is transferred")
        if len(data) < whole:
            return 0
        self._reader.other_pdu(bytes(data[:whole]))
        return int(whole)

    def _begin_pdv(self, data: memoryview) -> int:
        if self._pdu_left < _PDV_HEADER.size:
            raise ProtocolError("a P-DATA-TF ends inside the header of a presentation data value")
        if len(data) < _PDV_HEADER.size:
            return 0
        length, self._context_id, self._control = _PDV_HEADER.unpack_from(data)
        # The item's length counts its context ID and message control header (PS3.8 9.3.5.1).
        if not 2 <= length <= self._pdu_left - 4:
            raise ProtocolError(
                f"a presentation data value of {length} bytes in a PDU with {self._pdu_left} left"
            )
        self._pdu_left -= _PDV_HEADER.size
        self._pdv_left = length - 2
        if not self._pdv_left:
            self._pass_on(data[:0])
        return _PDV_HEADER.size

    def _pass_on(self, content: memoryview) -> None:
        self._pdv_left -= len(content)
        self._pdu_left -= len(content)
        is_last = bool(self._control & _LAST) and not self._pdv_left
        self._reader.fragment(Fragment(self._context_id, bool(self._control & _COMMAND), is_last, content))
