"""Ceph by the Rook operator: the cluster, the S3 gateway (RGW), and the archive's user."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pulumi
from pulumi_kubernetes.apiextensions import CustomResource

from infra import naming
from infra.components.ceph_specs import (
    as_rook_keeps,
    cluster_spec,
    object_store_spec,
    upkeep_commands,
    upkeep_specs,
)
from infra.components.manifests import Manifests, Patch, container_of, read, without_namespaces
from infra.components.pods import Object
from infra.config.region import RegionConfig
from infra.supplies import Supplies

# Rook writes defaults into its own resources' specs and owns those fields then: what we declare wins.
_READY = {"pulumi.com/waitFor": "jsonpath={.status.phase}=Ready", "pulumi.com/patchForce": "true"}


@dataclass(frozen=True)
class ObjectStoreArgs:
    """The region, the images and manifests, and the devices of each storage node by path."""

    region: RegionConfig
    supplies: Supplies
    devices: Mapping[str, pulumi.Input[list[str]]]


class ObjectStore(pulumi.ComponentResource):
    """Rook's operator, a CephCluster (msgr2 with encryption only), RGW with TLS, and the archive's S3 user.

    The user's keys are made by Rook as a Secret in the archive's namespace; this program never sees them.
    """

    def __init__(self, name: str, args: ObjectStoreArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("pacs:storage:ObjectStore", name, {}, opts)
        region, supplies = args.region, args.supplies
        definitions = Manifests(
            "rook-definitions",
            [
                *read(supplies.manifest("rook", "crds.yaml")),
                *_rights(supplies.manifest("rook", "common.yaml")),
            ],
            pulumi.ResourceOptions(parent=self),
        )
        operator = Manifests(
            "rook-operator",
            read(supplies.manifest("rook", "operator.yaml"), operator_patch(region, supplies)),
            pulumi.ResourceOptions(parent=self, depends_on=[definitions]),
        )
        cluster = self._resource(
            "ceph",
            "CephCluster",
            naming.CEPH_CLUSTER,
            naming.CEPH,
            cluster_spec(region, supplies.images["ceph"], args.devices),
            after=operator,
            minutes=30,
        )
        store = self._resource(
            "packs",
            "CephObjectStore",
            naming.OBJECT_STORE,
            naming.CEPH,
            object_store_spec(region),
            after=cluster,
        )
        self._resource(
            "archive-user",
            "CephObjectStoreUser",
            naming.OBJECT_STORE_USER,
            naming.PACS,
            {
                "store": naming.OBJECT_STORE,
                "clusterNamespace": naming.CEPH,
                "displayName": "The archive service",
                "quotas": {"maxBuckets": 4},
            },
            after=store,
        )
        if upkeep_commands(region.object_store):
            Manifests(
                "ceph-upkeep",
                upkeep_specs(region, supplies.images["ceph"], supplies.pull_policy),
                pulumi.ResourceOptions(parent=self, depends_on=[store]),
            )
        self.endpoint = f"https://{naming.object_store_host()}:443"
        self.register_outputs({"endpoint": self.endpoint})

    def _resource(
        self,
        name: str,
        kind: str,
        physical: str,
        namespace: str,
        spec: Object,
        *,
        after: pulumi.Resource,
        minutes: int = 15,
    ) -> CustomResource:
        return CustomResource(
            name,
            api_version="ceph.rook.io/v1",
            kind=kind,
            metadata={"name": physical, "namespace": namespace, "annotations": _READY},
            spec=as_rook_keeps(spec),
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=[after],
                custom_timeouts=pulumi.CustomTimeouts(create=f"{minutes}m", update=f"{minutes}m"),
            ),
        )


def _rights(path: Path) -> list[Object]:
    return read(path, without_namespaces, without_csi)


def without_csi(document: Object) -> Object | None:
    """Volumes come from local-path and images from S3: the drivers' accounts and roles stay away."""
    name = document["metadata"]["name"]
    is_driver = name.startswith(("rook-csi-", "cephfs-", "rbd-", "objectstorage-provisioner"))
    return None if is_driver else document


def operator_patch(region: RegionConfig, supplies: Supplies) -> Patch:
    """Our image and pull policy, no CSI drivers, loop devices where RegionConfig allows them."""
    settings = {
        "ROOK_CSI_ENABLE_RBD": "false",
        "ROOK_CSI_ENABLE_CEPHFS": "false",
        "ROOK_CEPH_ALLOW_LOOP_DEVICES": str(region.object_store.allow_loop_devices).lower(),
        "ROOK_ENABLE_DISCOVERY_DAEMON": "false",
        # No bucket claims here: the archive makes its bucket with its own user.
        "ROOK_OBC_WATCH_OPERATOR_NAMESPACE": "true",
    }

    def patch(document: Object) -> Object | None:
        if document["kind"] == "ConfigMap":
            document["data"] |= settings
        if document["kind"] == "Deployment":
            container = container_of(document)
            container["image"] = supplies.images["rook"]
            container["imagePullPolicy"] = supplies.pull_policy
        return document

    return patch
