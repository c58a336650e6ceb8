from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from email import message_from_bytes
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest

from bench.clients.web import JSON, Connection, StowBody, stowed
from bench.errors import ClientError
from bench.subjects.subject import WebAddress


class Archive(BaseHTTPRequestHandler):
    """Answers what it is told to, and keeps what it was asked."""

    protocol_version = "HTTP/1.1"
    status: ClassVar[int] = 200
    body: ClassVar[bytes] = b"[]"
    asked: ClassVar[list[tuple[str, str | None]]] = []

    def do_GET(self) -> None:
        self.asked.append((self.path, self.headers["Authorization"]))
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    do_POST = do_GET  # noqa: N815 - the name that the server looks for

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def address() -> Iterator[WebAddress]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Archive)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    Archive.status, Archive.body = 200, b"[]"
    Archive.asked.clear()
    yield WebAddress(f"http://127.0.0.1:{server.server_port}/dicom-web", {"Authorization": "Bearer x"})
    server.shutdown()
    server.server_close()


def test_the_address_of_a_name_is_loopback_and_its_path_is_kept() -> None:
    address = WebAddress("https://pacs.pacs.local.test:8443/dicom-web")
    assert (address.name, address.port, address.path) == ("pacs.pacs.local.test", 8443, "/dicom-web")
    assert (WebAddress("https://a.test").port, WebAddress("http://a.test").port) == (443, 80)


def test_instances_are_counted_by_a_search(address: WebAddress) -> None:
    with Connection(address) as connection:
        assert connection.count("1.2.3") == 0
        Archive.body = json.dumps([{"00201208": {"vr": "IS", "Value": [7]}}]).encode()
        assert connection.count("1.2.3") == 7
    assert Archive.asked[0] == ("/dicom-web/studies?StudyInstanceUID=1.2.3&includefield=00201208", "Bearer x")


def test_a_search_without_results_finds_none(address: WebAddress) -> None:
    Archive.status, Archive.body = 204, b""
    with Connection(address) as connection:
        assert connection.count("1.2.3") == 0


@pytest.mark.parametrize("status", [206, 301, 401, 404, 500])
def test_any_other_answer_is_told_with_its_reason(address: WebAddress, status: int) -> None:
    Archive.status, Archive.body = status, b"because"
    with Connection(address) as connection, pytest.raises(ClientError, match=f"{status}: because"):
        connection.get("/studies", JSON)


def test_an_archive_that_took_less_than_all_parts_has_failed(address: WebAddress) -> None:
    Archive.body = json.dumps({"00081199": {"vr": "SQ", "Value": [{}]}}).encode()
    with Connection(address) as connection:
        connection.store(StowBody([b"a"]))
        with pytest.raises(ClientError, match="1 of 2 parts were taken"):
            connection.store(StowBody([b"a", b"b"]))


def test_nobody_listening_is_told() -> None:
    with (
        Connection(WebAddress("http://127.0.0.1:1")) as connection,
        pytest.raises(ClientError, match="not answered"),
    ):
        connection.get("/studies", JSON)


def test_the_size_of_an_answer_is_all_of_its_body(address: WebAddress) -> None:
    Archive.body = b"x" * 3_000_000
    with Connection(address) as connection:
        assert connection.size("/studies/1", "*/*") == 3_000_000


def test_a_message_has_a_part_for_each_file() -> None:
    files = [b"one\r\n--two", b"", b"three\x00"]
    body = StowBody(files)
    message = message_from_bytes(f"Content-Type: {body.content_type}\r\n\r\n".encode() + body.data)
    parts = message.get_payload()
    assert isinstance(parts, list)
    assert [part.get_payload(decode=True) for part in parts] == files
    assert {part.get_content_type() for part in parts} == {"application/dicom"}


def test_files_are_shared_out_over_messages() -> None:
    assert [body.parts for body in stowed([b"x"] * 25, 10)] == [10, 10, 5]
    assert stowed([], 10) == []
