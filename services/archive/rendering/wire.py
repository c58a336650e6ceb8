"""What archive and worker say to each other over a socket: a JSON head, then blobs of announced lengths.

JSON and not pickle: what comes back was made beside a codec that may have been made to run foreign code, and
nothing of it may run here.
"""

import json
import socket
import struct
import time
from collections.abc import Callable, Sequence
from typing import Any

MAX_HEAD = 1 << 20
_PREFIX = struct.Struct(">I")
_PIECE = 1 << 20


class WireError(Exception):
    """The other side ended, or sent what is no message."""


def send(
    connection: socket.socket,
    head: dict[str, Any],
    blobs: Sequence[bytes | memoryview],
    seconds: float | None,
) -> None:
    """Send one message within `seconds` (None: however long it takes). Raises `WireError`, `TimeoutError`."""
    text = json.dumps(head | {"blobs": [len(blob) for blob in blobs]}).encode()
    left = _countdown(connection, seconds)
    try:
        for piece in (_PREFIX.pack(len(text)), text, *blobs):
            left()
            connection.sendall(piece)
    except TimeoutError:
        raise
    except OSError as error:
        raise WireError("the other side takes nothing any more") from error


def receive(
    connection: socket.socket, most: int, seconds: float | None
) -> tuple[dict[str, Any], list[bytearray]] | None:
    """The next message, None when the other side ended before one began. Raises `WireError`, `TimeoutError`.

    `most` bounds the blobs together: a length is believed only up to it.
    """
    left = _countdown(connection, seconds)
    try:
        prefix = _exactly(connection, _PREFIX.size, left, may_end=True)
        if not prefix:
            return None
        [length] = _PREFIX.unpack(prefix)
        if length > MAX_HEAD:
            raise WireError("a head that is too long")
        head = json.loads(_exactly(connection, length, left))
        lengths = head.pop("blobs")
        if not all(isinstance(one, int) and one >= 0 for one in lengths) or sum(lengths) > most:
            raise WireError("more bytes than are taken")
        return head, [_exactly(connection, one, left) for one in lengths]
    except TimeoutError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise WireError("no message") from error


def _countdown(connection: socket.socket, seconds: float | None) -> Callable[[], None]:
    """Called before each operation: leaves it what is left of the time."""
    end = None if seconds is None else time.monotonic() + seconds
    connection.settimeout(seconds)

    def left() -> None:
        if end is not None:
            remaining = end - time.monotonic()
            if remaining <= 0:
                raise TimeoutError
            connection.settimeout(remaining)

    return left


def _exactly(
    connection: socket.socket, length: int, left: Callable[[], None], *, may_end: bool = False
) -> bytearray:
    content = bytearray(length)
    view, filled = memoryview(content), 0
    while filled < length:
        left()
        count = connection.recv_into(view[filled : filled + _PIECE])
        if count == 0:
            if may_end and filled == 0:
                return bytearray()
            raise WireError("the other side ended within a message")
        filled += count
    return content
