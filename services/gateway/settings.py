"""What the gateway is told: names, ports inside its pod, files and the services behind it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from services.common.settings import DnsLabel

Fqdn = Annotated[
    str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+$")
]
Upstream = Annotated[str, StringConstraints(pattern=r"^[a-z0-9.-]+:[0-9]{1,5}$")]
"""`host:port` of a service; the name must resolve when nginx starts."""
Port = Annotated[int, Field(ge=1, le=65535)]


class RefusedSite(BaseModel):
    """A site whose computer is stolen or misused: it stays out whatever certificates it still renews."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    institution: DnsLabel
    site: DnsLabel


class GatewaySettings(BaseModel):
    """Everything that `render` needs; the defaults fit the container of the local and production stacks."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    domain: Fqdn
    archive: Upstream = Field(description="DICOMweb and token check (contracts section 1: port 8080)")
    ingest: Upstream = Field(description="the archive's internal listener (port 8090)")
    archive_name: Fqdn = Field(description="the name on the certificate that both listeners show")
    ca: Upstream
    store: Upstream | None = Field(
        default=None,
        description="the object store, which packs are read from; None: through the archive alone",
    )
    store_name: Fqdn | None = Field(default=None, description="the name on the object store's certificate")
    store_root: Path | None = Field(
        default=None, description="who signs that certificate; None: the region's root"
    )
    prometheus: Upstream | None = None
    prometheus_name: Fqdn | None = Field(default=None, description="the name on Prometheus' certificate")

    port: Port = 8443
    tls_port: Port = 8444  # loopback: the TLS server behind the SNI switch
    ca_port: Port = 8445  # loopback: takes the PROXY header off for step-ca, which does not speak it
    again_port: Port = 8446  # loopback: HTTP/2 requests that Lua can answer over HTTP/1.1 only
    status_port: Port = 9145  # health and metrics, for the cluster only

    certificate: Path = Path("/run/pacs/gateway/tls.crt")
    key: Path = Path("/run/pacs/gateway/tls.key")
    region_root: Path = Path("/run/pacs/gateway/root.crt")
    revocation_list: Path = Path("/run/pacs/gateway/sites.crl")
    gateway_key: Path = Path("/run/pacs/gateway/gateway.key")  # by which the archive knows this gateway
    configuration: Path = Path("/etc/pacs-gateway")  # where the rendered files are mounted
    ops_pages: Path = Path("/usr/share/pacs/ops")
    scratch: Path = Path("/tmp")  # noqa: S108 - the one writable directory of a read-only container
    cache: Path = Path("/var/cache/pacs-gateway")  # patient data: memory, or an encrypted file system
    cache_mib: int = Field(default=256, ge=64, description="the size of what is mounted there")
    maps_mib: int = Field(
        default=64, ge=8, description="memory for where the bytes of series lie; about 2000 instances a MiB"
    )
    piece_kib: int = Field(
        default=2048, ge=64, description="of a body of many ranges: how much one request to the store brings"
    )
    modules: Path = Path("/usr/lib/nginx/modules")
    access_log: Path = Path("/dev/stdout")

    workers: int | None = Field(default=None, ge=1, description="None: one for each CPU")
    connections_per_address: int = Field(
        default=500, ge=1, description="a hospital is one address behind NAT"
    )
    largest_body_gib: int = Field(default=4, ge=1, description="contracts section 7: a pack is at most 4 GiB")
    largest_figures_kib: int = Field(
        default=1024, ge=64, description="a remote-write request; Prometheus sends some 50 KiB at a time"
    )
    upstream_seconds: int = Field(default=600, ge=1, description="silence after which a request is given up")
    refused_sites: tuple[RefusedSite, ...] = ()

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.prometheus is not None and self.prometheus_name is None:
            raise ValueError("prometheus is spoken to over TLS: it needs prometheus_name")
        if self.store is not None and self.store_name is None:
            raise ValueError("the object store is spoken to over TLS: it needs store_name")
        return self

    @property
    def store_host(self) -> str:
        """The Host header that the archive's signatures are made for."""
        return (self.store or "").removesuffix(":443")
