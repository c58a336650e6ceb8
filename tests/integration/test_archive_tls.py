"""The archive's own HTTP listeners with a certificate: a real process, and real nginx before it."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator

import httpx
import pytest

from bench.network import free_port
from infra.components.scraping import prometheus_configuration
from infra.config.region import load_region
from tests.integration.archive_process import ArchiveProcess
from tests.integration.region_door import ARCHIVE_NAME, Door, resolve_locally
from tests.integration.test_remote_write import at_centre, centre
from tests.services.archive.samples import synthetic
from tests.services.archive.tokens import Issuer
from tests.waiting import wait_for

pytestmark = pytest.mark.integration
NO_DATABASE = "postgresql://127.0.0.1:1/none"  # the archive listens and stores without it


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Door:
    return Door(tmp_path_factory.mktemp("door"), free_port(), free_port(), ingest_port=free_port())


@pytest.fixture(scope="module")
def archive(door: Door, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ArchiveProcess]:
    shown = door.server()
    process = ArchiveProcess(
        tmp_path_factory.mktemp("archive"),
        NO_DATABASE,
        Issuer(),
        PACS_TLS_CERTIFICATE_FILE=str(shown.certificate),
        PACS_TLS_KEY_FILE=str(shown.key),
        PACS_HTTP_PORT=str(door.archive_port),
        PACS_INTERNAL_PORT=str(door.ingest_port),
    )
    process.start()
    yield process
    process.close()


LISTENERS = ["http", "internal"]


@pytest.mark.parametrize("listener", LISTENERS)
def test_both_listeners_show_the_archives_name(door: Door, archive: ArchiveProcess, listener: str) -> None:
    url = f"https://127.0.0.1:{archive.ports[listener]}/healthz"
    with httpx.Client(verify=door.client_context(), trust_env=False) as http:
        assert http.get(url, extensions={"sni_hostname": ARCHIVE_NAME}).status_code == 200


@pytest.mark.parametrize("listener", LISTENERS)
def test_neither_listener_answers_in_clear(archive: ArchiveProcess, listener: str) -> None:
    with pytest.raises(httpx.TransportError):
        httpx.get(f"http://127.0.0.1:{archive.ports[listener]}/healthz", trust_env=False)


@pytest.mark.parametrize("listener", LISTENERS)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tls_below_1_2_is_refused(door: Door, archive: ArchiveProcess, listener: str) -> None:
    context = door.client_context()
    context.set_ciphers("ALL:@SECLEVEL=0")  # so that it is the server who says no
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with (
        socket.create_connection(("127.0.0.1", archive.ports[listener]), 5) as raw,
        pytest.raises(ssl.SSLError, match=r"alert|EOF"),  # uvloop ends the connection without a word
    ):
        context.wrap_socket(raw, server_hostname=ARCHIVE_NAME)


def test_what_is_stored_through_the_gateway_is_answered_with_links_of_the_gateway(
    door: Door, archive: ArchiveProcess
) -> None:
    body = b"--b\r\nContent-Type: application/dicom\r\n\r\n" + synthetic("1.1") + b"\r\n--b--\r\n"
    kind = 'multipart/related; type="application/dicom"; boundary=b'
    headers = {**archive.issuer.bearer(), "Content-Type": kind}
    with pytest.MonkeyPatch.context() as patch:
        resolve_locally(patch)
        with door.gateway(), httpx.Client(verify=door.client_context(), trust_env=False) as http:
            answer = http.post(f"{door.url}/dicom-web/studies", content=body, headers=headers, timeout=30)
    assert answer.status_code == 200
    assert answer.json()["00081190"]["Value"][0].startswith("https://pacs.pacs.local.test/dicom-web/studies/")


def test_prometheus_asks_archive_gateway_and_itself_as_the_region_tells_it(
    door: Door, archive: ArchiveProcess
) -> None:
    listening = {
        "archive": door.ingest_port,
        "gateway": door.status_port,
        "prometheus": door.prometheus_port,
    }
    found = {job["job_name"]: job for job in prometheus_configuration(load_region("local"))["scrape_configs"]}
    jobs = [
        {
            "job_name": name,
            "scheme": found[name]["scheme"],
            "tls_config": found[name]["tls_config"] | {"ca_file": str(door.root)},
            "static_configs": [{"targets": [f"127.0.0.1:{port}"]}],
        }
        for name, port in listening.items()
    ]
    with door.gateway(), centre(door, {"global": {"scrape_interval": "1s"}, "scrape_configs": jobs}):
        wait_for(lambda: len(at_centre(door, "up == 1")) == len(jobs), 30, "every target is up")
