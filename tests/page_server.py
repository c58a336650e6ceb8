"""A small HTTP server on loopback for what a test shows a browser."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer


class PageHandler(SimpleHTTPRequestHandler):
    """Serves files, and says nothing of it; `send` answers with something made."""

    def send(self, status: int, kind: str, body: bytes) -> None:
        """A whole answer; 204 has no body (RFC 9110 15.3.5)."""
        self.send_response(status)
        self.send_header("Content-Type", kind)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving_pages(handler: type[PageHandler]) -> Iterator[str]:
    """The server's address, for the time of the block."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
