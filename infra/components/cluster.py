"""The data centre's Kubernetes cluster: the play that makes it, and the way in."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_kubernetes as kubernetes

from infra.components.hosts import device_paths, inventory_host
from infra.config.region import RegionConfig
from infra.config.sections import Node, RegistryImages
from infra.providers.ansible_play import AnsiblePlay, AnsiblePlayArgs, results_file, role_digest
from infra.providers.host import Host
from infra.providers.play_results import PlayResults
from infra.supplies import Supplies

PLAYBOOK = "playbooks/datacenter.yml"
PLAY = "datacenter"
KUBERNETES_REPOSITORY = "registry.k8s.io"
"""What kubeadm names its images after where no registry of the site serves them."""


@dataclass(frozen=True)
class ClusterArgs:
    """The region, the hosts by name, and what the nodes are made of."""

    region: RegionConfig
    hosts: Mapping[str, Host]
    supplies: Supplies


class Cluster(pulumi.ComponentResource):
    """Kubernetes by kubeadm on the data-centre hosts (one play), and a provider with its kubeconfig."""

    provider: kubernetes.Provider

    def __init__(self, name: str, args: ClusterArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("pacs:kubernetes:Cluster", name, {}, opts)
        region, supplies = args.region, args.supplies
        play = AnsiblePlay(
            PLAY,
            AnsiblePlayArgs(
                playbook=PLAYBOOK,
                hosts=[_inventory(args.hosts[node.name], node) for node in region.datacenter.nodes],
                variables={
                    **node_variables(region, supplies),
                    **network_variables(region, supplies),
                    "ceph_device_encrypted": region.object_store.encrypt_devices,
                },
                role_digest=role_digest(PLAYBOOK),
                state_dir=supplies.state_dir,
            ),
            pulumi.ResourceOptions(parent=self),
        )
        results = PlayResults(
            "datacenter-results",
            results_file(supplies.state_dir, PLAY),
            pulumi.ResourceOptions(parent=self, depends_on=[play]),
        )
        self.kubeconfig = results.value("kubeconfig")
        self.provider = kubernetes.Provider(
            "kubernetes",
            kubeconfig=self.kubeconfig,
            # A renewed certificate is an update of the provider; only another region is another cluster.
            cluster_identifier=f"{region.region.name}/{region.kubernetes.control_plane_endpoint}",
            enable_server_side_apply=True,
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.register_outputs({"kubeconfig": self.kubeconfig})


def _inventory(host: Host, node: Node) -> pulumi.Output[dict[str, Any]]:
    groups = ["datacenter", *(role.replace("-", "_") for role in node.roles)]
    variables = {
        "ceph_device_paths": device_paths(host),
        "kubernetes_node_address": node.address,
        "kubernetes_node_schedulable": carries_work(node),
    }
    return inventory_host(host, groups, variables)


def carries_work(node: Node) -> bool:
    """Whether pods may run on a control plane: it is a worker, or has disks that Ceph's daemons serve."""
    return node.roles != ["control-plane"]


def node_variables(
    region: RegionConfig, supplies: Supplies, images: Collection[str] | None = None
) -> dict[str, Any]:
    """Variables of the role kubernetes_node that hold for every node, also of a branch's own cluster.

    `images` names those of ours that the node needs, all by default; kubeadm's own are always among them.
    """
    ours = set(supplies.images.values())
    needed = ours if images is None else {supplies.images[name] for name in images}
    repository = (
        region.images.registry if isinstance(region.images, RegistryImages) else KUBERNETES_REPOSITORY
    )
    return {
        "kubernetes_node_version": region.kubernetes.version,
        "kubernetes_node_etcd_version": supplies.versions.etcd,
        "kubernetes_node_coredns_version": supplies.versions.coredns,
        "kubernetes_node_binaries": dict(supplies.programs),
        "kubernetes_node_images": [
            {"reference": image.reference, "digest": image.digest, "archive": image.archive}
            for image in supplies.archives
            if image.reference in needed or image.reference not in ours
        ],
        "kubernetes_node_image_repository": repository,
        "kubernetes_node_pause_image": f"{repository}/pause:{supplies.versions.pause}",
        "kubernetes_node_control_plane_endpoint": region.kubernetes.control_plane_endpoint,
        "kubernetes_node_control_planes": [
            {"name": node.name, "address": node.address} for node in region.datacenter.control_planes
        ],
        "kubernetes_node_extra_sans": [node.address for node in region.datacenter.nodes],
        "kubernetes_node_pod_cidr": region.network.pods,
        "kubernetes_node_service_cidr": region.network.services,
        "kubernetes_node_allow_cgroup_v1": region.kubernetes.allow_cgroup_v1,
        "kubernetes_node_restrict_oom_score": region.kubernetes.restrict_oom_score,
    }


def network_variables(region: RegionConfig, supplies: Supplies) -> dict[str, Any]:
    """Variables of the role kubernetes_node for the data centre's pod network; a branch has one node."""
    return {
        "kubernetes_node_cni": region.network.cni,
        "kubernetes_node_flannel_image": supplies.images.get("flannel", ""),
        "kubernetes_node_image_pull_policy": supplies.pull_policy,
        "kubernetes_node_network_manifest": str(supplies.network_manifest or ""),
    }
