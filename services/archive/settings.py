"""What the archive is told; environment variables with the prefix `PACS_`, secrets in files."""

from enum import StrEnum
from pathlib import Path
from typing import Self

from pydantic import Field, SecretStr, model_validator

from services.archive.dimse.caller import Caller
from services.common.settings import AETitle, ServiceSettings, read_secret


class StoreKind(StrEnum):
    """Where packs are kept."""

    FILESYSTEM = "filesystem"
    RGW = "rgw"


class ArchiveSettings(ServiceSettings):
    """One archive process, at the centre or at a branch; the difference is in these fields alone."""

    http_host: str = "0.0.0.0"  # noqa: S104 - hospital LAN or pod network; every route demands a token
    http_port: int = Field(default=8080, ge=0, le=65535)
    internal_host: str = "127.0.0.1"
    internal_port: int = Field(default=8090, ge=0, le=65535)
    tls_certificate_file: Path | None = Field(
        default=None, description="both HTTP listeners: certificate and chain, PEM; None: no TLS (loopback)"
    )
    tls_key_file: Path | None = Field(default=None, description="its private key, PEM")
    dimse_host: str = "0.0.0.0"  # noqa: S104 - modalities on the hospital LAN
    dimse_port: int = Field(default=11112, ge=0, le=65535)
    ae_title: AETitle = "PACS"
    dimse_callers: tuple[Caller, ...] = Field(
        default=(),
        description='who may call from where, JSON: [{"ae_title":"CT1","network":"10.91.1.0/30"}]; empty: nobody',
    )

    memory_bytes: int = Field(
        default=1 << 30,
        ge=512 << 20,
        description="what the process may take; bounds what is received at once",
    )
    rendering_workers: int = Field(
        default=2, ge=1, le=64, description="images that are decoded at a time, each in a process of its own"
    )
    rendering_memory_bytes: int = Field(
        default=512 << 20, ge=128 << 20, description="private memory of one worker, beside memory_bytes"
    )
    rendering_seconds: float = Field(
        default=30.0, gt=0, description="what work on one image may take before its worker is ended"
    )
    spool_directory: Path = Path("/var/lib/pacs/spool")
    quarantine_directory: Path = Path("/var/lib/pacs/quarantine")
    spool_reserve_bytes: int = Field(
        default=256 << 20, description="left free: below it new instances are refused"
    )
    seal_idle_seconds: float = Field(default=2.0, gt=0)
    seal_age_seconds: float = Field(default=2.0, gt=0)

    store: StoreKind = StoreKind.FILESYSTEM
    store_directory: Path = Path("/var/lib/pacs")
    store_endpoint: str = Field(default="", description="rgw: https URL of the S3 endpoint")
    store_bucket: str = "pacs-packs"
    store_access_key_file: Path | None = None
    store_secret_key_file: Path | None = None
    store_ca_file: Path | None = Field(
        default=None, description="rgw: CA certificates that its TLS is checked against"
    )

    wrapping_keys_file: Path | None = Field(
        default=None,
        description="rgw: the region's wrapping keys; with them every object is encrypted (ADR-0018)",
    )

    database_url: SecretStr | None = None
    database_url_file: Path | None = None
    database_connections: int = Field(default=8, ge=1, le=100)

    token_jwks_file: Path = Path("/var/lib/pacs/config/tokens.jwks")
    gateway_key_file: Path | None = Field(
        default=None, description="shared with the gateway; None: no ingest"
    )

    receipt_key_file: Path | None = Field(default=None, description="centre: Ed25519 private key, PEM")
    receipt_certificate_file: Path | None = Field(default=None, description="its certificate and chain, PEM")
    epoch: int = Field(default=1, ge=1, description="raised when the centre is restored from backup")

    outbox_directory: Path | None = Field(default=None, description="branch: hard links of packs to forward")
    receipts_directory: Path | None = Field(default=None, description="branch: receipts of forwarded packs")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.database_url is None and self.database_url_file is None:
            raise ValueError(
                "set PACS_DATABASE_URL_FILE to a file with PostgreSQL's URL (or PACS_DATABASE_URL)"
            )
        keys = (
            self.store_endpoint,
            self.store_access_key_file,
            self.store_secret_key_file,
            self.store_ca_file,
        )
        if self.store is StoreKind.RGW and not all(keys):
            raise ValueError(
                "PACS_STORE=rgw needs PACS_STORE_ENDPOINT, PACS_STORE_ACCESS_KEY_FILE, PACS_STORE_SECRET_KEY_FILE"
                " and PACS_STORE_CA_FILE"
            )
        if self.wrapping_keys_file is not None and self.store is not StoreKind.RGW:
            raise ValueError(
                "PACS_WRAPPING_KEYS_FILE needs PACS_STORE=rgw: a directory's encryption is its file system's"
            )
        if (self.tls_key_file is None) != (self.tls_certificate_file is None):
            raise ValueError("PACS_TLS_KEY_FILE and PACS_TLS_CERTIFICATE_FILE go together")
        if (self.receipt_key_file is None) != (self.receipt_certificate_file is None):
            raise ValueError("PACS_RECEIPT_KEY_FILE and PACS_RECEIPT_CERTIFICATE_FILE go together")
        if self.gateway_key_file is not None and self.receipt_key_file is None:
            raise ValueError("ingest (PACS_GATEWAY_KEY_FILE) answers receipts: set PACS_RECEIPT_KEY_FILE too")
        if self.outbox_directory is not None and self.store is not StoreKind.FILESYSTEM:
            raise ValueError(
                "PACS_OUTBOX_DIRECTORY holds hard links to packs: it needs PACS_STORE=filesystem"
            )
        if (self.outbox_directory is None) != (self.receipts_directory is None):
            raise ValueError("PACS_OUTBOX_DIRECTORY and PACS_RECEIPTS_DIRECTORY go together")
        return self

    @property
    def dsn(self) -> str:
        """PostgreSQL's URL; read each time, so that a rotated password needs only a restart."""
        if self.database_url_file is not None:
            return read_secret(self.database_url_file)
        assert self.database_url is not None  # noqa: S101 - checked above
        return self.database_url.get_secret_value()

    @property
    def audiences(self) -> frozenset[str]:
        """For whom tokens must be made: the region, or this site alone (a branch's own tokens)."""
        return frozenset({f"region:{self.region}", f"site:{self.site}"})
