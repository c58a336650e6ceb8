"""What the edge service is told; environment variables with the prefix `PACS_`, secrets in files."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from services.common.settings import DnsLabel, ServiceSettings


class EdgeSettings(ServiceSettings):
    """Who this site is, where its files lie (contracts section 12) and how hard it may push its line."""

    domain: str = Field(description="the region's domain; gateway and CA are pacs.<domain> and ca.<domain>")
    institution: DnsLabel
    site: DnsLabel
    data_directory: Path = Path("/var/lib/pacs")
    receipt_certificates: Path = Path("/var/lib/pacs/config/receipts.crt")
    ledger_url_file: Path | None = Field(
        default=None, description="file with PostgreSQL's URL; None: no ledger"
    )

    edge_host: str = "127.0.0.1"
    edge_port: int = 8081
    edge_connections: int = Field(default=4, ge=1, le=64, description="packs under way at the same time")
    edge_centre_port: int = Field(default=443, ge=1, le=65535)
    edge_connect_seconds: float = Field(default=10.0, gt=0)
    edge_answer_seconds: float = Field(
        default=300.0, gt=0, description="silence after which a request is given up"
    )
    edge_probe_seconds: float = Field(
        default=30.0, gt=0, description="idle time after which the line is tried"
    )

    @property
    def centre_url(self) -> str:
        """Where packs go."""
        return f"https://pacs.{self.domain}:{self.edge_centre_port}"

    @property
    def authority_url(self) -> str:
        """Where certificates come from."""
        return f"https://ca.{self.domain}:{self.edge_centre_port}"
