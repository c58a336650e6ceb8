"""The centre over HTTPS (contracts section 7): mutual TLS, bodies streamed, dead lines noticed."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import httpx

from services.common.problem import TYPE_PREFIX
from services.edge.errors import ForwardingError, IdentityRefused, LineDown, PackRefused, ReceiptRejected

# A line that dies silently (half-open, 200 s without a packet) must not hold a connection for hours:
# unacknowledged bytes give up after a minute, an idle wait after 15 s + 4 x 5 s (tcp(7)).
_SOCKET_OPTIONS = [
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 15),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 60_000),
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
]
_CERTIFICATE_PROBLEM = TYPE_PREFIX + "client-certificate"
_NEVER = frozenset({400, 403, 413})  # sending the same pack again cannot change these
_LINE = frozenset({401, 408, 429, 502, 503, 504, 507})  # these are about the centre, not about the pack


class HttpCentre:
    """`Centre` with one pooled HTTP/1.1 connection for each pack under way."""

    def __init__(
        self,
        url: str,
        tls_context: Callable[[], ssl.SSLContext],
        *,
        connections: int,
        connect_seconds: float,
        answer_seconds: float,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._url = url
        self._tls_context = tls_context
        self._connections = connections
        self._timeout = httpx.Timeout(answer_seconds, connect=connect_seconds, write=60.0)
        self._transport = transport
        self._http = self._client()

    def reconnect(self) -> None:
        """Show the certificate that lies on disk now in every exchange that begins after this.

        The old client is left to the exchanges that are under way with it; changing its TLS context while
        another thread shakes hands with it is not safe.
        """
        self._http = self._client()

    def _client(self) -> httpx.Client:
        limits = httpx.Limits(
            max_connections=self._connections,
            max_keepalive_connections=self._connections,
            keepalive_expiry=60,
        )
        transport = self._transport or httpx.HTTPTransport(
            verify=self._tls_context(), limits=limits, socket_options=_SOCKET_OPTIONS, trust_env=False
        )
        return httpx.Client(
            base_url=self._url,
            transport=transport,
            timeout=self._timeout,
            headers={"User-Agent": "pacs-edge"},
            trust_env=False,
        )

    def receipts(self, pack_id: str) -> list[str] | None:
        """See `Centre.receipts`."""
        answer = self._send("GET", pack_id, None)
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        return _receipts(answer, pack_id)

    def put(self, pack_id: str, path: Path) -> list[str]:
        """See `Centre.put`."""
        with path.open("rb") as body:
            return _receipts(self._send("PUT", pack_id, body), pack_id)

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def _send(self, method: str, pack_id: str, body: Any) -> httpx.Response:
        headers = {"Content-Type": "application/octet-stream"} if body is not None else {}
        try:
            return self._http.request(method, f"/ingest/v1/packs/{pack_id}", content=body, headers=headers)
        except httpx.TimeoutException as error:
            raise LineDown(f"the centre was silent ({type(error).__name__})", reason="timeout") from error
        except httpx.TransportError as error:
            refused = (
                isinstance(error.__cause__ or error.__context__, ssl.SSLError)
                or "SSL" in type(error).__name__
            )
            reason = "tls" if refused else "network"
            raise LineDown(f"no exchange with the centre ({type(error).__name__})", reason=reason) from error


def _receipts(answer: httpx.Response, pack_id: str) -> list[str]:
    if answer.status_code != httpx.codes.OK:
        _refuse(answer)
    try:
        document = answer.json()
        named, receipts = document["pack_id"], list(document["receipts"])
    except (ValueError, KeyError, TypeError):
        named, receipts = None, []
    if named != pack_id or not all(isinstance(receipt, str) for receipt in receipts):
        raise ReceiptRejected(
            "the centre's answer is not the document of contracts section 7", reason="answer"
        )
    return receipts


def _refuse(answer: httpx.Response) -> NoReturn:
    """Raise what the status means.

    Only a problem document speaks about a pack: a bare 400 or 403 comes from a box in between, and no pack
    is set aside on the word of one.
    """
    problem = _problem(answer)
    status = answer.status_code
    detail = str(problem.get("detail") or answer.reason_phrase)[:500]
    if problem.get("type") == _CERTIFICATE_PROBLEM:
        raise IdentityRefused(
            detail,
            reason="certificate",
            action="The certificate is renewed by itself; if it was revoked, enrol again.",
        )
    if status in _NEVER and problem:
        raise PackRefused(f"the centre answered {status}: {detail}", reason=f"http_{status}", problem=problem)
    if status in _LINE or not problem:
        raise LineDown(
            f"the centre answered {status}: {detail}",
            reason=f"http_{status}",
            retry_after=_retry_after(answer),
        )
    error = ForwardingError(
        f"the centre answered {status}: {detail}",
        action="It is sent again; read the centre's log if it stays.",
    )
    error.reason = f"http_{status}"
    raise error


def _problem(answer: httpx.Response) -> dict[str, Any]:
    if answer.headers.get("content-type", "").partition(";")[0].strip() != "application/problem+json":
        return {}
    try:
        document = answer.json()
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _retry_after(answer: httpx.Response) -> float | None:
    """Seconds of Retry-After (RFC 9110 10.2.3), at most an hour; the date form is not used by our centre."""
    value = answer.headers.get("retry-after", "")
    return min(float(value), 3600.0) if value.isascii() and value.isdigit() else None
