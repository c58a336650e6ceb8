"""A small S3 server for tests of the read path where no Ceph is installed: one bucket in memory, over TLS.

A signed GET is judged with botocore's own signer, so that our signatures are not compared with themselves. What
only a real gateway shows (its parser, its errors, its speed) is left to the tests on radosgw.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

from tests.integration.ceph import S3Endpoint, write_certificates
from tests.services.archive.reading.presigned import botocore_signature

_CUSTOMER = "x-amz-server-side-encryption-customer-"


class SmallS3(ThreadingHTTPServer):
    """`objects` by path; `reads` are the (path, Range) of signed GETs; `away` makes it answer 503 to these."""

    daemon_threads = True

    def __init__(self, directory: Path) -> None:
        write_certificates(directory)
        super().__init__(("127.0.0.1", 0), _Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(directory / "gateway.pem")
        self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.objects: dict[str, bytes] = {}
        self.kept: dict[str, dict[str, str]] = {}  # the headers that an object was put with
        self.reads: list[tuple[str, str | None]] = []
        self.headers_of_reads: list[dict[str, str]] = []
        self.away = False
        self.endpoint = S3Endpoint(
            f"https://127.0.0.1:{self.server_address[1]}", "test", secrets.token_hex(16), directory / "ca.pem"
        )

    def handle_error(self, *_: Any) -> None:
        """A client that goes away is no matter of the test."""

    def signature_holds(self, target: str, headers: dict[str, str]) -> bool:
        """Whether the query signs this GET with our key, now, and every customer header with it."""
        parts = urlsplit(target)
        query = dict(parse_qsl(parts.query))
        signed = query["X-Amz-SignedHeaders"].split(";")
        made = datetime.strptime(query["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        lasts = int(query["X-Amz-Expires"])
        if datetime.now(UTC) > made + timedelta(seconds=lasts) or any(
            name.startswith(_CUSTOMER) and name not in signed for name in headers
        ):
            return False
        wanted = botocore_signature(
            target, headers["host"], self.endpoint.access_key, self.endpoint.secret_key,
            {name: headers.get(name, "") for name in signed if name != "host"},
        )  # fmt: skip
        return secrets.compare_digest(wanted, query.get("X-Amz-Signature", ""))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: SmallS3

    def do_GET(self) -> None:
        path, query = urlsplit(self.path).path, urlsplit(self.path).query
        headers = {name.lower(): value for name, value in self.headers.items()}
        if "list-type" in query:
            return self._answer(200, self._listing(parse_qs(query).get("prefix", [""])[0]))
        if refused := self._refusal(path, query, headers):
            return self._answer(*refused)
        content = self.server.objects[path]
        match = re.fullmatch(r"bytes=(\d+)-(\d+)", headers.get("range", ""))
        if not match:
            return self._answer(200, content, path)
        first, last = int(match[1]), int(match[2])
        span = f"bytes {first}-{last}/{len(content)}"
        return self._answer(206, content[first : last + 1], path, {"Content-Range": span})

    def _refusal(self, path: str, query: str, headers: dict[str, str]) -> tuple[int, bytes] | None:
        if "X-Amz-Signature" in query:
            self.server.reads.append((path, headers.get("range")))
            self.server.headers_of_reads.append(headers)
            if self.server.away:
                return 503, b""
            if not self.server.signature_holds(self.path, headers):
                return 403, _error("SignatureDoesNotMatch")
        if path not in self.server.objects:
            return 404, _error("NoSuchKey")
        return None if self._opens(path, headers) else (400, _error("InvalidRequest"))

    def do_HEAD(self) -> None:
        path = urlsplit(self.path).path
        content = self.server.objects.get(path)
        if content is None:
            return self._answer(404)
        headers = {name.lower(): value for name, value in self.headers.items()}
        return self._answer(200, content, path) if self._opens(path, headers) else self._answer(400)

    def _opens(self, path: str, headers: dict[str, str]) -> bool:
        """Whether these headers open the object: with the key that it was put with, or in clear without one."""
        name = _CUSTOMER + "key-md5"
        return name not in self.server.kept[path] or self.server.kept[path][name] == headers.get(name)

    def do_PUT(self) -> None:
        path = urlsplit(self.path).path
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if path in self.server.objects:
            return self._answer(412, _error("PreconditionFailed"))
        self.server.objects[path] = content
        self.server.kept[path] = {name.lower(): value for name, value in self.headers.items()}
        return self._answer(200, b"", path)

    def _listing(self, prefix: str) -> bytes:
        names = sorted(path.split("/", 2)[2] for path in self.server.objects)
        entries = "".join(
            f"<Contents><Key>{name}</Key></Contents>" for name in names if name.startswith(prefix)
        )
        return f"<ListBucketResult><IsTruncated>false</IsTruncated>{entries}</ListBucketResult>".encode()

    def _answer(
        self, status: int, body: bytes = b"", path: str | None = None, more: dict[str, str] | None = None
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Type", "binary/octet-stream")
        if path is not None:
            content = self.server.objects[path]
            self.send_header("ETag", f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"')
            for name, value in self.server.kept[path].items():
                if name.startswith(("x-amz-meta-", _CUSTOMER)) and name != _CUSTOMER + "key":
                    self.send_header(name, value)
        for name, value in (more or {}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _error(code: str) -> bytes:
    return f"<Error><Code>{code}</Code></Error>".encode()


@contextmanager
def running_small_s3(directory: Path) -> Iterator[SmallS3]:
    """The server for the time of the block."""
    with SmallS3(directory) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield server
        server.shutdown()
