"""HTTP connections to a subject on loopback: what fills it and looks into it, and what one caller after the other waits."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import uuid
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urlencode

from bench.errors import ClientError
from bench.subjects.subject import WebAddress

JSON = "application/dicom+json"
COUNT = "00201208"
"""Number of Study Related Instances."""
_SECONDS = 300.0
_BLOCK = 1 << 20


class _AtLoopback(http.client.HTTPSConnection):
    """Connects to 127.0.0.1 and asks for, and checks, the name in the address."""

    def __init__(self, address: WebAddress) -> None:
        self._tls = ssl.create_default_context(cafile=str(address.ca_file) if address.ca_file else None)
        super().__init__(address.name, address.port, timeout=_SECONDS, context=self._tls)

    def connect(self) -> None:
        plain = socket.create_connection(("127.0.0.1", self.port), self.timeout)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = self._tls.wrap_socket(plain, server_hostname=self.host)


class Connection:
    """One kept-alive connection."""

    def __init__(self, address: WebAddress) -> None:
        self._address = address
        self._http: http.client.HTTPConnection = (
            _AtLoopback(address)
            if address.base.startswith("https:")
            else http.client.HTTPConnection("127.0.0.1", address.port, timeout=_SECONDS)
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def get(self, path: str, accept: str, **query: str) -> bytes:
        """The whole body of an answer 200, or nothing of a 204. Raises ClientError for any other."""
        target = self._address.path + path + (f"?{urlencode(query, quote_via=quote)}" if query else "")
        return self._ask("GET", target, None, {"Accept": accept})

    def size(self, path: str, accept: str) -> int:
        """How many bytes the body has that a GET brings; they are read and let go."""
        answer = self._answer("GET", self._address.path + path, None, {"Accept": accept})
        block, size = bytearray(_BLOCK), 0
        while count := answer.readinto(block):
            size += count
        return size

    def count(self, study: str) -> int:
        """How many instances of `study` a search finds."""
        body = self.get("/studies", JSON, StudyInstanceUID=study, includefield=COUNT)
        found: list[dict[str, Any]] = json.loads(body) if body else []
        return int(found[0][COUNT]["Value"][0]) if found else 0

    def store(self, body: StowBody) -> None:
        """STOW-RS. Raises ClientError unless every part was taken."""
        headers = {"Content-Type": body.content_type, "Accept": JSON}
        answer = json.loads(self._ask("POST", f"{self._address.path}/studies", body.data, headers))
        taken = len(answer.get("00081199", {}).get("Value", []))
        if taken != body.parts:
            raise ClientError(
                f"{taken} of {body.parts} parts were taken", json.dumps(answer)[:300], "See the log."
            )

    def _ask(self, method: str, target: str, body: bytes | None, headers: Mapping[str, str]) -> bytes:
        return self._answer(method, target, body, headers).read()

    def _answer(
        self, method: str, target: str, body: bytes | None, headers: Mapping[str, str]
    ) -> http.client.HTTPResponse:
        try:
            self._http.request(method, target, body, {**self._address.headers, **headers})
            answer = self._http.getresponse()
        except (OSError, http.client.HTTPException) as error:
            self._http.close()
            raise ClientError(
                f"{method} {target} was not answered", repr(error), "See the subject's log."
            ) from error
        if answer.status not in (200, 204):
            why = answer.read()[:300].decode(errors="replace")
            raise ClientError(
                f"{method} {target} was answered {answer.status}", why, "See the subject's log."
            )
        return answer


class StowBody:
    """Part 10 files as one multipart/related message (PS3.18 8.6.1, 10.5)."""

    def __init__(self, files: Iterable[bytes]) -> None:
        boundary = uuid.uuid4().hex
        pieces: list[bytes] = []
        self.parts = 0
        for file in files:
            pieces += [f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode(), file, b"\r\n"]
            self.parts += 1
        self.data = b"".join([*pieces, f"--{boundary}--\r\n".encode()])
        self.content_type = f'multipart/related; type="application/dicom"; boundary={boundary}'


def stowed(files: Sequence[bytes], parts: int) -> list[StowBody]:
    """Bodies of at most `parts` files each."""
    return [StowBody(files[start : start + parts]) for start in range(0, len(files), parts)]
