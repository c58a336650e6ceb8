"""Namespaces with their Pod Security level, and the network policies that deny by default."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
from pulumi_kubernetes.core.v1 import Namespace
from pulumi_kubernetes.networking.v1 import NetworkPolicy

from infra import naming
from infra.components.network_policies import Policy
from infra.config.sections import PodSecurityException

ALL = (
    naming.PACS,
    naming.MONITORING,
    naming.CEPH,
    naming.DATABASE_OPERATOR,
    naming.VOLUMES,
    naming.NODE_METRICS,
)


@dataclass(frozen=True)
class NamespacesArgs:
    """Exceptions from the restricted level, and the policies of our own namespaces."""

    exceptions: Sequence[PodSecurityException]
    policies: Sequence[Policy]


class Namespaces(pulumi.ComponentResource):
    """One Namespace an area, restricted unless excepted, and the policies of who may talk to whom."""

    def __init__(self, name: str, args: NamespacesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("pacs:kubernetes:Namespaces", name, {}, opts)
        child = pulumi.ResourceOptions(parent=self)
        made = {
            namespace: Namespace(
                namespace,
                metadata={"name": namespace, **_pod_security(namespace, args.exceptions)},
                opts=child,
            )
            for namespace in ALL
        }
        for policy in args.policies:
            NetworkPolicy(
                f"{policy.namespace}-{policy.name}",
                metadata={"name": policy.name, "namespace": policy.namespace},
                spec=policy.spec(),
                opts=pulumi.ResourceOptions(parent=self, depends_on=[made[policy.namespace]]),
            )
        self.register_outputs({})


def _pod_security(namespace: str, exceptions: Sequence[PodSecurityException]) -> dict[str, dict[str, str]]:
    """Labels that the API server enforces, and the reason of an exception as an annotation."""
    found = {exception.namespace: exception for exception in exceptions}.get(namespace)
    level: str = found.level if found else "restricted"
    labels: dict[str, str] = {
        f"pod-security.kubernetes.io/{mode}": level for mode in ("enforce", "audit", "warn")
    }
    return {"labels": labels, "annotations": {"pacs/pod-security-reason": found.reason} if found else {}}
