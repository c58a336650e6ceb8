"""The centre's door as real processes: a region CA, step-ca, and nginx with the rendered configuration."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bench.network import free_port
from infra.pki.certificates import KeyPair, ensure_receipt_key, ensure_server_certificate
from infra.pki.enrolment import (
    StepCaSettings,
    ensure_provisioner_key,
    issue_enrolment_token,
    step_ca_configuration,
)
from infra.pki.private_files import clear_pem, ensure_secret, write_private
from infra.pki.region_ca import RegionAuthorities, RegionNames, ensure_region_ca, revocation_list
from services.common.tls import server_context
from services.edge.enrol import Token, enrol
from services.enrolment.authority import CertificateAuthority
from services.enrolment.identity import IdentityFiles, SiteName
from services.gateway.rendering import render
from services.gateway.settings import GatewaySettings, RefusedSite
from tests.integration.ceph import STORE_NAME
from tests.waiting import wait_for

DOMAIN = "pacs.local.test"
NAMES = RegionNames("local", DOMAIN)
PASSPHRASE = b"a passphrase for tests only"
ARCHIVE_NAME = "archive.pacs.svc"
CACHE_MIB = 1024
PROMETHEUS_NAME = "prometheus.monitoring.svc"


def program(name: str, package: str) -> str:
    """The path of a program; the test is skipped where it is not installed."""
    cached = Path(os.environ.get("PACS_CACHE_DIR", "/var/cache/pacs")) / "tools"
    found = shutil.which(name) or next(map(str, sorted(cached.glob(f"*/*/{name}"))), None)
    if found is None:
        pytest.skip(f"needs {name}: {package}")
    return found


def listening(port: int) -> bool:
    """Whether something accepts on a loopback port."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


@contextmanager
def running(arguments: list[str], log: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A process that listens on `port`, ended by its id when the block ends."""
    with log.open("ab") as output:
        process = subprocess.Popen(arguments, stdout=output, stderr=output, stdin=subprocess.DEVNULL)
    try:
        wait_for(lambda: process.poll() is not None or listening(port), 20, f"{arguments[0]} on {port}")
        if process.poll() is not None:
            pytest.fail(f"{arguments[0]} ended: {log.read_text()[-2000:]}")
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@dataclass(frozen=True)
class ServerFiles:
    """Where a server's certificate chain and its key lie."""

    certificate: Path
    key: Path

    def context(self) -> ssl.SSLContext:
        """What our own listeners show with them."""
        return server_context(self.certificate, self.key)


@dataclass
class Door:
    """Where everything of one region lies and listens."""

    directory: Path
    archive_port: int
    prometheus_port: int
    site_lifetime: timedelta = timedelta(hours=1)
    refused_sites: tuple[RefusedSite, ...] = ()
    ingest_port: int = 0  # 0: the same as the archive's
    store: str | None = None  # host:port of an object store with the name STORE_NAME; None: none
    store_ca: Path | None = None
    port: int = field(default_factory=free_port)
    tls_port: int = field(default_factory=free_port)
    ca_inner_port: int = field(default_factory=free_port)
    ca_port: int = field(default_factory=free_port)
    again_port: int = field(default_factory=free_port)
    status_port: int = field(default_factory=free_port)

    def __post_init__(self) -> None:
        now = datetime.now(UTC)
        self.secrets = self.directory / "secrets"
        self.authorities: RegionAuthorities = ensure_region_ca(self.secrets, PASSPHRASE, NAMES, now)
        self.receipt_key: KeyPair = ensure_receipt_key(self.authorities, self.secrets, PASSPHRASE, now)
        self.provisioner = ensure_provisioner_key(self.secrets, PASSPHRASE)
        self.root = self.secrets / "root.crt"
        self.gateway_key = self.secrets / "gateway.key"
        ensure_secret(self.gateway_key)
        self.log = self.directory / "gateway.log"
        self.access_log = self.directory / "access.log"

    def server(self, name: str = ARCHIVE_NAME) -> ServerFiles:
        """What the server `name` of this region shows."""
        now = datetime.now(UTC)
        pair = ensure_server_certificate(self.authorities, self.secrets, PASSPHRASE, [name], now)
        files = ServerFiles(self.directory / f"{name}.crt", self.directory / f"{name}.key")
        write_private(files.certificate, pair.chain_pem)
        write_private(files.key, pair.key_pem)
        return files

    def receipt_files(self) -> ServerFiles:
        """The receipt key in clear, as the archive's pod sees it, and its certificate."""
        files = ServerFiles(self.directory / "receipts.crt", self.directory / "receipts.key")
        write_private(files.certificate, self.receipt_key.chain_pem)
        write_private(files.key, self.receipt_key.key_pem)
        return files

    def token(self, institution: str, site: str, *, now: datetime | None = None) -> str:
        """A one-time token for one site."""
        return issue_enrolment_token(
            self.provisioner,
            NAMES,
            self.authorities.root_fingerprint,
            institution=institution,
            site=site,
            now=now or datetime.now(UTC),
        )

    def enrol(self, institution: str, site: str) -> IdentityFiles:
        """A host that became a site, by the real exchange with step-ca."""
        files = IdentityFiles(self.directory / "hosts" / f"{institution}-{site}" / "identity")
        token = Token.parse(self.token(institution, site))
        name = SiteName(DOMAIN, institution, site)
        enrol(files, name, self.root.read_bytes(), token, self.ca_url)
        return files

    def authority(self, files: IdentityFiles) -> CertificateAuthority:
        """A client of step-ca, through the gateway."""
        return CertificateAuthority(self.ca_url, files.tls_context(client=False))

    @property
    def ca_url(self) -> str:
        """step-ca through the gateway's public port."""
        return f"https://ca.{DOMAIN}:{self.port}"

    @property
    def url(self) -> str:
        """The gateway's public port."""
        return f"https://pacs.{DOMAIN}:{self.port}"

    def client_context(self) -> ssl.SSLContext:
        """A browser's view: trusts the region root, shows no certificate."""
        context = ssl.create_default_context(cafile=str(self.root))
        context.set_alpn_protocols(["http/1.1"])
        return context

    @contextmanager
    def step_ca(self) -> Iterator[None]:
        """Run step-ca."""
        step_ca = program("step-ca", "./pacs builds it from toolchain/step_ca")
        key = self.directory / "ca" / "sites.key"
        write_private(key, clear_pem(self.authorities.sites.key))
        settings = StepCaSettings(
            NAMES,
            root=self.root,
            certificate=self.secrets / "sites.crt",
            key=key,
            database=self.directory / "ca" / "db",
            address=f"127.0.0.1:{self.ca_port}",
            site_lifetime=self.site_lifetime,
        )
        configuration = self.directory / "ca" / "ca.json"
        configuration.write_text(step_ca_configuration(settings, self.provisioner))
        with running([step_ca, str(configuration)], self.directory / "ca.log", self.ca_port):
            yield

    def write_gateway(self, revoked: list[int] | None = None) -> Path:
        """Render the configuration and put the files where it names them."""
        now = datetime.now(UTC)
        here = self.directory / "gateway"
        here.mkdir(exist_ok=True)
        shown = self.server(NAMES.gateway_name)
        (here / "sites.crl").write_bytes(revocation_list(self.authorities, revoked or [], now))
        pages = here / "ops"
        pages.mkdir(exist_ok=True)
        (pages / "index.html").write_text("<!doctype html><title>operations</title>")
        settings = GatewaySettings(
            domain=DOMAIN,
            archive=f"127.0.0.1:{self.archive_port}",
            ingest=f"127.0.0.1:{self.ingest_port or self.archive_port}",
            archive_name=ARCHIVE_NAME,
            prometheus_name=PROMETHEUS_NAME,
            gateway_key=self.gateway_key,
            ca=f"127.0.0.1:{self.ca_port}",
            prometheus=f"127.0.0.1:{self.prometheus_port}",
            store=self.store,
            store_name=STORE_NAME if self.store else None,
            store_root=self.store_ca,
            cache=here / "cache",
            cache_mib=CACHE_MIB,
            port=self.port,
            tls_port=self.tls_port,
            ca_port=self.ca_inner_port,
            again_port=self.again_port,
            status_port=self.status_port,
            certificate=shown.certificate,
            key=shown.key,
            region_root=self.root,
            revocation_list=here / "sites.crl",
            configuration=here,
            ops_pages=pages,
            scratch=here,
            access_log=self.access_log,
            workers=1,
            refused_sites=self.refused_sites,
        )
        for name, text in render(settings).items():
            (here / name).write_text(text)
        return here / "nginx.conf"

    @contextmanager
    def gateway(self) -> Iterator[subprocess.Popen[bytes]]:
        """Run nginx with the rendered configuration."""
        nginx = program("nginx", "apt-get install nginx libnginx-mod-http-lua libnginx-mod-stream")
        configuration = self.write_gateway()
        # Started by root, nginx would drop to a user who cannot read these private directories;
        # in its container it starts as that user's equal.
        user = ["-g", "user root;"] if os.geteuid() == 0 else []
        with running([nginx, "-c", str(configuration), *user], self.log, self.port) as process:
            yield process


def resolve_locally(patch: pytest.MonkeyPatch) -> None:
    """Let every name of the region be this machine, for the clients of this process."""
    real = socket.getaddrinfo

    def getaddrinfo(host: object, *arguments: object, **named: object) -> object:
        name = host.decode() if isinstance(host, bytes) else host
        known = isinstance(name, str) and name.endswith(DOMAIN)
        return real("127.0.0.1" if known else host, *arguments, **named)  # type: ignore[arg-type]

    patch.setattr(socket, "getaddrinfo", getaddrinfo)
