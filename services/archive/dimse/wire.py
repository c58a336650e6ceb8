"""DIMSE messages straight onto a connection as P-DATA-TF PDUs (PS3.7 6.3, PS3.8 9.3.5).

What is sent from here is already encoded: stored data sets go out as they lie in the store, without a data set or
a queue of primitives between, which is what makes them slow in the library.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable, Mapping

_PDU = struct.Struct(">BBLLBB")  # type, reserved, length; PDV length, context, control
_PDV_OVERHEAD = 6
_DEFAULT_PDV = 1 << 20
_FLUSH_BYTES = 256 << 10
_COMMAND, _LAST = 0x01, 0x02
NO_DATA_SET, DATA_SET = 0x0101, 0x0001
_UIDS = frozenset({0x0002, 0x0003, 0x1000})

Command = Mapping[int, int | str]
"""Elements of group 0000 by element number: UIDs and texts as text, all others as 16-bit numbers."""


def encode_command(command: Command) -> bytes:
    """A command set: implicit VR little endian with its group length (PS3.7 6.3.1)."""
    elements = b"".join(
        struct.pack("<HHI", 0, number, len(value)) + value
        for number, value in sorted((number, _value(number, given)) for number, given in command.items())
    )
    return struct.pack("<HHII", 0, 0, 4, len(elements)) + elements


def decode_command(encoded: bytes | bytearray) -> dict[int, bytes]:
    """The values of a command set by element number. Raises `ValueError` where the bytes are none."""
    found: dict[int, bytes] = {}
    position = 0
    while position < len(encoded):
        if position + 8 > len(encoded):
            raise ValueError("a command set that ends within an element")
        group, element, length = struct.unpack_from("<HHI", encoded, position)
        position += 8
        if group or length > len(encoded) - position:
            raise ValueError("a command set with other elements, or that ends early")
        found[element] = bytes(encoded[position : position + length])
        position += length
    return found


def _value(number: int, given: int | str) -> bytes:
    if isinstance(given, int):
        return struct.pack("<H", given)
    raw = given.encode("ascii", "replace")
    return raw + (b"" if len(raw) % 2 == 0 else b"\0" if number in _UIDS else b" ")


class Wire:
    """Writes messages to one connection; `max_pdu` is what its peer announced (0: no limit).

    Messages are gathered until `flush`, or until they are many. One thread at a time may write.
    """

    def __init__(self, connection: socket.socket, max_pdu: int) -> None:
        self._socket = connection
        # The announced length counts a PDU's variable field: the PDV's own head is part of it (PS3.8 D.1.1).
        self._largest = max(max_pdu - _PDV_OVERHEAD, 128) if max_pdu else _DEFAULT_PDV
        self._waiting: list[bytes | memoryview] = []
        self._size = 0

    def put(
        self, context: int, command: bytes, pieces: Iterable[bytes | memoryview] = (), length: int = 0
    ) -> None:
        """A message: its command set, and a data set of `length` bytes, of which `pieces` bring all or nothing.

        Raises `OSError` where the connection is gone, and `ValueError` where the pieces end too early: the
        message cannot be taken back then, and the association must be ended.
        """
        self._fragments(context, _COMMAND, [command], len(command))
        if length:
            self._fragments(context, 0, pieces, length)

    def flush(self) -> None:
        """Send what has been gathered. Raises `OSError`."""
        if self._waiting:
            content = b"".join(self._waiting)
            self._waiting, self._size = [], 0
            self._socket.sendall(content)

    def _fragments(self, context: int, kind: int, pieces: Iterable[bytes | memoryview], length: int) -> None:
        left = length
        for piece in pieces:
            view = memoryview(piece)
            for start in range(0, len(view), self._largest):
                part = view[start : start + self._largest]
                size = len(part)
                left -= size
                if left < 0:
                    raise ValueError(f"more than the {length} bytes of the data set that was announced")
                control = kind | (_LAST if left == 0 else 0)
                self._waiting += (_PDU.pack(4, 0, size + _PDV_OVERHEAD, size + 2, context, control), part)
                self._size += size
                if self._size >= _FLUSH_BYTES:
                    self.flush()
        if left:
            raise ValueError(f"the data set ended {left} bytes early")
