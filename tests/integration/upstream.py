"""A server behind the gateway that says what reached it."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Upstream(ThreadingHTTPServer):
    """Answers every request; `seen` is what was asked. Without `tls`: in clear."""

    daemon_threads = True

    def __init__(self, port: int, tls: ssl.SSLContext | None) -> None:
        super().__init__(("127.0.0.1", port), _Echo)
        self.seen: list[tuple[str, str, dict[str, str]]] = []
        self._accepted: list[socket.socket] = []
        self.keeps_alive = True
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_side=True)
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def get_request(self) -> tuple[socket.socket, object]:
        """Take a connection; one whose handshake fails is an OSError and is passed over."""
        connection, address = super().get_request()
        self._accepted.append(connection)
        return connection, address

    @property
    def connections(self) -> int:
        """How many came, one after the other or at once."""
        return len(self._accepted)

    def __exit__(self, *_: object) -> None:
        """End everything, idle connections too: the gateway would go on with them."""
        self.shutdown()
        self.server_close()
        for connection in self._accepted:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class _Echo(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Upstream

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        while length > 0:
            piece = self.rfile.read(min(length, 1 << 16))
            if not piece:
                return  # the gateway ended in the middle of the body; waiting for more would go on for ever
            length -= len(piece)
        self.server.seen.append((self.command, self.path, {k.lower(): v for k, v in self.headers.items()}))
        token = self.headers.get("Authorization", "")
        status = 200
        if self.path.startswith("/auth/v1/check"):
            status = {"Bearer ops": 200, "Bearer reader": 403}.get(token, 401)
        body = json.dumps({"path": self.path}).encode()
        self.send_response(status)
        if status == 401:
            self.send_header("WWW-Authenticate", 'Bearer realm="pacs"')
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if not self.server.keeps_alive:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_PUT = do_POST = do_HEAD = _answer  # noqa: N815 - the names http.server looks for

    def log_message(self, *_: object) -> None:
        """Say nothing."""
