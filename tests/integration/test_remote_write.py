"""A branch's figures on their way to the centre: real nginx, real Prometheus at both ends, hostile bodies."""

from __future__ import annotations

import signal
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import Any

import httpx
import pytest
import yaml

from bench.network import free_port
from infra.components.observability import web_configuration
from services.common.clock import SystemClock
from services.enrolment.identity import IdentityFiles
from services.gateway.settings import RefusedSite
from tests.integration.region_door import (
    PROMETHEUS_NAME,
    Door,
    program,
    resolve_locally,
    running,
)
from tests.integration.remote_write import field, label, literal, series, varint
from tests.waiting import wait_for

pytestmark = pytest.mark.integration

WRITE = "/metrics/v1/write"
MINE, THEIRS = ("site", "yanchang"), ("site", "other")


def ask(port: int, path: str, tls: ssl.SSLContext | None = None, **parameters: str) -> httpx.Response:
    """What a Prometheus on loopback answers: a branch's in clear, the centre's under its own name."""
    url = f"{'https' if tls else 'http'}://127.0.0.1:{port}{path}"
    with httpx.Client(verify=tls or True, trust_env=False) as http:
        return http.get(url, params=parameters, extensions={"sni_hostname": PROMETHEUS_NAME})


@contextmanager
def prometheus(
    folder: Path, port: int, configuration: dict[str, Any], *more: str, tls: ssl.SSLContext | None = None
) -> Iterator[Path]:
    """A Prometheus with its data in `folder`; gives its log."""
    folder.mkdir(exist_ok=True)
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(configuration))
    arguments = [
        program("prometheus", "apt-get install --no-install-recommends prometheus"),
        f"--config.file={folder}/prometheus.yaml",
        f"--storage.tsdb.path={folder}/data",
        f"--web.listen-address=127.0.0.1:{port}",
        *more,
    ]
    with running(arguments, folder / "log", port):
        wait_for(lambda: ask(port, "/-/ready", tls).status_code == 200, 20, "Prometheus is ready")
        yield folder / "log"


def centre(door: Door, configuration: dict[str, Any] | None = None) -> AbstractContextManager[Path]:
    """The data centre's Prometheus with the web configuration that it has in the cluster."""
    shown, web = door.server(PROMETHEUS_NAME), web_configuration()
    web["tls_server_config"] |= {"cert_file": str(shown.certificate), "key_file": str(shown.key)}
    file = door.directory / "web.yaml"
    file.write_text(yaml.safe_dump(web))
    options = ("--web.enable-remote-write-receiver", f"--web.config.file={file}")
    return prometheus(
        door.directory / "centre",
        door.prometheus_port,
        configuration or {},
        *options,
        tls=door.client_context(),
    )


def values(port: int, query: str, tls: ssl.SSLContext | None = None) -> list[dict[str, Any]]:
    """What a Prometheus answers to an instant query."""
    found: list[dict[str, Any]] = ask(port, "/api/v1/query", tls, query=query).json()["data"]["result"]
    return found


def at_centre(door: Door, query: str) -> list[dict[str, Any]]:
    """What the centre's Prometheus answers."""
    return values(door.prometheus_port, query, door.client_context())


class Relay(ThreadingTCPServer):
    """Carries CONNECT to this machine whatever the name: Prometheus resolves names where no test can reach."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Connect)
        self.port = int(self.server_address[1])
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()


class _Connect(StreamRequestHandler):
    def handle(self) -> None:
        port = int(self.rfile.readline().split()[1].rpartition(b":")[2])
        while self.rfile.readline().strip():
            pass
        with socket.create_connection(("127.0.0.1", port)) as inner:
            self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
            threading.Thread(target=_carry, args=(inner, self.connection), daemon=True).start()
            _carry(self.connection, inner)


def _carry(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while part := source.recv(65536):
            sink.sendall(part)
        sink.shutdown(socket.SHUT_WR)


@pytest.fixture(scope="module")
def relay_port() -> Iterator[int]:
    with Relay() as relay:
        yield relay.port
        relay.shutdown()


def branch_configuration(
    door: Door, identity: IdentityFiles, own_port: int, site: str, relay_port: int
) -> dict[str, Any]:
    """What the role gives a branch, as far as the line is concerned."""
    return {
        "global": {"scrape_interval": "1s", "external_labels": {"site": site}},
        "scrape_configs": [
            {"job_name": "prometheus", "static_configs": [{"targets": [f"127.0.0.1:{own_port}"]}]}
        ],
        "remote_write": [
            {
                "url": f"{door.url}{WRITE}",
                "proxy_url": f"http://127.0.0.1:{relay_port}",
                "tls_config": {
                    "ca_file": str(identity.root),
                    "cert_file": str(identity.certificate),
                    "key_file": str(identity.key),
                },
                "queue_config": {"batch_send_deadline": "1s"},
            }
        ],
    }


@pytest.fixture(scope="module")
def patch() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        resolve_locally(patch)
        yield patch


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory, patch: pytest.MonkeyPatch) -> Iterator[Door]:
    """The gateway before a real Prometheus that takes remote writes; nobody stands for the archive."""
    folder = tmp_path_factory.mktemp("door")
    door = Door(
        folder,
        archive_port=1,
        prometheus_port=free_port(),
        refused_sites=(RefusedSite(institution="yanan", site="stolen"),),
    )
    with door.step_ca(), door.gateway(), centre(door):
        yield door


@pytest.fixture(scope="module")
def site(door: Door) -> IdentityFiles:
    return door.enrol("yanan", "yanchang")


def send(door: Door, identity: IdentityFiles | None, body: bytes, **headers: str) -> httpx.Response:
    context = identity.tls_context(client=True) if identity else door.client_context()
    with httpx.Client(base_url=door.url, verify=context, trust_env=False) as http:
        return http.post(WRITE, content=body, headers=headers)


def test_a_branchs_prometheus_reaches_the_centres_with_the_sites_certificate(
    door: Door, site: IdentityFiles, tmp_path: Path, relay_port: int
) -> None:
    own = free_port()
    with prometheus(tmp_path / "branch", own, branch_configuration(door, site, own, "yanchang", relay_port)):
        wait_for(lambda: bool(at_centre(door, 'up{site="yanchang"}')), 30, "the branch's figures")


def test_a_branchs_prometheus_that_poses_as_another_site_writes_nothing(
    door: Door, site: IdentityFiles, tmp_path: Path, relay_port: int
) -> None:
    own = free_port()
    with prometheus(
        tmp_path / "branch", own, branch_configuration(door, site, own, "other", relay_port)
    ) as log:
        wait_for(lambda: "foreign-series" in log.read_text(), 30, "the refusal in the sender's log")
    assert at_centre(door, '{site="other"}') == []


def test_what_is_written_is_of_the_site(door: Door, site: IdentityFiles) -> None:
    body = literal(series(("__name__", "written_by_hand"), MINE))
    assert send(door, site, body).status_code == 204
    (found,) = at_centre(door, "written_by_hand")
    assert found["metric"]["site"] == "yanchang"


def test_a_block_with_copies_is_read_as_prometheus_reads_it(door: Door, site: IdentityFiles) -> None:
    first, second = (series(("__name__", "copied"), ("n", n), MINE) for n in "12")
    shared = len(first) - first.rindex(b"n", 0, first.index(b"site")) - 8  # bytes after the value of n
    head = second[: len(second) - shared]
    copies = bytes([(shared - 1) << 2 | 2]) + len(first).to_bytes(2, "little")
    block = (
        varint(len(first) + len(second)) + literal(first + head)[len(varint(len(first + head))) :] + copies
    )
    assert send(door, site, block).status_code == 204
    assert {found["metric"]["n"] for found in at_centre(door, "copied")} == {"1", "2"}


HOSTILE: dict[str, bytes] = {
    "another site": literal(series(("__name__", "foreign"), THEIRS)),
    "no site": literal(series(("__name__", "foreign"))),
    "its own site and another one": literal(series(("__name__", "foreign"), MINE, THEIRS)),
    "its own site twice": literal(series(("__name__", "foreign"), MINE, MINE)),
    "one series of its own, one of another": literal(
        series(("__name__", "own"), MINE) + series(("__name__", "foreign"), THEIRS)
    ),
    "a label whose name comes twice, the last one counts": literal(
        field(1, label("__name__", "foreign") + field(1, label(*MINE)[2:] + field(1, b"job")))
    ),
    "a tag beyond 32 bits, which another reader cuts to a series": literal(
        varint(1 << 35 | 1 << 3 | 2) + series(("__name__", "foreign"), THEIRS)[1:]
    ),
    "fields of remote write 2.0": literal(field(4, b"site") + field(5, b"series")),
    "a field that is no message": literal(b"\x08\x01"),
    "a group": literal(b"\x0b" + series(("__name__", "foreign"), THEIRS) + b"\x0c"),
    "a length beyond the end": literal(b"\x0a\x7fabc"),
    "no snappy": b"\x80",
    "empty": b"",
    "a promise of 4 GiB": varint((1 << 32) - 1) + b"\x00a",
    "fewer bytes than promised": varint(400) + b"\x00a",
    "more bytes than promised": varint(1) + b"\x04ab",
    "a copy of what was not made": varint(4) + b"\x01\x09",
    "a copy from nowhere": varint(8) + b"\x0cabcd" + b"\x01\x00",
    "a literal beyond the end": varint(9) + b"\xf4\xff\xff",
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE)
def test_a_request_that_holds_anything_else_is_refused_whole(
    door: Door, site: IdentityFiles, body: bytes
) -> None:
    answer = send(door, site, body)
    assert answer.status_code == 400
    assert answer.json()["type"] == "urn:pacs:problem:foreign-series"
    assert at_centre(door, '{__name__=~"foreign|own"}') == []


def test_the_sender_cannot_choose_another_format(door: Door, site: IdentityFiles) -> None:
    """What was checked as 1.0 must be read as 1.0, whatever the headers say."""
    headers = {
        "Content-Type": "application/x-protobuf;proto=io.prometheus.write.v2.Request",
        "Content-Encoding": "identity",
        "X-Prometheus-Remote-Write-Version": "2.0.0",
    }
    body = literal(series(("__name__", "one_format"), MINE))
    assert send(door, site, body, **headers).status_code == 204
    assert at_centre(door, "one_format")


def test_without_a_certificate_or_with_a_refused_one_nothing_is_written(door: Door) -> None:
    body = literal(series(("__name__", "refused"), ("site", "stolen")))
    for identity in (None, door.enrol("yanan", "stolen")):
        answer = send(door, identity, body)
        assert answer.status_code == 403
        assert answer.json()["type"] == "urn:pacs:problem:client-certificate"
    assert at_centre(door, "refused") == []


@pytest.mark.parametrize(
    "path", ["/metrics/v1/write/", "/metrics/v1/query", "/metrics", "/api/v1/write", "/api/v1/query?query=up"]
)
def test_a_branch_reaches_nothing_else_of_prometheus(door: Door, site: IdentityFiles, path: str) -> None:
    with httpx.Client(base_url=door.url, verify=site.tls_context(client=True), trust_env=False) as http:
        assert http.post(path, content=literal(series(MINE))).status_code == 404
        assert http.get(WRITE).status_code == 405


def test_a_request_beyond_the_limit_is_413(door: Door, site: IdentityFiles) -> None:
    answer = send(door, site, bytes((1 << 20) + 1))
    assert answer.status_code == 413


def test_a_centre_that_is_away_is_tried_again_by_the_sender(
    tmp_path: Path, patch: pytest.MonkeyPatch, relay_port: int
) -> None:
    """502 is what Prometheus repeats; a 4xx it would drop."""
    door = Door(tmp_path, archive_port=1, prometheus_port=free_port())
    with door.step_ca(), door.gateway():
        identity = door.enrol("yanan", "yanchang")
        own = free_port()
        branch = prometheus(
            tmp_path / "branch", own, branch_configuration(door, identity, own, "yanchang", relay_port)
        )
        with branch as log:
            wait_for(lambda: '"502"' in door.access_log.read_text(), 30, "an attempt")
            first = "min_over_time(timestamp(up)[1h:1s])"
            wait_for(lambda: bool(values(own, first)), 10, "what the branch itself has measured")
            since = values(own, first)[0]["value"][1]
            with centre(door):
                earliest = f'min_over_time(timestamp(up{{site="yanchang"}})[1h:1s]) <= {since} + 2'
                wait_for(lambda: bool(at_centre(door, earliest)), 60, "what was measured before")
            assert "non-recoverable" not in log.read_text()


def test_a_renewed_certificate_is_used_without_a_restart(
    tmp_path: Path, patch: pytest.MonkeyPatch, relay_port: int
) -> None:
    """Shown by revoking the old one: whoever still writes does so with the new one."""
    door = Door(tmp_path, archive_port=1, prometheus_port=free_port())
    own = free_port()

    def latest() -> float:
        found = at_centre(door, 'max(timestamp(up{site="yanchang"}))')
        return float(found[0]["value"][1]) if found else 0.0

    with door.step_ca(), door.gateway() as nginx, centre(door):
        files = door.enrol("yanan", "yanchang")
        first = files.load()
        assert first is not None
        with prometheus(
            tmp_path / "branch", own, branch_configuration(door, files, own, "yanchang", relay_port)
        ):
            wait_for(lambda: latest() > 0, 30, "figures under the first certificate")
            files.store(door.authority(files).renew(first, SystemClock()), first.name)
            door.write_gateway(revoked=[first.chain[0].serial_number])
            nginx.send_signal(signal.SIGHUP)
            renewed = datetime.now(UTC).timestamp()
            wait_for(lambda: latest() > renewed + 3, 60, "figures under the renewed certificate")
