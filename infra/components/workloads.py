"""Deployments, StatefulSets, DaemonSets and Services of ours, each in one line: the shapes are always the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pulumi
from pulumi_kubernetes.apps.v1 import DaemonSet, Deployment, StatefulSet
from pulumi_kubernetes.core.v1 import ConfigMap, Service
from pulumi_kubernetes.policy.v1 import PodDisruptionBudget

from infra import naming
from infra.components.pods import Object, labels


def deployment(
    name: str,
    namespace: str,
    pod: Any,
    *,
    replicas: int,
    annotations: Mapping[str, str],
    opts: pulumi.ResourceOptions,
    recreate: bool = False,
) -> Deployment:
    """A Deployment; `recreate` where two pods must not share a volume."""
    strategy: Object = (
        {"type": "Recreate"}
        if recreate
        else {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0}}
    )
    return Deployment(
        name,
        metadata={"name": name, "namespace": namespace, "labels": labels(name)},
        spec=_any({
            "replicas": replicas,
            "strategy": strategy,
            "selector": {"matchLabels": labels(name)},
            "template": {"metadata": {"labels": labels(name), "annotations": dict(annotations)}, "spec": pod},
        }),
        opts=opts,
    )  # fmt: skip


def stateful_set(
    name: str,
    namespace: str,
    pod: Any,
    *,
    replicas: int,
    claims: Mapping[str, str],
    annotations: Mapping[str, str],
    opts: pulumi.ResourceOptions,
) -> StatefulSet:
    """A StatefulSet whose every replica has volumes of its own (`claims`: name -> size)."""
    return StatefulSet(
        name,
        metadata={"name": name, "namespace": namespace, "labels": labels(name)},
        spec=_any({
            "replicas": replicas,
            "serviceName": f"{name}-pods",
            "podManagementPolicy": "Parallel",
            "selector": {"matchLabels": labels(name)},
            "template": {"metadata": {"labels": labels(name), "annotations": dict(annotations)}, "spec": pod},
            "volumeClaimTemplates": [
                {
                    "metadata": {"name": claim},
                    "spec": {
                        "accessModes": ["ReadWriteOnce"],
                        "storageClassName": naming.STORAGE_CLASS,
                        "resources": {"requests": {"storage": size}},
                    },
                }
                for claim, size in claims.items()
            ],
        }),
        opts=opts,
    )  # fmt: skip


def daemon_set(name: str, namespace: str, pod: Any, *, opts: pulumi.ResourceOptions) -> DaemonSet:
    """A DaemonSet: one pod on each node."""
    return DaemonSet(
        name,
        metadata={"name": name, "namespace": namespace, "labels": labels(name)},
        spec=_any({
            "selector": {"matchLabels": labels(name)},
            "template": {"metadata": {"labels": labels(name)}, "spec": pod},
        }),
        opts=opts,
    )  # fmt: skip


def service(
    name: str,
    namespace: str,
    ports: Mapping[str, int],
    *,
    opts: pulumi.ResourceOptions,
    selects: Mapping[str, str] | None = None,
    headless: bool = False,
    node_port: int | None = None,
    target: int | None = None,
) -> Service:
    """A Service over the pods labelled `name` (or `selects`). Pulumi does not wait for its endpoints.

    `headless`: one address a pod, for discovery by name. `node_port`: reachable on every node, with the
    caller's own address kept.
    """
    spec: Object = {
        "selector": dict(selects or labels(name)),
        "ports": [
            {
                "name": port_name,
                "port": port,
                "targetPort": target or port,
                **({"nodePort": node_port} if node_port else {}),
            }
            for port_name, port in ports.items()
        ],
    }
    if headless:
        spec |= {"clusterIP": "None", "publishNotReadyAddresses": True}
    if node_port:
        spec |= {"type": "NodePort", "externalTrafficPolicy": "Local"}
    return Service(
        name,
        metadata={"name": name, "namespace": namespace, "annotations": {"pulumi.com/skipAwait": "true"}},
        spec=_any(spec),
        opts=opts,
    )


def disruption_budget(name: str, namespace: str, opts: pulumi.ResourceOptions) -> PodDisruptionBudget:
    """Maintenance takes one pod of a service at a time."""
    return PodDisruptionBudget(
        name,
        metadata={"name": name, "namespace": namespace},
        spec=_any({"maxUnavailable": 1, "selector": {"matchLabels": labels(name)}}),
        opts=opts,
    )


def config_map(
    name: str, namespace: str, files: Mapping[str, str], opts: pulumi.ResourceOptions
) -> ConfigMap:
    """A ConfigMap of files."""
    return ConfigMap(name, metadata={"name": name, "namespace": namespace}, data=dict(files), opts=opts)


def _any(spec: Object) -> Any:
    """Specifications are plain data in Kubernetes' own spelling; pulumi-kubernetes passes them through."""
    return spec
