"""Specifications of Ceph's resources, as functions of RegionConfig: plain data, tested as such."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

import pulumi

from infra import naming
from infra.components.pods import Object, container, pod_spec
from infra.config.region import RegionConfig
from infra.config.sections import CephPool, ErasureCodedPool, ObjectStoreConfig
from infra.layout.sizing import osd_memory_bytes

_ROOK_UID = 2016

_SPREAD_GATEWAYS = {
    "maxSkew": 1,
    "topologyKey": "kubernetes.io/hostname",
    "whenUnsatisfiable": "ScheduleAnyway",
    "labelSelector": {"matchLabels": {"app": "rook-ceph-rgw"}},
}


def cluster_spec(region: RegionConfig, image: str, devices: Mapping[str, pulumi.Input[list[str]]]) -> Object:
    """A CephCluster: encrypted messenger only, every device named, no daemon that the image has not."""
    store = region.object_store
    nodes = [node for node in region.datacenter.nodes if "storage" in node.roles]
    spare_nodes = len(region.datacenter.nodes) >= store.monitors
    return {
        "cephVersion": {"image": image, "allowUnsupported": store.allow_unsupported_ceph},
        "dataDirHostPath": "/var/lib/rook",
        # With a single copy an OSD can never be stopped "safely": Rook would wait for ever.
        "skipUpgradeChecks": store.data_pool.layout().width == 1,
        "mon": {"count": store.monitors, "allowMultiplePerNode": not spare_nodes},
        "mgr": {"count": store.managers, "allowMultiplePerNode": False},
        "dashboard": {"enabled": False},
        "monitoring": {"enabled": False, "metricsDisabled": not store.ceph_exporter},
        "network": {"connections": {"encryption": {"enabled": True}, "requireMsgr2": True}},
        "crashCollector": {"disable": True},
        "logCollector": {"enabled": False},
        "cephConfig": {"global": global_settings(store)},
        "resources": {
            "mon": {"requests": {"memory": "512Mi"}, "limits": {"memory": "2Gi"}},
            "mgr": {"requests": {"memory": "512Mi"}, "limits": {"memory": "2Gi"}},
        },
        "priorityClassNames": {
            "mon": "system-node-critical",
            "osd": "system-node-critical",
            "mgr": "system-cluster-critical",
        },
        "storage": {
            "useAllNodes": False,
            "useAllDevices": False,
            "config": {"encryptedDevice": str(store.encrypt_devices).lower()},
            "nodes": [
                {
                    "name": node.name,
                    "devices": pulumi.Output.from_input(devices[node.name]).apply(device_names),
                    "resources": _osd_resources(node.memory, len(node.disks)),
                }
                for node in nodes
            ],
        },
        "disruptionManagement": {"managePodBudgets": len(nodes) > 1},
    }


def global_settings(store: ObjectStoreConfig) -> dict[str, str]:
    """Ceph options; every value is text, as Rook wants it."""
    settings = {
        # These machines have large disks with little free: a percentage would warn from the first day.
        "mon_data_avail_warn": "5",
        "osd_pool_default_size": str(store.metadata_pool.size),
        "osd_pool_default_min_size": str(store.metadata_pool.layout().needed),
        "mon_allow_pool_size_one": str(store.metadata_pool.size == 1).lower(),
    }
    if store.osd_class_dir:
        # A relative class path makes RGW fail with "Operation not supported".
        settings["osd_class_dir"] = store.osd_class_dir
    return settings


def pool_spec(pool: CephPool, failure_domain: str) -> Object:
    """A pool of a CephObjectStore."""
    if isinstance(pool, ErasureCodedPool):
        return {
            "failureDomain": failure_domain,
            "erasureCoded": {"dataChunks": pool.data, "codingChunks": pool.coding},
            "parameters": {"min_size": str(pool.layout().needed)},
        }
    return {
        "failureDomain": failure_domain,
        "replicated": {"size": pool.size, "requireSafeReplicaSize": pool.size > 1},
        "parameters": {"min_size": str(pool.layout().needed)},
    }


def object_store_spec(region: RegionConfig) -> Object:
    """A CephObjectStore: TLS on 443 only, users of our namespace, pools that outlive the resource."""
    store = region.object_store
    return {
        "metadataPool": pool_spec(store.metadata_pool, store.failure_domain),
        "dataPool": pool_spec(store.data_pool, store.failure_domain),
        "preservePoolsOnDelete": True,
        "allowUsersInNamespaces": [naming.PACS],
        "gateway": {
            "securePort": 443,
            "sslCertificateRef": naming.OBJECT_STORE_TLS,
            "instances": store.gateways,
            "resources": {"requests": {"memory": "512Mi"}, "limits": {"memory": "2Gi"}},
            "placement": {"topologySpreadConstraints": [_SPREAD_GATEWAYS]},
            "priorityClassName": "system-cluster-critical",
        },
        # Rook's own pace leaves a gateway that is back without requests for most of a minute. Where it is the only
        # one, the archive has no store meanwhile.
        "healthCheck": {
            "startupProbe": {
                "probe": {"initialDelaySeconds": 1, "periodSeconds": 2, "failureThreshold": 165}
            },
            "readinessProbe": {
                "probe": {
                    "initialDelaySeconds": 1,
                    "periodSeconds": 3,
                    "successThreshold": 2,
                    "failureThreshold": 5,
                }
            },
        },
    }


def as_rook_keeps(spec: Object) -> Object:
    """The specification without what is false, and without the sections that this empties.

    Rook writes each resource back once, with Go's zero values left out; what was declared as `False` would then be
    missing in the cluster, and the next `up` would repair what nobody altered. Absent and false mean the same to it.
    """
    kept = {
        key: as_rook_keeps(value) if isinstance(value, dict) else value
        for key, value in spec.items()
        if value is not False
    }
    return {key: value for key, value in kept.items() if value != {}}


def device_names(paths: list[str] | None) -> list[Object]:
    """Devices as Rook names them: `loop3` and `sdb` bare, a link under /dev/disk by its whole path."""
    return [
        {"name": bare if "/" not in (bare := path.removeprefix("/dev/")) else path} for path in paths or []
    ]


def upkeep_commands(store: ObjectStoreConfig) -> list[str]:
    """Commands that bring Ceph to what RegionConfig says and Rook has no field for; each may be repeated."""
    commands = [f"ceph health mute {shlex.quote(check.code)} --sticky" for check in store.muted_health_checks]
    if not store.ceph_exporter:
        # With metrics disabled Rook starts no exporter, but also turns the mgr's own metrics off, again
        # and again; Prometheus reads those.
        commands.append("ceph mgr module enable prometheus")
    return commands


def upkeep_specs(region: RegionConfig, image: str, pull_policy: str) -> list[Object]:
    """A Job that runs `upkeep_commands` before Ceph counts as ready, and a CronJob that repeats them.

    Annotations carry why each health check is muted.
    """
    store = region.object_store
    reasons = {f"pacs/{check.code.lower()}": check.reason for check in store.muted_health_checks}
    metadata = {"name": "ceph-upkeep", "namespace": naming.CEPH, "annotations": reasons}
    commands = upkeep_commands(store)
    # A production cluster may have a warning that lasts: the Job waits, but not for ever.
    settled = "timeout 180 bash -c 'until ceph health | grep -q ^HEALTH_OK; do sleep 2; done' || ceph health"
    first = _upkeep_pod([*commands, settled], image, pull_policy)
    again = _upkeep_pod(commands, image, pull_policy)
    return [
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": metadata,
            "spec": {"backoffLimit": 6, "template": {"spec": first}},
        },
        {
            "apiVersion": "batch/v1",
            "kind": "CronJob",
            "metadata": metadata,
            "spec": {
                "schedule": "*/5 * * * *",
                "concurrencyPolicy": "Forbid",
                "successfulJobsHistoryLimit": 1,
                "failedJobsHistoryLimit": 1,
                "jobTemplate": {"spec": {"backoffLimit": 2, "template": {"spec": again}}},
            },
        },
    ]


def _upkeep_pod(commands: list[str], image: str, pull_policy: str) -> Object:
    mounts = {
        "/etc/ceph": "ceph-config!",
        "/etc/rook": "mon-endpoints",
        "/var/lib/rook-ceph-mon": "admin-secret",
    }
    username = {"secretKeyRef": {"name": "rook-ceph-mon", "key": "ceph-username"}}
    prepare = container(
        "config",
        image,
        pull_policy,
        mounts,
        command=["/usr/local/bin/toolbox.sh"],
        args=["--skip-watch"],
        env=[{"name": "ROOK_CEPH_USERNAME", "valueFrom": username}],
    )
    keep = container(
        "upkeep",
        image,
        pull_policy,
        {"/etc/ceph": "ceph-config"},
        command=["bash", "-ec", "\n".join(commands)],
    )
    volumes: list[Object] = [
        {"name": "ceph-config", "emptyDir": {}},
        {
            "name": "mon-endpoints",
            "configMap": {
                "name": "rook-ceph-mon-endpoints",
                "items": [{"key": "data", "path": "mon-endpoints"}],
            },
        },
        {
            "name": "admin-secret",
            "secret": {
                "secretName": "rook-ceph-mon",
                "items": [{"key": "ceph-secret", "path": "secret.keyring"}],
            },
        },
    ]
    return pod_spec([keep], volumes, user=_ROOK_UID, initContainers=[prepare], restartPolicy="OnFailure")


def _osd_resources(memory: str, devices: int) -> dict[str, Any]:
    target = osd_memory_bytes(memory, devices)
    # Ceph aims at osd_memory_target and may pass it for a moment; Rook derives the target from the request.
    limit = int(target * 1.5)
    return {"requests": {"memory": _binary(target)}, "limits": {"memory": _binary(limit)}}


def _binary(count: int) -> str:
    """A quantity as Kubernetes writes it: in the largest unit that leaves a whole number."""
    mebibytes = count >> 20
    return f"{mebibytes}Mi" if mebibytes % 1024 else f"{mebibytes >> 10}Gi"
