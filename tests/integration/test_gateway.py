"""The gateway as a client on the internet meets it: real nginx, real step-ca, real handshakes."""

from __future__ import annotations

import json
import signal
import socket
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from bench.network import free_port
from infra.pki.private_files import clear_pem
from infra.pki.region_ca import Authority, RegionNames, ensure_region_ca
from services.common.clock import SystemClock
from services.edge.enrol import Token, enrol
from services.enrolment.errors import CaRefused, CaUnreachable
from services.enrolment.identity import IdentityFiles, SiteName, signing_request
from services.gateway.settings import RefusedSite
from tests.integration.region_door import (
    DOMAIN,
    PASSPHRASE,
    PROMETHEUS_NAME,
    Door,
    resolve_locally,
)
from tests.integration.upstream import Upstream
from tests.waiting import wait_for

pytestmark = pytest.mark.integration
PACK = "/ingest/v1/packs/" + "a" * 64


@pytest.fixture(scope="module")
def patch() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        resolve_locally(patch)
        yield patch


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory, patch: pytest.MonkeyPatch) -> Iterator[Door]:
    door = Door(
        tmp_path_factory.mktemp("door"),
        free_port(),
        free_port(),
        refused_sites=(RefusedSite(institution="yanan", site="stolen"),),
    )
    with door.step_ca(), door.gateway():
        yield door


@pytest.fixture(scope="module", autouse=True)
def archive(door: Door) -> Iterator[Upstream]:
    with Upstream(door.archive_port, door.server().context()) as server:
        yield server


@pytest.fixture(scope="module", autouse=True)
def prometheus(door: Door) -> Iterator[Upstream]:
    with Upstream(door.prometheus_port, door.server(PROMETHEUS_NAME).context()) as server:
        yield server


@pytest.fixture(scope="module")
def site(door: Door) -> IdentityFiles:
    return door.enrol("yanan", "yanchang")


def client(door: Door, context: ssl.SSLContext | None = None) -> httpx.Client:
    return httpx.Client(
        base_url=door.url, verify=context or door.client_context(), timeout=10, trust_env=False
    )


def self_made(
    directory: Path, issuer: Authority, uris: list[str], *, valid: timedelta, subject: str = "yanchang"
) -> ssl.SSLContext:
    """A TLS context that shows a certificate made by hand."""
    now = datetime.now(UTC)
    key = ec.generate_private_key(ec.SECP256R1())
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
        .issuer_name(issuer.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=2))
        .not_valid_after(now + valid)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
    )
    if uris:
        names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri) for uri in uris])
        builder = builder.add_extension(names, critical=False)
    certificate = builder.sign(issuer.key, hashes.SHA256())
    directory.mkdir(exist_ok=True)
    (directory / "key").write_bytes(clear_pem(key))
    chain = Authority(certificate, key).pem + issuer.pem
    (directory / "chain").write_bytes(chain)
    context = ssl.create_default_context(cafile=str(directory.parent / "trusted.crt"))
    context.load_cert_chain(directory / "chain", directory / "key")
    return context


@pytest.fixture
def forge(door: Door, tmp_path: Path) -> Path:
    (tmp_path / "trusted.crt").write_bytes(door.root.read_bytes())
    return tmp_path / "forged"


def refuses_certificate(answer: httpx.Response) -> bool:
    return answer.status_code == 403 and answer.json()["type"] == "urn:pacs:problem:client-certificate"


# --- TLS ---


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tls_below_1_2_is_refused(door: Door, version: ssl.TLSVersion) -> None:
    context = door.client_context()
    context.set_ciphers("ALL:@SECLEVEL=0")  # so that it is the server who says no
    context.minimum_version = context.maximum_version = version
    with (
        socket.create_connection(("127.0.0.1", door.port), 5) as raw,
        pytest.raises(ssl.SSLError, match="alert"),
    ):
        context.wrap_socket(raw, server_hostname=f"pacs.{DOMAIN}")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tls_1_2_and_1_3_use_forward_secret_aead(door: Door, version: ssl.TLSVersion) -> None:
    context = door.client_context()
    context.minimum_version = context.maximum_version = version
    with (
        socket.create_connection(("127.0.0.1", door.port), 5) as raw,
        context.wrap_socket(raw, server_hostname=f"pacs.{DOMAIN}") as tls,
    ):
        cipher = tls.cipher()
    assert cipher is not None
    assert "GCM" in cipher[0] or "CHACHA20" in cipher[0]


def test_http_2_is_offered(door: Door) -> None:
    context = door.client_context()
    context.set_alpn_protocols(["h2", "http/1.1"])
    with (
        socket.create_connection(("127.0.0.1", door.port), 5) as raw,
        context.wrap_socket(raw, server_hostname=f"pacs.{DOMAIN}") as tls,
    ):
        assert tls.selected_alpn_protocol() == "h2"


def test_a_handshake_for_another_name_is_refused(door: Door) -> None:
    context = door.client_context()
    context.check_hostname = False
    with socket.create_connection(("127.0.0.1", door.port), 5) as raw, pytest.raises(ssl.SSLError):
        context.wrap_socket(raw, server_hostname="other.example")


def test_the_name_ca_reaches_step_ca_and_not_the_gateway(door: Door, site: IdentityFiles) -> None:
    with httpx.Client(verify=site.tls_context(client=False), trust_env=False) as http:
        answer = http.get(door.ca_url + "/health")
    assert answer.json() == {"status": "ok"}
    assert "strict-transport-security" not in answer.headers


def test_browsers_are_told_to_stay_with_https(door: Door) -> None:
    with client(door) as http:
        assert "max-age=31536000" in http.get("/nothing").headers["strict-transport-security"]


# --- who may bring packs ---


def test_an_enrolled_site_reaches_ingest_under_its_own_name(
    door: Door, archive: Upstream, site: IdentityFiles
) -> None:
    forged = {"X-Pacs-Client-Institution": "other", "x-pacs-client-site": "other", "Authorization": "x"}
    with client(door, site.tls_context(client=True)) as http:
        assert http.put(PACK, content=b"pack", headers=forged).status_code == 200
    method, path, headers = archive.seen[-1]
    assert (method, path) == ("PUT", PACK)
    assert headers["x-pacs-client-institution"] == "yanan"
    assert headers["x-pacs-client-site"] == "yanchang"
    assert headers["x-pacs-gateway-key"] == door.gateway_key.read_text().strip()
    assert "authorization" not in headers


def test_ingest_without_a_certificate_is_403_and_says_what_to_do(door: Door, archive: Upstream) -> None:
    before = len(archive.seen)
    with client(door) as http:
        answer = http.put(PACK, content=b"pack", headers={"X-Pacs-Client-Site": "yanchang"})
    assert refuses_certificate(answer)
    assert answer.headers["content-type"] == "application/problem+json"
    assert "Enrol" in answer.json()["action"]
    assert len(archive.seen) == before


def test_a_certificate_of_another_ca_is_refused(door: Door, forge: Path, tmp_path: Path) -> None:
    foreign = ensure_region_ca(
        tmp_path / "foreign", PASSPHRASE, RegionNames("local", DOMAIN), datetime.now(UTC)
    )
    uri = f"spiffe://{DOMAIN}/institution/yanan/site/yanchang"
    context = self_made(forge, foreign.sites, [uri], valid=timedelta(days=1))
    with client(door, context) as http:
        assert refuses_certificate(http.put(PACK, content=b"pack"))


def test_an_expired_certificate_is_refused(door: Door, forge: Path) -> None:
    uri = f"spiffe://{DOMAIN}/institution/yanan/site/yanchang"
    context = self_made(forge, door.authorities.sites, [uri], valid=timedelta(days=-1))
    with client(door, context) as http:
        answer = http.put(PACK, content=b"pack")
    assert refuses_certificate(answer)
    assert "expired" in answer.json()["detail"]


@pytest.mark.parametrize(
    "uris",
    [
        [],
        [
            "spiffe://pacs.local.test/institution/yanan/site/a",
            "spiffe://pacs.local.test/institution/yanan/site/b",
        ],
        ["spiffe://pacs.local.test/institution/yanan"],
        ["spiffe://pacs.local.test/institution/yanan/site/a/site/b"],
        ["spiffe://pacs.local.test/institution/Yanan/site/a"],
        ["spiffe://pacs.local.test/institution/yanan/site/a\n"],
        ["https://pacs.local.test/institution/yanan/site/a"],
    ],
)
def test_a_certificate_that_does_not_name_exactly_one_site_is_refused(
    door: Door, forge: Path, uris: list[str], archive: Upstream
) -> None:
    """The CA would not issue these; a forged subject must not help either."""
    before = len(archive.seen)
    subject = "/institution=yanan/site=yanchang,CN=yanchang"
    context = self_made(forge, door.authorities.sites, uris, valid=timedelta(days=1), subject=subject)
    with client(door, context) as http:
        assert refuses_certificate(http.put(PACK, content=b"pack"))
    assert len(archive.seen) == before


def test_the_sites_authority_cannot_make_names_outside_the_region(door: Door, forge: Path) -> None:
    uri = "spiffe://other.example/institution/yanan/site/yanchang"
    context = self_made(forge, door.authorities.sites, [uri], valid=timedelta(days=1))
    with client(door, context) as http:
        answer = http.put(PACK, content=b"pack")
    assert refuses_certificate(answer)
    assert "permitted subtree violation" in answer.json()["detail"]


def test_a_refused_site_stays_out_with_a_valid_certificate(door: Door) -> None:
    stolen = door.enrol("yanan", "stolen")
    with client(door, stolen.tls_context(client=True)) as http:
        assert refuses_certificate(http.put(PACK, content=b"pack"))


def test_a_revoked_certificate_is_refused_after_a_reload(tmp_path: Path, patch: pytest.MonkeyPatch) -> None:
    door = Door(tmp_path, free_port(), prometheus_port=1)
    archive = Upstream(door.archive_port, door.server().context())
    with archive, door.step_ca(), door.gateway() as nginx:
        lost, kept = door.enrol("yanan", "lost"), door.enrol("yanan", "kept")
        identity = lost.load()
        assert identity is not None
        with client(door, lost.tls_context(client=True)) as http:
            assert http.put(PACK, content=b"pack").status_code == 200
        door.write_gateway(revoked=[identity.chain[0].serial_number])
        nginx.send_signal(signal.SIGHUP)

        def refused() -> bool:
            with client(door, lost.tls_context(client=True)) as http:
                return refuses_certificate(http.put(PACK, content=b"pack"))

        wait_for(refused, 10, "the revoked certificate is refused")
        with client(door, kept.tls_context(client=True)) as http:
            assert http.put(PACK, content=b"pack").status_code == 200


# --- paths, headers, problems ---


@pytest.mark.parametrize(
    "path", ["/dicom-web/studies", "/workflow/v1/institutions/yanan/worklist", "/auth/v1/check"]
)
def test_other_routes_never_carry_a_site_name(
    door: Door, archive: Upstream, site: IdentityFiles, path: str
) -> None:
    forged = {
        "X-Pacs-Client-Institution": "yanan",
        "X-Pacs-Client-Site": "yanchang",
        "X-Pacs-Gateway-Key": "guessed",
        "Authorization": "Bearer ops",
    }
    with client(door, site.tls_context(client=True)) as http:
        http.get(path, headers=forged)
    headers = archive.seen[-1][2]
    assert not [name for name in headers if name.startswith("x-pacs-")]
    assert headers["authorization"] == "Bearer ops"


@pytest.mark.parametrize(
    "path",
    [
        "/dicom-web/../ingest/v1/packs/x",
        "/dicom-web/%2e%2e/ingest/v1/packs/x",
        "/ingest/..%2fdicom-web/studies",
        "/ingest//v1/packs/x",
        "/dicom-web/.%2E/ingest/v1/packs/x",
    ],
)
def test_a_path_that_two_servers_could_read_differently_is_refused(
    door: Door, archive: Upstream, path: str
) -> None:
    before = len(archive.seen)
    context = door.client_context()
    with (
        socket.create_connection(("127.0.0.1", door.port), 5) as raw,
        context.wrap_socket(raw, server_hostname=f"pacs.{DOMAIN}") as tls,
    ):
        tls.sendall(f"GET {path} HTTP/1.1\r\nHost: pacs.{DOMAIN}\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: tls.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert len(archive.seen) == before


def test_an_unknown_path_is_a_problem_document(door: Door) -> None:
    with client(door) as http:
        answer = http.get("/admin")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert set(answer.json()) == {"type", "title", "status", "detail", "action"}


def test_a_body_beyond_the_limit_is_413_before_it_is_sent(door: Door, site: IdentityFiles) -> None:
    with (
        socket.create_connection(("127.0.0.1", door.port), 5) as raw,
        site.tls_context(client=True).wrap_socket(raw, server_hostname=f"pacs.{DOMAIN}") as tls,
    ):
        length = (4 << 30) + 1
        request = f"PUT {PACK} HTTP/1.1\r\nHost: pacs.{DOMAIN}\r\nContent-Length: {length}\r\n"
        tls.sendall((request + "Expect: 100-continue\r\n\r\n").encode())
        answer = tls.recv(65536)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"urn:pacs:problem:too-large" in answer


def test_expect_100_continue_is_honoured(door: Door, site: IdentityFiles) -> None:
    with (
        socket.create_connection(("127.0.0.1", door.port), 5) as raw,
        site.tls_context(client=True).wrap_socket(raw, server_hostname=f"pacs.{DOMAIN}") as tls,
    ):
        request = f"PUT {PACK} HTTP/1.1\r\nHost: pacs.{DOMAIN}\r\nContent-Length: 4\r\n"
        tls.sendall((request + "Expect: 100-continue\r\n\r\n").encode())
        assert tls.recv(65536).startswith(b"HTTP/1.1 100 Continue")


def test_an_archive_that_is_away_is_502_and_says_that_nothing_was_acknowledged(
    tmp_path: Path, patch: pytest.MonkeyPatch
) -> None:
    door = Door(tmp_path, archive_port=1, prometheus_port=1)  # nobody listens on port 1
    with door.gateway(), client(door) as http:
        answer = http.get("/dicom-web/studies?PatientName=Zhang*")
    assert answer.status_code == 502
    assert answer.headers["content-type"] == "application/problem+json"
    assert "Nothing was acknowledged" in answer.json()["action"]
    assert "Zhang" not in door.log.read_text() + door.access_log.read_text()


def test_logs_hold_paths_and_never_queries(door: Door) -> None:
    with client(door) as http:
        http.get("/dicom-web/studies?PatientName=Wang%5EXiulan&PatientBirthDate=19600101")
    wait_for(lambda: "/dicom-web/studies" in door.access_log.read_text(), 5, "the access log line")
    written = door.access_log.read_text() + door.log.read_text()
    assert "Wang" not in written
    assert "1960" not in written
    for line in door.access_log.read_text().splitlines():
        assert json.loads(line)["service"] == "gateway"


def test_the_clients_address_survives_both_hops(door: Door, archive: Upstream) -> None:
    context = door.client_context()
    with (
        socket.create_connection(("127.0.0.1", door.port), 5, source_address=("127.0.0.9", 0)) as raw,
        context.wrap_socket(raw, server_hostname=f"pacs.{DOMAIN}") as tls,
    ):
        request = f"GET /dicom-web/studies HTTP/1.1\r\nHost: pacs.{DOMAIN}\r\nX-Forwarded-For: 1.2.3.4\r\n"
        tls.sendall((request + "Connection: close\r\n\r\n").encode())
        b"".join(iter(lambda: tls.recv(65536), b""))
    assert archive.seen[-1][2]["x-forwarded-for"] == "127.0.0.9"


# --- operations ---


def test_the_operators_page_is_served(door: Door) -> None:
    with client(door) as http:
        answer = http.get("/ops/")
    assert answer.status_code == 200
    assert "default-src 'self'" in answer.headers["content-security-policy"]


@pytest.mark.parametrize(("token", "status"), [(None, 401), ("Bearer reader", 403), ("Bearer ops", 200)])
def test_prometheus_answers_only_with_the_scope_ops(
    door: Door, prometheus: Upstream, archive: Upstream, token: str | None, status: int
) -> None:
    before = len(prometheus.seen)
    headers = {"Authorization": token} if token else {}
    with client(door) as http:
        answer = http.get("/ops/prometheus/api/v1/query?query=up", headers=headers)
    assert answer.status_code == status
    assert archive.seen[-1][:2] == ("GET", "/auth/v1/check?scope=ops")
    if status == 401:
        assert answer.headers["www-authenticate"].startswith("Bearer")
    assert len(prometheus.seen) == before + (status == 200)
    if status == 200:
        assert prometheus.seen[-1][1] == "/api/v1/query?query=up"
        assert "authorization" not in prometheus.seen[-1][2]
    else:
        assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("path", ["/-/quit", "/api/v1/admin/tsdb/snapshot", "/graph"])
def test_prometheus_is_reached_for_queries_only(door: Door, prometheus: Upstream, path: str) -> None:
    before = len(prometheus.seen)
    with client(door) as http:
        assert http.get("/ops/prometheus" + path, headers={"Authorization": "Bearer ops"}).status_code == 404
    assert len(prometheus.seen) == before


def test_the_gateways_metrics_count_requests_by_route(door: Door) -> None:
    with client(door) as http:
        http.get("/dicom-web/studies")
        # Prometheus asks each pod at its address, under the gateway's name.
        status, named = f"https://127.0.0.1:{door.status_port}", {"sni_hostname": f"pacs.{DOMAIN}"}
        text = http.get(f"{status}/metrics", extensions=named).text
        assert http.get(f"{status}/readyz", extensions=named).status_code == 200
    assert 'pacs_gateway_requests_total{route="dicomweb",status="200"}' in text
    assert 'pacs_gateway_connections{state="active"}' in text


# --- enrolment and renewal through the door ---


def test_a_one_time_token_serves_once(door: Door, tmp_path: Path) -> None:
    token = Token.parse(door.token("yanan", "once"))
    name = SiteName(DOMAIN, "yanan", "once")
    enrol(IdentityFiles(tmp_path / "first"), name, door.root.read_bytes(), token, door.ca_url)
    with pytest.raises(CaRefused):
        enrol(IdentityFiles(tmp_path / "second"), name, door.root.read_bytes(), token, door.ca_url)


def test_a_token_for_one_site_gives_no_certificate_for_another(door: Door, tmp_path: Path) -> None:
    files = IdentityFiles(tmp_path / "identity")
    token = Token.parse(door.token("yanan", "mine"))
    files.pin(door.root.read_bytes(), token.root_fingerprint)
    request = signing_request(files.ensure_key(), SiteName(DOMAIN, "yanan", "theirs"))
    with pytest.raises(CaRefused):
        door.authority(files).sign(request, token.text)


@pytest.mark.parametrize(
    ("institution", "site"), [("yanan", "a/b"), ("Yanan", "a"), ("", "a"), ("yanan", "..")]
)
def test_the_ca_itself_refuses_a_token_for_something_that_is_no_site(
    door: Door, tmp_path: Path, institution: str, site: str
) -> None:
    """Even the holder of the provisioner key cannot get another kind of certificate from this CA."""
    files = IdentityFiles(tmp_path / "identity")
    token = Token.parse(door.token(institution, site))
    files.pin(door.root.read_bytes(), token.root_fingerprint)
    request = signing_request(files.ensure_key(), SiteName(DOMAIN, institution, site))
    with pytest.raises((CaRefused, CaUnreachable)):
        door.authority(files).sign(request, token.text)


def test_an_expired_token_is_refused(door: Door, tmp_path: Path) -> None:
    yesterday = datetime.now(UTC) - timedelta(days=1)
    token = Token.parse(door.token("yanan", "late", now=yesterday))
    with pytest.raises(CaRefused):
        enrol(
            IdentityFiles(tmp_path / "identity"),
            SiteName(DOMAIN, "yanan", "late"),
            door.root.read_bytes(),
            token,
            door.ca_url,
        )


def test_a_certificate_is_renewed_for_the_same_key_and_name(door: Door) -> None:
    files = door.enrol("yanan", "renewing")
    before = files.load()
    assert before is not None
    after = files.store(door.authority(files).renew(before, SystemClock()), before.name)
    assert after.chain[0].serial_number != before.chain[0].serial_number
    assert after.name == before.name
    with client(door, files.tls_context(client=True)) as http:
        assert http.put(PACK, content=b"pack").status_code == 200


def test_a_site_that_was_cut_off_beyond_its_expiry_comes_back_by_itself(
    tmp_path: Path, patch: pytest.MonkeyPatch
) -> None:
    door = Door(tmp_path, free_port(), prometheus_port=1, site_lifetime=timedelta(seconds=2))
    with Upstream(door.archive_port, door.server().context()), door.step_ca(), door.gateway():
        files = door.enrol("yanan", "away")
        identity = files.load()
        assert identity is not None
        wait_for(lambda: datetime.now(UTC) > identity.not_after, 10, "the certificate has expired")
        with client(door, files.tls_context(client=True)) as http:
            assert refuses_certificate(http.put(PACK, content=b"pack"))
        files.store(door.authority(files).renew(identity, SystemClock()), identity.name)
        with client(door, files.tls_context(client=True)) as http:
            assert http.put(PACK, content=b"pack").status_code == 200
