"""nginx: the one door of the data centre, on port 443 of every node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pulumi

from infra import naming
from infra.components.certificates import GATEWAY_IDENTITY
from infra.components.pods import Object, container, digest_annotation, pod_spec, probe, resources, spread
from infra.components.workloads import config_map, deployment, disruption_budget, service
from infra.config.region import RegionConfig
from infra.credentials import Credentials
from infra.layout.sizing import size_bytes
from infra.supplies import Supplies
from services.gateway.rendering import render
from services.gateway.settings import GatewaySettings, RefusedSite

# Images pass through without touching the disk; what nginx takes whole has at most 1 MiB (metrics).
_SCRATCH = "256Mi"
_MAPS = 8  # of what nginx has for itself, an eighth holds where the bytes of series lie


@dataclass(frozen=True)
class GatewayArgs:
    """The region, its credentials (for what is public in them), images, and the operations page's files."""

    region: RegionConfig
    credentials: Credentials
    supplies: Supplies
    ops_pages: Mapping[str, str]


class Gateway(pulumi.ComponentResource):
    """nginx with its rendered configuration, the region's certificate, and the NodePort branches reach."""

    def __init__(self, name: str, args: GatewayArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("pacs:network:Gateway", name, {}, opts)
        child = pulumi.ResourceOptions(parent=self)
        region, settings = args.region, gateway_settings(args.region)
        configuration = render(settings)
        config_map("gateway-configuration", naming.PACS, configuration, child)
        config_map("ops-pages", naming.PACS, args.ops_pages, child)
        service(
            naming.GATEWAY,
            naming.PACS,
            {"https": 443},
            target=settings.port,
            node_port=region.gateway.node_port,
            opts=child,
        )
        service("gateway-pods", naming.PACS, {"status": settings.status_port}, headless=True,
                selects={"app.kubernetes.io/name": naming.GATEWAY}, opts=child)  # fmt: skip
        deployment(
            naming.GATEWAY,
            naming.PACS,
            gateway_pod(region, args.supplies, settings),
            replicas=region.gateway.replicas,
            annotations=digest_annotation(
                configuration,
                sorted(args.ops_pages),
                args.credentials.gateway.chain,
                args.credentials.revocation_list,
            ),
            opts=child,
        )
        if region.gateway.replicas > 1:
            disruption_budget(naming.GATEWAY, naming.PACS, child)
        self.url = f"https://{region.gateway_name}"
        self.register_outputs({"url": self.url})


def gateway_settings(region: RegionConfig) -> GatewaySettings:
    """What the gateway is told, derived from RegionConfig."""
    refused = [region.branch(site) for site in region.gateway.refused_sites]
    return GatewaySettings(
        domain=region.region.domain,
        archive=f"{naming.archive_host()}:8080",
        ingest=f"{naming.archive_host()}:8090",
        archive_name=naming.archive_host(),
        prometheus_name=naming.prometheus_host(),
        ca=f"{naming.service_host(naming.CA, naming.PACS)}:9000",
        store=f"{naming.object_store_host()}:443",
        store_name=naming.object_store_host(),
        cache_mib=size_bytes(region.gateway.cache) >> 20,
        maps_mib=(size_bytes(region.gateway.memory) - size_bytes(region.gateway.cache)) // _MAPS >> 20,
        prometheus=f"{naming.prometheus_host()}:9090",
        refused_sites=tuple(
            RefusedSite(institution=branch.institution, site=branch.site) for branch in refused
        ),
    )


def gateway_pod(region: RegionConfig, supplies: Supplies, settings: GatewaySettings) -> Object:
    """nginx's pod; its scratch directory holds small request bodies (metrics) alone, and is bounded."""
    main = container(
        "nginx",
        supplies.images["gateway"],
        supplies.pull_policy,
        {
            str(settings.configuration): "configuration",
            str(settings.certificate.parent): "identity",
            str(settings.ops_pages): "pages",
            str(settings.cache): "cache!",
        },
        args=["-c", str(settings.configuration / "nginx.conf")],
        ports=[
            {"name": "https", "containerPort": settings.port},
            {"name": "status", "containerPort": settings.status_port},
        ],
        resources=resources(region.gateway.cpu, region.gateway.memory),
        livenessProbe=probe("/healthz", settings.status_port, scheme="HTTPS"),
        readinessProbe=probe("/healthz", settings.status_port, scheme="HTTPS", period=5),
        lifecycle={
            "preStop": {
                "exec": {
                    "command": ["/usr/sbin/nginx", "-c", f"{settings.configuration}/nginx.conf", "-s", "quit"]
                }
            }
        },
    )
    volumes: list[Object] = [
        {"name": "configuration", "configMap": {"name": "gateway-configuration"}},
        {"name": "identity", "secret": {"secretName": GATEWAY_IDENTITY, "defaultMode": 0o440}},
        {"name": "pages", "configMap": {"name": "ops-pages"}},
        # Patient data: memory of the pod (and within its limit), never the node's disk.
        {"name": "cache", "emptyDir": {"medium": "Memory", "sizeLimit": region.gateway.cache}},
    ]
    pod = pod_spec(
        [main], volumes, terminationGracePeriodSeconds=60, topologySpreadConstraints=spread(naming.GATEWAY)
    )
    for volume in pod["volumes"]:
        if volume["name"] == "tmp":
            volume["emptyDir"] = {"sizeLimit": _SCRATCH}
    return pod


def read_pages(*directories: Path) -> dict[str, str]:
    """The operations page's files by name; none from a directory that is not there."""
    kinds = {".html", ".css", ".js", ".json", ".svg"}
    return {
        path.name: path.read_text(encoding="utf-8")
        for directory in directories
        if directory.is_dir()
        for path in sorted(directory.iterdir())
        if path.suffix in kinds
    }
