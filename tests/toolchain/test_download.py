"""The download path, against a real HTTP server on this machine that misbehaves as told."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolchain.download import Downloads, parse_checksum
from toolchain.errors import ChecksumError, UnreachableError

CONTENT = bytes(range(256)) * 2000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Vendor:
    """A vendor's server: what it serves, how it misbehaves, and what it was asked."""

    files: dict[str, bytes] = field(default_factory=dict)
    cut_after: list[int] = field(default_factory=list)
    ranges: bool = True
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    url: str = ""


@pytest.fixture
def vendor() -> Iterator[Vendor]:
    """A server on a free port of the loopback, ended with the test."""
    state = Vendor(files={"/tool": CONTENT, "/SHA256SUMS": f"{SHA256}  tool\n".encode()})

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            state.asked.append((self.path, wanted))
            content = state.files.get(self.path)
            if content is None:
                self.send_error(404)
                return
            start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and state.ranges else 0
            if start >= len(content) and start:
                self.send_error(416)
                return
            body = content[start:]
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            cut = state.cut_after.pop(0) if state.cut_after and self.path == "/tool" else len(body)
            self.wfile.write(body[:cut])
            self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    yield state
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def downloads(tmp_path: Path) -> Iterator[Downloads]:
    with Downloads(tmp_path / "downloads") as opened:
        yield opened


def ignore(have: int, total: int | None) -> None:
    """A report that nobody reads."""


def test_a_good_file_arrives_whole_and_under_its_name(vendor: Vendor, downloads: Downloads) -> None:
    reported: list[tuple[int, int | None]] = []
    path = downloads.fetch(f"{vendor.url}/tool", SHA256, lambda have, total: reported.append((have, total)))
    assert path.read_bytes() == CONTENT
    assert path.name == "tool"
    assert reported[-1] == (len(CONTENT), len(CONTENT))


def test_a_file_that_is_there_is_not_asked_for_again(vendor: Vendor, downloads: Downloads) -> None:
    downloads.fetch(f"{vendor.url}/tool", SHA256, ignore)
    downloads.fetch(f"{vendor.url}/tool", SHA256, ignore)
    assert len(vendor.asked) == 1


def test_a_damaged_file_in_the_cache_is_fetched_anew(vendor: Vendor, downloads: Downloads) -> None:
    path = downloads.fetch(f"{vendor.url}/tool", SHA256, ignore)
    path.write_bytes(CONTENT[:-1] + b"x")
    assert downloads.fetch(f"{vendor.url}/tool", SHA256, ignore).read_bytes() == CONTENT


def test_a_truncated_download_continues_where_it_was_cut(vendor: Vendor, downloads: Downloads) -> None:
    vendor.cut_after = [100_000, 50_000]
    assert downloads.fetch(f"{vendor.url}/tool", SHA256, ignore).read_bytes() == CONTENT
    assert [wanted for _, wanted in vendor.asked] == [None, "bytes=100000-", "bytes=150000-"]


def test_a_download_of_an_earlier_run_is_continued(vendor: Vendor, tmp_path: Path) -> None:
    vendor.cut_after = [60_000, 0, 0, 0]
    with Downloads(tmp_path) as first, pytest.raises(UnreachableError, match="cut 4 times") as cut:
        first.fetch(f"{vendor.url}/tool", SHA256, ignore)
    assert "continues after 60000 bytes" in cut.value.action
    with Downloads(tmp_path) as second:
        assert second.fetch(f"{vendor.url}/tool", SHA256, ignore).read_bytes() == CONTENT
    assert vendor.asked[-1] == ("/tool", "bytes=60000-")


def test_a_server_without_ranges_sends_it_all_again(vendor: Vendor, downloads: Downloads) -> None:
    vendor.cut_after, vendor.ranges = [1000], False
    assert downloads.fetch(f"{vendor.url}/tool", SHA256, ignore).read_bytes() == CONTENT


def test_an_altered_file_is_refused_and_not_kept(
    vendor: Vendor, downloads: Downloads, tmp_path: Path
) -> None:
    vendor.files["/tool"] = CONTENT[:-1] + b"\0"
    with pytest.raises(ChecksumError) as refused:
        downloads.fetch(f"{vendor.url}/tool", SHA256, ignore)
    assert SHA256 in refused.value.why
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_the_rest_of_another_file_is_thrown_away_and_fetched_once_more(
    vendor: Vendor, downloads: Downloads, tmp_path: Path
) -> None:
    part = tmp_path / "downloads" / SHA256[:16] / "tool.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"another release" * 1000)
    assert downloads.fetch(f"{vendor.url}/tool", SHA256, ignore).read_bytes() == CONTENT


def test_a_complete_part_file_is_used_without_a_body(
    vendor: Vendor, downloads: Downloads, tmp_path: Path
) -> None:
    part = tmp_path / "downloads" / SHA256[:16] / "tool.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(CONTENT)
    assert downloads.fetch(f"{vendor.url}/tool", SHA256, ignore).read_bytes() == CONTENT
    assert not part.exists()


def test_a_file_that_the_vendor_does_not_have_is_unreachable_not_corrupt(
    vendor: Vendor, downloads: Downloads
) -> None:
    with pytest.raises(UnreachableError, match="404"):
        downloads.fetch(f"{vendor.url}/nothing", SHA256, ignore)
    with pytest.raises(UnreachableError, match="404"):
        downloads.vendor_checksum(f"{vendor.url}/nothing", "tool")


def test_a_host_that_does_not_answer_is_asked_once_a_run(downloads: Downloads) -> None:
    with pytest.raises(UnreachableError, match=r"127.0.0.1:1 cannot be reached"):
        downloads.fetch("http://127.0.0.1:1/tool", SHA256, ignore)
    downloads._client.close()  # a second question would now fail as a closed client, not as unreachable
    with pytest.raises(UnreachableError, match=r"127.0.0.1:1 cannot be reached"):
        downloads.vendor_checksum("http://127.0.0.1:1/SHA256SUMS", "tool")


def test_the_vendors_checksum_file_is_read(vendor: Vendor, downloads: Downloads) -> None:
    assert downloads.vendor_checksum(f"{vendor.url}/SHA256SUMS", "tool") == SHA256


@pytest.mark.parametrize(
    "text",
    [
        SHA256,
        f"{SHA256}\n",
        SHA256.upper(),
        f"{SHA256}  tool\n{'0' * 64}  other\n",
        f"{SHA256} *tool",
        f"{SHA256}  ./dist/tool",
    ],
)
def test_every_form_of_a_vendors_checksum_file_is_understood(text: str) -> None:
    assert parse_checksum(text, "tool", "url") == SHA256


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<html>sign in to the network</html>",
        SHA256[:-1],
        f"{SHA256}  tool.sbom",
        f"{SHA256}  tool\n{'0' * 64}  tool\n",
        f"{SHA256}\n{'0' * 64}\n",
    ],
)
def test_a_checksum_file_that_does_not_name_exactly_one_hash_is_refused(text: str) -> None:
    with pytest.raises(ChecksumError):
        parse_checksum(text, "tool", "url")


@given(st.text(), st.text(min_size=1))
def test_no_text_makes_the_parser_answer_anything_but_a_hash(text: str, name: str) -> None:
    try:
        found = parse_checksum(text, name, "url")
    except ChecksumError:
        return
    assert len(found) == 64
    assert set(found) <= set("0123456789abcdef")
