"""What is behind the gateway: real nginx says nothing to a server that is not the region's archive or Prometheus."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from socketserver import BaseRequestHandler, TCPServer

import httpx
import pytest

from bench.network import free_port
from infra.pki.certificates import ensure_server_certificate
from infra.pki.region_ca import RegionNames, ensure_region_ca
from services.common.tls import server_context
from services.enrolment.identity import IdentityFiles
from tests.integration.region_door import (
    ARCHIVE_NAME,
    DOMAIN,
    NAMES,
    PASSPHRASE,
    Door,
    listening,
    resolve_locally,
)
from tests.integration.remote_write import literal, series
from tests.integration.upstream import Upstream

pytestmark = pytest.mark.integration
PACK = "/ingest/v1/packs/" + "a" * 64
TOKEN = "Bearer a-token-that-must-not-leave"
REQUESTS = [
    ("PUT", PACK),
    ("GET", "/dicom-web/studies"),
    ("GET", "/auth/v1/check"),
    ("GET", "/ops/prometheus/api/v1/query"),
]


class Eavesdropper(TCPServer):
    """Takes connections in clear, keeps every byte and answers 200, as whoever sits on the nodes' network would."""

    allow_reuse_address = True

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", port), _Agree)
        self.heard = b""
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


class _Agree(BaseRequestHandler):
    server: Eavesdropper

    def handle(self) -> None:
        self.server.heard += self.request.recv(65536)
        self.request.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """A gateway; who stands at the archive's address is each test's business."""
    door = Door(tmp_path_factory.mktemp("door"), free_port(), free_port())
    with pytest.MonkeyPatch.context() as patch:
        resolve_locally(patch)
        with door.step_ca(), door.gateway():
            yield door


@pytest.fixture(scope="module")
def site(door: Door) -> IdentityFiles:
    return door.enrol("yanan", "yanchang")


def ask(door: Door, site: IdentityFiles, method: str, path: str) -> httpx.Response:
    context = site.tls_context(client=True)
    with httpx.Client(base_url=door.url, verify=context, trust_env=False, timeout=10) as http:
        return http.request(method, path, headers={"Authorization": TOKEN})


def of_another_name(door: Door, _: Path) -> ssl.SSLContext:
    """A server of the region, with a certificate of the same authority: whoever holds its key is not the archive."""
    return door.server(f"pacs.{DOMAIN}").context()


def of_another_ca(_: Door, directory: Path) -> ssl.SSLContext:
    """The right name, by an authority that calls itself the same."""
    now = datetime.now(UTC)
    foreign = ensure_region_ca(directory, PASSPHRASE, RegionNames(NAMES.region, NAMES.domain), now)
    pair = ensure_server_certificate(foreign, directory, PASSPHRASE, [ARCHIVE_NAME], now)
    (directory / "chain").write_bytes(pair.chain_pem)
    (directory / "key").write_bytes(pair.key_pem)
    return server_context(directory / "chain", directory / "key")


def of_the_sites_authority(door: Door, _: Path) -> ssl.SSLContext:
    """What a branch holds: signed by the region too, but for a client."""
    files = door.enrol("yanan", "posing")
    return server_context(files.certificate, files.key)


def of_old_tls(door: Door, _: Path) -> ssl.SSLContext:
    """The archive itself, offering TLS 1.1 alone."""
    context = door.server().context()
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    return context


STRANGERS = [of_another_name, of_another_ca, of_the_sites_authority, of_old_tls]


@pytest.mark.parametrize("stranger", STRANGERS)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_server_that_does_not_prove_to_be_the_archive_is_told_nothing(
    door: Door, site: IdentityFiles, tmp_path: Path, stranger: Callable[[Door, Path], ssl.SSLContext]
) -> None:
    with Upstream(door.archive_port, stranger(door, tmp_path)) as server:
        for method, path in REQUESTS:
            assert ask(door, site, method, path).status_code >= 500
        assert server.seen == []


@pytest.mark.parametrize(("method", "path"), REQUESTS)
def test_an_archive_that_answers_in_clear_is_refused_and_hears_no_secret(
    door: Door, site: IdentityFiles, method: str, path: str
) -> None:
    with Eavesdropper(door.archive_port) as server:
        assert ask(door, site, method, path).status_code >= 500
    assert server.heard, "the gateway has tried"
    for secret in (TOKEN, door.gateway_key.read_text().strip(), path, "HTTP/1.1"):
        assert secret.encode() not in server.heard


@pytest.mark.parametrize("of", [ARCHIVE_NAME, f"pacs.{DOMAIN}", None])
def test_figures_go_to_nobody_but_prometheus(door: Door, site: IdentityFiles, of: str | None) -> None:
    tls = door.server(of).context() if of else None
    figures = literal(series(("__name__", "up"), ("site", "yanchang")))
    with (
        Upstream(door.prometheus_port, tls) as server,
        httpx.Client(base_url=door.url, verify=site.tls_context(client=True), trust_env=False) as http,
    ):
        assert http.post("/metrics/v1/write", content=figures).status_code == 502
        assert server.seen == []


def test_an_archive_that_is_refused_is_502_with_a_problem_document(door: Door, site: IdentityFiles) -> None:
    with Upstream(door.archive_port, None):
        answer = ask(door, site, "PUT", PACK)
    assert answer.status_code == 502
    assert answer.headers["content-type"] == "application/problem+json"


def test_the_archive_with_its_own_name_is_heard_and_one_connection_serves_many_requests(
    door: Door, site: IdentityFiles
) -> None:
    with Upstream(door.archive_port, door.server().context()) as server:
        answers = [ask(door, site, "GET", "/dicom-web/studies").status_code for _ in range(20)]
        assert answers == [200] * 20
        assert server.connections == 1
        assert {headers["authorization"] for _, _, headers in server.seen} == {TOKEN}


def test_a_new_connection_resumes_the_session_of_an_earlier_one(door: Door, site: IdentityFiles) -> None:
    """The archive closes idle connections; the next one must not cost a whole handshake."""
    context = door.server().context()
    with Upstream(door.archive_port, context) as server:
        server.keeps_alive = False
        for _ in range(5):
            assert ask(door, site, "GET", "/dicom-web/studies").status_code == 200
        assert server.connections == 5
    assert context.session_stats()["hits"] == 4


def test_the_archive_that_comes_back_with_a_renewed_certificate_is_heard(
    door: Door, site: IdentityFiles
) -> None:
    for serial in range(2):
        for path in door.secrets.glob(f"{ARCHIVE_NAME}.*"):
            path.unlink()
        with Upstream(door.archive_port, door.server().context()):
            assert ask(door, site, "GET", "/dicom-web/studies").status_code == 200, serial
        assert not listening(door.archive_port)
