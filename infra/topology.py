"""The region, top to bottom: read this file first.

hosts -> cluster -> object store, database -> PACS services -> observability -> gateway -> branches
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pulumi

from infra.components.branch import Branch, BranchArgs
from infra.components.certificates import Certificates, CertificatesArgs, expiry_rules
from infra.components.cluster import Cluster, ClusterArgs
from infra.components.database import Database, DatabaseArgs, Volumes, VolumesArgs
from infra.components.gateway import Gateway, GatewayArgs, read_pages
from infra.components.hosts import Hosts, HostsArgs, device_paths, internet_between, makes_machines, node_spec
from infra.components.namespaces import Namespaces, NamespacesArgs
from infra.components.network_policies import policies
from infra.components.node_metrics import NodeMetrics, NodeMetricsArgs
from infra.components.object_store import ObjectStore, ObjectStoreArgs
from infra.components.observability import Observability, ObservabilityArgs, read_rules
from infra.components.pacs_services import PacsServices, PacsServicesArgs
from infra.config.region import RegionConfig
from infra.credentials import Credentials
from infra.supplies import Supplies

DASHBOARDS = Path(__file__).resolve().parents[1] / "dashboards"


@dataclass(frozen=True)
class Region:
    """What the program exports."""

    gateway_url: pulumi.Input[str]
    kubeconfig: pulumi.Output[str]
    branches: dict[str, pulumi.Output[str]]


def build(region: RegionConfig, supplies: Supplies, credentials: Credentials) -> Region:
    """Register every resource of the region. Call it inside a Pulumi program."""
    nodes = region.datacenter.nodes
    hosts = Hosts(
        "datacenter",
        HostsArgs(
            [node_spec(region, node, supplies.state_dir) for node in nodes],
            internet_between(region, supplies.state_dir),
        ),
    ).hosts

    cluster = Cluster("centre", ClusterArgs(region, hosts, supplies))
    inside = _Inside(cluster, hosts[nodes[0].name] if makes_machines(region) else None)

    namespaces = Namespaces(
        "namespaces",
        NamespacesArgs(
            region.kubernetes.pod_security_exceptions,
            policies(
                region.network.management,
                sorted({peer.network for peer in region.archive.calling}),
                region.object_store.second_copy_port,
                [(one.host, one.port) for one in region.archive.destinations],
            ),
        ),
        inside.after(),
    )
    certificates = Certificates("certificates", CertificatesArgs(credentials), inside.after(namespaces))
    volumes = Volumes("volumes", VolumesArgs(supplies), inside.after(namespaces))

    devices = {node.name: device_paths(hosts[node.name]) for node in nodes}
    object_store = ObjectStore(
        "object-store", ObjectStoreArgs(region, supplies, devices), inside.after(certificates)
    )
    database = Database("database", DatabaseArgs(region, supplies), inside.after(certificates, volumes))

    services = PacsServices(
        "services", PacsServicesArgs(region, credentials, supplies), inside.after(object_store, database)
    )
    NodeMetrics("node-metrics", NodeMetricsArgs(supplies), inside.after(namespaces))
    observability = Observability(
        "observability",
        ObservabilityArgs(
            region,
            credentials,
            supplies,
            {**read_rules(DASHBOARDS / "out/rules/centre"), "certificates.yaml": expiry_rules(credentials)},
        ),
        inside.after(volumes, certificates),
    )
    # Last inside: nginx resolves the names of what lies behind it when it starts.
    gateway = Gateway(
        "gateway",
        GatewayArgs(region, credentials, supplies, read_pages(DASHBOARDS / "page", DASHBOARDS / "out/page")),
        inside.after(services, observability),
    )

    (branch_rules,) = read_rules(DASHBOARDS / "out/rules/branch").values()
    # A branch enrols through the gateway; one that cannot be reached is pending and holds nothing up.
    branches = {
        branch.site: Branch(
            branch.site,
            BranchArgs(region, branch, credentials, supplies, branch_rules, door=gateway),
        )
        for branch in region.branches
    }
    return Region(gateway.url, cluster.kubeconfig, {site: branch.status for site, branch in branches.items()})


class _Inside:
    """Options of what lives in the cluster: its provider, and its end together with a machine of ours."""

    def __init__(self, cluster: Cluster, machine: pulumi.Resource | None) -> None:
        self._cluster = cluster
        self._machine = machine

    def after(self, *earlier: pulumi.Resource) -> pulumi.ResourceOptions:
        """Options for a component that needs `earlier` to be there first."""
        dependencies: Sequence[pulumi.Resource] = earlier
        return pulumi.ResourceOptions(
            providers={"kubernetes": self._cluster.provider},
            depends_on=list(dependencies),
            transformations=[self._ends_with_machine] if self._machine is not None else None,
        )

    def _ends_with_machine(
        self, args: pulumi.ResourceTransformationArgs
    ) -> pulumi.ResourceTransformationResult | None:
        """`down` removes the machine; deleting each object in it first would take minutes for nothing."""
        if not args.type_.startswith("kubernetes:"):
            return None
        options: Any = args.opts
        options.deleted_with = self._machine
        return pulumi.ResourceTransformationResult(args.props, options)
