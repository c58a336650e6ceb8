"""Where a region is and with what right one talks to it: everything a check or a load test is told."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter

from cli.token import operator_token
from infra.config.region import RegionConfig, RegionConfigError
from infra.pki.private_files import PkiError
from infra.pki.tokens import EVERY, Scope


@dataclass(frozen=True)
class DicomNode:
    """A DICOM application entity: where it listens and the AE title it answers to (PS3.5 VR AE)."""

    host: str
    port: int
    ae_title: str


@dataclass(frozen=True)
class Target:
    """One branch and the centre behind it.

    `centre_url` has the gateway's name without a path; `centre_address` is where to connect when that
    name is in no DNS (the local stack). `ca_file` None means plain HTTP or the system's authorities.
    `token` carries `dicomweb:read` and `ops`; it is kept out of repr, so that no log shows it.
    """

    stack: str
    branch: DicomNode
    calling_ae: str
    centre_url: str
    token: str = field(repr=False)
    ca_file: Path | None = None
    centre_address: tuple[str, int] | None = None

    @property
    def dicomweb_url(self) -> str:
        return f"{self.centre_url}/dicom-web"

    def session(self) -> requests.Session:
        """A new HTTP session, for one thread, with the token and the region's authority."""
        session = requests.Session()
        equip(session, self)
        return session


def equip(session: requests.Session, target: Target) -> None:
    """Give `session` the token, the region's root as only authority, and the address behind the name."""
    session.trust_env = False  # a proxy of the operator's shell must not come between us and the region
    session.headers["Authorization"] = f"Bearer {target.token}"
    if target.ca_file is not None:
        session.verify = str(target.ca_file)
    if target.centre_address is not None:
        name = urlsplit(target.centre_url).hostname or ""
        session.mount(target.centre_url, _AtAddress(name, target.centre_address))


class _AtAddress(HTTPAdapter):
    """Connect to an address and still ask for, and check, the name in the URL (SNI, certificate, Host)."""

    def __init__(self, name: str, address: tuple[str, int]) -> None:
        self._name, self._address = name, address
        super().__init__()

    def build_connection_pool_key_attributes(self, request, verify, cert=None):  # type: ignore[no-untyped-def]
        host, pool = super().build_connection_pool_key_attributes(request, verify, cert)
        host["host"], host["port"] = self._address
        if host["scheme"] == "https":
            pool["server_hostname"] = pool["assert_hostname"] = self._name
        return host, pool

    def add_headers(self, request, **_):  # type: ignore[no-untyped-def]
        request.headers["Host"] = urlsplit(request.url).netloc


def target_of(
    region: RegionConfig, state: Path, *, site: str | None = None, now: datetime | None = None
) -> Target:
    """The one place that derives addresses, names and the right to read from a region and its state.

    `site` picks a branch (default: the first). The centre is reached over the management network, which
    needs no DNS; its name is still asked for and its certificate still checked. The token lives 60 minutes.
    Raises RegionConfigError for an unknown site or a region without branches, PkiError where the keys of
    `./pacs up` are missing or cannot be opened.
    """
    if site is None and not region.branches:
        raise RegionConfigError("this region has no branch: there is no DICOM port to send through")
    branch = region.branch(site) if site else region.branches[0]
    root = state / "secrets" / "pki" / "root.crt"
    if not root.is_file():
        raise PkiError(f"{root} is not there: this stack was never brought up here; run ./pacs up")
    token = operator_token(
        region,
        state,
        subject="operator:verify",
        institutions=[EVERY],
        scopes=list(Scope),
        now=now or datetime.now(UTC),
    )
    return Target(
        stack=region.region.name,
        branch=DicomNode(branch.lan_address, branch.dimse_port, branch.ae_title),
        calling_ae=branch.calling[0].ae_title,
        centre_url=f"https://{region.gateway_name}",
        token=token,
        ca_file=root,
        centre_address=(region.datacenter.nodes[0].address, region.gateway.node_port),
    )
