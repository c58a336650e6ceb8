"""multipart/related (RFC 2387, RFC 2046 5.1): written from streams, read without holding a part."""

from __future__ import annotations

import re
import secrets
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from starlette.responses import StreamingResponse

from services.common.errors import BadRequest, UnsupportedMedia

MAX_PART_HEADERS = 8192
# RFC 2046 allows 70 characters; Orthanc 1.10 sends 73.
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{0,199}[0-9A-Za-z'()+_,./:=?-]")


@dataclass(frozen=True, slots=True)
class Part:
    """One part to send: its type, how many bytes (None: known only once it is made), and how to read them.

    `section(offset, length)` reads a piece of it where that is cheaper than all; None where it is not.
    """

    content_type: str
    length: int | None
    read: Callable[[], Iterable[bytes]]
    section: Callable[[int, int], Iterable[bytes]] | None = None


def multipart_response(parts: Sequence[Part], part_type: str) -> StreamingResponse:
    """Answer 200 with every part; Content-Length is stated where every part's length is known."""
    boundary = secrets.token_hex(16)
    heads = [_head(boundary, part) for part in parts]
    tail = b"\r\n--" + boundary.encode() + b"--\r\n"
    lengths = [part.length for part in parts if part.length is not None]
    total = sum(map(len, heads)) + sum(lengths) + len(tail)

    def body() -> Iterator[bytes]:
        for head, part in zip(heads, parts, strict=True):
            yield head
            yield from part.read()
        yield tail

    return StreamingResponse(
        body(),
        media_type=f'multipart/related; type="{part_type}"; boundary={boundary}',
        headers={"Content-Length": str(total)} if len(lengths) == len(parts) else None,
    )


def _head(boundary: str, part: Part) -> bytes:
    lines = [f"--{boundary}", f"Content-Type: {part.content_type}"]
    if part.length is not None:
        lines.append(f"Content-Length: {part.length}")
    return ("\r\n" + "\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def boundary_of(content_type: str, part_type: str) -> str:
    """The boundary of a multipart/related body of `part_type` parts. Raises `UnsupportedMedia`, `BadRequest`."""
    kind, _, rest = content_type.partition(";")
    parameters: dict[str, str] = {
        name.lower(): quoted or plain
        for name, quoted, plain in re.findall(r'([\w-]+)\s*=\s*(?:"([^"]*)"|([^;\s]*))', rest)
    }
    if kind.strip().lower() != "multipart/related" or parameters.get("type", part_type).lower() != part_type:
        raise UnsupportedMedia(
            "The body is not multipart/related with DICOM instances.",
            action=f'Send Content-Type: multipart/related; type="{part_type}"; boundary=... (PS3.18 10.5.1).',
        )
    boundary = parameters.get("boundary", "")
    if not _BOUNDARY.fullmatch(boundary):
        raise BadRequest("The Content-Type names no usable boundary.", action="See RFC 2046 5.1.1.")
    return boundary


class PartReceiver(Protocol):
    """Who takes what `MultipartReader` finds."""

    def begin(self, headers: dict[str, str]) -> None:
        """A part starts; header names are in lower case."""

    def data(self, piece: bytes) -> None:
        """Some bytes of the part under way."""

    def end(self) -> None:
        """The part is complete."""


class MultipartReader:
    """Splits a body that arrives in pieces of any size; holds at most a delimiter and one part's headers."""

    def __init__(self, boundary: str, receiver: PartReceiver) -> None:
        self._delimiter = b"\r\n--" + boundary.encode("ascii")
        self._receiver = receiver
        # The first delimiter has no line break before it when there is no preamble.
        self._buffer = bytearray(b"\r\n")
        self._state: Callable[[], bool] = self._preamble
        self._skip_break = False
        self.complete = False

    def feed(self, piece: bytes) -> None:
        """Take the next bytes of the body. Raises `BadRequest` for a malformed one."""
        self._buffer += piece
        while self._state():
            pass

    def finish(self) -> None:
        """The body has ended. Raises `BadRequest` unless its closing delimiter came."""
        if not self.complete:
            raise BadRequest(
                "The multipart body ends before its closing delimiter.", action="Send it again, whole."
            )

    # Each state consumes from the buffer; False: it needs more bytes.

    def _preamble(self) -> bool:
        start = self._buffer.find(self._delimiter)
        if start < 0:
            del self._buffer[: -len(self._delimiter)]
            return False
        del self._buffer[: start + len(self._delimiter)]
        self._state = self._after_delimiter
        return True

    def _after_delimiter(self) -> bool:
        end = self._buffer.find(b"\r\n")
        if self._buffer.startswith(b"--"):
            self.complete = True
            self._state = self._epilogue
            return True
        if end < 0:
            if len(self._buffer) > MAX_PART_HEADERS:
                raise _malformed()
            return False
        if self._buffer[:end].strip(b" \t"):
            raise _malformed()
        # The line break stays: a part without headers has its empty line right here.
        del self._buffer[:end]
        self._state = self._headers
        return True

    def _headers(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0 or end > MAX_PART_HEADERS:
            if len(self._buffer) > MAX_PART_HEADERS:
                raise _malformed()
            return False
        lines = bytes(self._buffer[:end]).decode("latin-1").split("\r\n")
        headers = {}
        for line in filter(None, lines):
            name, colon, value = line.partition(":")
            if not colon:
                raise _malformed()
            headers[name.strip().lower()] = value.strip()
        # An empty body is followed by its delimiter at once, whose line break is the header's last.
        del self._buffer[: end + 2]
        self._receiver.begin(headers)
        self._skip_break = True
        self._state = self._body
        return True

    def _body(self) -> bool:
        if self._skip_break:
            if self._buffer.startswith(self._delimiter):
                return self._end_of_part(0)
            if len(self._buffer) < len(self._delimiter) and self._delimiter.startswith(bytes(self._buffer)):
                return False
            del self._buffer[:2]
            self._skip_break = False
        start = self._buffer.find(self._delimiter)
        if start >= 0:
            return self._end_of_part(start)
        safe = len(self._buffer) - len(self._delimiter)
        if safe > 0:
            self._receiver.data(bytes(self._buffer[:safe]))
            del self._buffer[:safe]
        return False

    def _end_of_part(self, start: int) -> bool:
        if start:
            self._receiver.data(bytes(self._buffer[:start]))
        del self._buffer[: start + len(self._delimiter)]
        self._receiver.end()
        self._state = self._after_delimiter
        return True

    def _epilogue(self) -> bool:
        self._buffer.clear()
        return False


class PartStream:
    """The parts of a body as asynchronous streams; each must be read to its end before the next."""

    def __init__(self, body: AsyncIterator[bytes], boundary: str) -> None:
        self._body = body
        self._reader = MultipartReader(boundary, self)
        self._events: deque[bytes | _Mark] = deque()

    async def parts(self) -> AsyncIterator[AsyncIterator[bytes]]:
        """Each part's content. Raises `BadRequest` for a malformed body or one that ends early."""
        while await self._next() is not None:
            yield self._content()

    async def _content(self) -> AsyncIterator[bytes]:
        while isinstance(piece := await self._next(), bytes):
            yield piece

    async def _next(self) -> bytes | _Mark | None:
        while not self._events:
            piece = await anext(self._body, None)
            if piece is None:
                self._reader.finish()
                return None
            self._reader.feed(piece)
        return self._events.popleft()

    def begin(self, headers: dict[str, str]) -> None:
        """See `PartReceiver`."""
        self._events.append(_Mark.BEGIN)

    def data(self, piece: bytes) -> None:
        """See `PartReceiver`."""
        self._events.append(piece)

    def end(self) -> None:
        """See `PartReceiver`."""
        self._events.append(_Mark.END)


class _Mark(Enum):
    BEGIN = "begin"
    END = "end"


def _malformed() -> BadRequest:
    return BadRequest("The multipart body is malformed.", action="Write it as RFC 2046 5.1.1 says.")
