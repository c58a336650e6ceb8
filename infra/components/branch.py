"""A branch: a hospital's edge host and the two plays that make it one."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pulumi

from infra.components.cluster import node_variables
from infra.components.hosts import branch_spec, device_paths, inventory_host
from infra.config.region import RegionConfig
from infra.config.sections import Branch as BranchConfig
from infra.credentials import Credentials
from infra.layout.sizing import RENDERING_BYTES, branch_archive_bytes, branch_metrics_bytes, retention_days
from infra.providers.ansible_play import APPLIED, PENDING, AnsiblePlay, AnsiblePlayArgs, role_digest
from infra.providers.host import Host
from infra.supplies import Supplies

NODE_PLAYBOOK, PLAYBOOK = "playbooks/branch_node.yml", "playbooks/branch.yml"
IMAGES = ("services", "postgresql", "prometheus")
"""Our images that a branch runs; what kubeadm asks for comes beside them."""


@dataclass(frozen=True)
class BranchArgs:
    """The region, the branch's entry in it, public credentials, what a node is made of, and its alert rules.

    `door` is what it enrols through.
    """

    region: RegionConfig
    branch: BranchConfig
    credentials: Credentials
    supplies: Supplies
    rules: str
    door: pulumi.Resource


class Branch(pulumi.ComponentResource):
    """A Host, the play of its own cluster, and the play of its data path, which alone waits for the centre's door.

    A host out of reach leaves `status` pending, a fault `failed: why`; nothing waits for either.
    """

    def __init__(self, name: str, args: BranchArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("pacs:branch:Branch", name, {}, opts)
        region, branch, supplies = args.region, args.branch, args.supplies
        host = Host(
            branch.site,
            branch_spec(region, branch, supplies.state_dir),
            optional=True,
            opts=pulumi.ResourceOptions(parent=self),
        )

        def play(name: str, playbook: str, variables: dict[str, Any], *after: pulumi.Resource) -> AnsiblePlay:
            return AnsiblePlay(
                name,
                AnsiblePlayArgs(
                    playbook=playbook,
                    # Known when the host is made, and not before.
                    hosts=[inventory_host(host, ["branch"], {"edge_node_disks": device_paths(host)})],
                    variables=variables,
                    role_digest=role_digest(playbook),
                    state_dir=supplies.state_dir,
                    optional=True,
                ),
                pulumi.ResourceOptions(parent=self, depends_on=list(after)),
            )

        node = play(
            f"branch-{branch.site}-node", NODE_PLAYBOOK, branch_node_variables(region, branch, supplies)
        )
        variables = branch_variables(region, branch, args.credentials, supplies, args.rules)
        data_path = play(f"branch-{branch.site}", PLAYBOOK, variables, node, args.door)
        self.status = pulumi.Output.all(node.status, node.drift, data_path.status, data_path.drift).apply(
            lambda found: branch_status(found[:2], found[2:])
        )
        self.register_outputs({"status": self.status})


def branch_status(*plays: Sequence[Any]) -> str:
    """What the stack exports of a branch: of the first play that is not applied its status, and the reason if known.

    A play is its `status` and its `drift`.
    """
    for status, drift in plays:
        if status != APPLIED:
            return f"{status or PENDING}: {drift[0]}" if drift else status or PENDING
    return APPLIED


def branch_node_variables(region: RegionConfig, branch: BranchConfig, supplies: Supplies) -> dict[str, Any]:
    """Variables of the role kubernetes_node for the branch's own cluster of one."""
    return {
        **node_variables(region, supplies, images=IMAGES),
        "kubernetes_node_control_plane_endpoint": f"api.{branch.site}.{region.region.domain}",
        "kubernetes_node_control_planes": [{"name": branch.site, "address": branch.address}],
        "kubernetes_node_extra_sans": [branch.address],
        "kubernetes_node_address": branch.address,
    }


def branch_variables(
    region: RegionConfig, branch: BranchConfig, credentials: Credentials, supplies: Supplies, rules: str
) -> dict[str, Any]:
    """Variables of the role edge_node for one branch. None of them is secret.

    The one-time enrolment token is not among them: the play asks for one on the operator's machine, and only
    while the host has no identity.
    """
    return {
        "edge_node_region": region.region.name,
        "edge_node_domain": region.region.domain,
        "edge_node_institution": branch.institution,
        "edge_node_site": branch.site,
        "edge_node_state_directory": str(supplies.state_dir),
        "edge_node_images": {name: supplies.images[name] for name in IMAGES},
        "edge_node_image_pull_policy": supplies.pull_policy,
        "edge_node_gateway_address": region.network.gateway_address,
        "edge_node_gateway_names": [region.gateway_name, region.ca_name],
        "edge_node_lan_address": branch.lan_address,
        "edge_node_ae_title": branch.ae_title,
        "edge_node_dimse_port": branch.dimse_port,
        "edge_node_archive_bytes": branch_archive_bytes(branch.memory),
        "edge_node_rendering_bytes": RENDERING_BYTES,
        "edge_node_calling": [peer.model_dump() for peer in branch.calling],
        "edge_node_metrics_days": retention_days(region.observability.retention),
        "edge_node_metrics_bytes": branch_metrics_bytes(branch.disk.size),
        "edge_node_alert_rules": b64encode(rules.encode()).decode(),
        "edge_node_root": credentials.root,
        "edge_node_root_fingerprint": credentials.root_fingerprint,
        "edge_node_receipt_certificates": credentials.receipts.chain,
        "edge_node_token_keys": credentials.token_keys,
    }
