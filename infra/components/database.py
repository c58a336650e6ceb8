"""PostgreSQL by CloudNativePG: the operator, volumes by local-path, and the cluster that holds the index."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi_kubernetes.apiextensions import CustomResource

from infra import naming
from infra.components.manifests import Manifests, Patch, container_of, read, without_namespaces
from infra.components.pods import RESTRICTED, SERVICE_UID, Object
from infra.config.region import RegionConfig
from infra.config.sections import Database as DatabaseConfig
from infra.layout.sizing import size_bytes
from infra.supplies import Supplies

_POSTGRES_UID = 26


@dataclass(frozen=True)
class VolumesArgs:
    """Images and manifests."""

    supplies: Supplies


class Volumes(pulumi.ComponentResource):
    """local-path-provisioner and its storage class: volumes are directories on the node's own disk."""

    def __init__(self, name: str, args: VolumesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("pacs:storage:Volumes", name, {}, opts)
        manifest = args.supplies.manifest("local_path_provisioner", "local-path-storage.yaml")
        Manifests(
            "volumes",
            read(manifest, without_namespaces, volumes_patch(args.supplies)),
            pulumi.ResourceOptions(parent=self),
        )
        self.register_outputs({})


@dataclass(frozen=True)
class DatabaseArgs:
    """The region, and images and manifests."""

    region: RegionConfig
    supplies: Supplies


class Database(pulumi.ComponentResource):
    """CloudNativePG's operator and one PostgreSQL cluster; with standbys, a commit waits for one of them.

    The application's password is made by the operator as a Secret; this program never sees it.
    """

    def __init__(self, name: str, args: DatabaseArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("pacs:storage:Database", name, {}, opts)
        manifest = args.supplies.manifest("cloudnative_pg", "cnpg.yaml")
        operator = Manifests(
            "cloudnative-pg",
            read(manifest, without_namespaces, operator_patch(args.supplies)),
            pulumi.ResourceOptions(parent=self),
        )
        CustomResource(
            "index",
            api_version="postgresql.cnpg.io/v1",
            kind="Cluster",
            metadata={
                "name": naming.DATABASE_CLUSTER,
                "namespace": naming.PACS,
                "annotations": {"pulumi.com/waitFor": "condition=Ready", "pulumi.com/patchForce": "true"},
            },
            spec=cluster_spec(args.region.database, args.supplies),
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=[operator],
                custom_timeouts=pulumi.CustomTimeouts(create="15m", update="15m"),
            ),
        )
        self.host = naming.database_host()
        self.register_outputs({"host": self.host})


def operator_patch(supplies: Supplies) -> Patch:
    """Our image (also as the instances' init container) and pull policy."""

    def patch(document: Object) -> Object | None:
        if document["kind"] == "Deployment":
            container = container_of(document)
            container["image"] = supplies.images["cloudnative-pg"]
            container["imagePullPolicy"] = supplies.pull_policy
            for variable in container["env"]:
                if variable["name"] == "OPERATOR_IMAGE_NAME":
                    variable["value"] = supplies.images["cloudnative-pg"]
        return document

    return patch


def cluster_spec(database: DatabaseConfig, supplies: Supplies) -> Any:
    """The Cluster resource's `spec`."""
    postgresql: Object = {
        "parameters": {
            "shared_buffers": f"{size_bytes(database.memory) // 4 >> 20}MB",
            "effective_cache_size": f"{size_bytes(database.memory) // 2 >> 20}MB",
            "wal_compression": "lz4",
            "log_min_duration_statement": "1s",
            "password_encryption": "scram-sha-256",
            "ssl_min_protocol_version": "TLSv1.2",
        },
        "pg_hba": ["hostnossl all all all reject"],
    }
    if database.synchronous_standbys:
        # Without "required" an acknowledged row can be lost when the primary fails.
        postgresql["synchronous"] = {
            "method": "any",
            "number": database.synchronous_standbys,
            "dataDurability": "required",
        }
    return {
        "instances": database.instances,
        "imageName": supplies.images["postgresql"],
        "imagePullPolicy": supplies.pull_policy,
        "postgresUID": _POSTGRES_UID,
        "postgresGID": _POSTGRES_UID,
        "enableSuperuserAccess": False,
        "bootstrap": {
            "initdb": {
                "database": naming.DATABASE_NAME,
                "owner": naming.DATABASE_NAME,
                "dataChecksums": True,
                "encoding": "UTF8",
                "localeCType": "C.UTF-8",
                "localeCollate": "C.UTF-8",
            }
        },
        "storage": {"size": database.size, "storageClass": naming.STORAGE_CLASS},
        "certificates": {"serverTLSSecret": naming.DATABASE_TLS, "serverCASecret": naming.DATABASE_CA},
        "postgresql": postgresql,
        "monitoring": {"tls": {"enabled": True}},
        "resources": {
            "requests": {"cpu": database.cpu, "memory": database.memory},
            "limits": {"memory": database.memory},
        },
        "primaryUpdateStrategy": "unsupervised",
    }


def volumes_patch(supplies: Supplies) -> Patch:
    """Our image, a restricted provisioner, and a helper that needs no image of its own."""

    def patch(document: Object) -> Object | None:
        if document["kind"] == "Deployment":
            container = container_of(document)
            container["image"] = supplies.images["local-path-provisioner"]
            container["imagePullPolicy"] = supplies.pull_policy
            container["command"] = [part for part in container["command"] if part != "--debug"]
            container["securityContext"] = {**RESTRICTED, "runAsUser": SERVICE_UID, "runAsGroup": SERVICE_UID}
        if document["kind"] == "ConfigMap":
            document["data"]["helperPod.yaml"] = json.dumps(_helper_pod(supplies), indent=1)
        return document

    return patch


def _helper_pod(supplies: Supplies) -> Object:
    """Makes and removes directories on the node's disk: root, but with no more than that needs."""
    needed = ["CHOWN", "DAC_OVERRIDE", "FOWNER"]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "helper-pod"},
        "spec": {
            "priorityClassName": "system-node-critical",
            "automountServiceAccountToken": False,
            "tolerations": [
                {"key": "node.kubernetes.io/disk-pressure", "operator": "Exists", "effect": "NoSchedule"}
            ],
            "containers": [
                {
                    "name": "helper-pod",
                    "image": supplies.images["services"],
                    "imagePullPolicy": supplies.pull_policy,
                    "securityContext": {
                        "runAsUser": 0,
                        "allowPrivilegeEscalation": False,
                        "capabilities": {"drop": ["ALL"], "add": needed},
                    },
                }
            ],
        },
    }
