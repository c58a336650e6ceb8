"""The program as a function: `pulumi up` runs it through __main__.py, the Automation API calls it inline."""

from __future__ import annotations

from datetime import UTC, datetime

import pulumi

from infra.components.network_policies import enforcement
from infra.config.region import RegionConfig, parse_region
from infra.credentials import ensure_credentials
from infra.supplies import from_toolchain
from infra.topology import build


def program() -> None:
    """Build the region that Pulumi's configuration holds (`pacs:region`). Raises RegionConfigError first."""
    stack = pulumi.get_stack()
    document = pulumi.Config("pacs").require("region")
    deploy(parse_region(document, source=f"configuration of stack {stack}"), stack)


def deploy(region: RegionConfig, stack: str) -> None:
    """Build `region` and export where it is; the Automation API calls it as `lambda: deploy(region, stack)`.

    Raises PkiError or ToolchainError before anything is registered.
    """
    supplies = from_toolchain(region, stack)
    built = build(region, supplies, ensure_credentials(region, supplies, datetime.now(UTC)))
    pulumi.export("gateway_url", built.gateway_url)
    pulumi.export("kubeconfig", built.kubeconfig)
    pulumi.export("branches", built.branches)
    pulumi.export("network_policies", enforcement(region.network.cni))
