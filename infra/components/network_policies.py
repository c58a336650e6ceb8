"""Who may talk to whom in our namespaces. Everything else is denied, inward and outward.

The policies are declared on every cluster. Which CNI enforces them is RegionConfig's `network.cni`: cilium
does; bridge and flannel do not. Rules by `management` also mean the nodes themselves, which Cilium takes for an
address only with `policyCIDRMatchMode: nodes` (stacks/README.md).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import Any

from infra import naming
from infra.components.pods import Object

_API_SERVER = 6443


@dataclass(frozen=True)
class Peer:
    """Pods with `labels` in `namespace`; no labels: all of its pods. `cidr` instead: addresses."""

    namespace: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    cidr: str = ""

    def selector(self) -> Object:
        if self.cidr:
            return {"ipBlock": {"cidr": self.cidr}}
        selector: Object = {
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": self.namespace}}
        }
        if self.labels:
            selector["podSelector"] = {"matchLabels": dict(self.labels)}
        return selector


@dataclass(frozen=True)
class Conversation:
    """Traffic that is allowed: with these peers (none: anybody) on these ports (none: any)."""

    peers: Sequence[Peer] = ()
    ports: Sequence[int] = ()
    protocol: str = "TCP"

    def rule(self, direction: str) -> Object:
        rule: Object = {}
        if self.peers:
            rule[direction] = [peer.selector() for peer in self.peers]
        if self.ports:
            rule["ports"] = [{"port": port, "protocol": self.protocol} for port in self.ports]
        return rule


@dataclass(frozen=True)
class Policy:
    """What the pods with `labels` (none: all of the namespace) may receive and send."""

    name: str
    namespace: str
    labels: tuple[tuple[str, str], ...] = ()
    receives: Sequence[Conversation] = field(default_factory=tuple)
    sends: Sequence[Conversation] = field(default_factory=tuple)

    def spec(self) -> Any:
        """The NetworkPolicy's `spec`; both directions are listed, so what is not allowed is denied."""
        return {
            "podSelector": {"matchLabels": dict(self.labels)} if self.labels else {},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [conversation.rule("from") for conversation in self.receives],
            "egress": [conversation.rule("to") for conversation in self.sends],
        }


def _ours(service: str, namespace: str = naming.PACS) -> Peer:
    return Peer(namespace, (("app.kubernetes.io/name", service),))


def _pods(service: str) -> tuple[tuple[str, str], ...]:
    return (("app.kubernetes.io/name", service),)


_GATEWAY = _ours(naming.GATEWAY)
_ARCHIVE = _ours(naming.ARCHIVE)
_PROMETHEUS = _ours(naming.PROMETHEUS, naming.MONITORING)
_ALERTMANAGER = _ours(naming.ALERTMANAGER, naming.MONITORING)
_DATABASE = Peer(naming.PACS, (("cnpg.io/cluster", naming.DATABASE_CLUSTER),))
_RGW = Peer(naming.CEPH, (("app", "rook-ceph-rgw"),))
_DNS = Peer("kube-system", (("k8s-app", "kube-dns"),))


def policies(
    management: str,
    callers: Collection[str],
    second_copy_port: int | None = None,
    destinations: Collection[tuple[str, int]] = (),
) -> list[Policy]:
    """All policies of the region; hosts are on `management`, DIMSE comes from the networks of `callers` alone and
    goes to `destinations` (hosts and ports) alone; one that is known by name may be at any address.

    The second copy's endpoint lies outside the cluster, under a name: its port is all that can be said of it.
    """
    return [
        *(_deny_all_but_names(namespace) for namespace in (naming.PACS, naming.MONITORING)),
        Policy(
            "gateway",
            naming.PACS,
            _pods(naming.GATEWAY),
            receives=[Conversation(ports=[8443]), Conversation([_PROMETHEUS], [9145])],
            sends=[
                Conversation([_ARCHIVE], [8080, 8090]),
                Conversation([_ours(naming.CA)], [9000]),
                Conversation([_PROMETHEUS], [9090]),
                Conversation([_RGW], [443]),
            ],
        ),
        Policy(
            "archive",
            naming.PACS,
            _pods(naming.ARCHIVE),
            receives=[
                Conversation([_GATEWAY], [8080, 8090]),
                Conversation([_PROMETHEUS], [8090]),
                *([Conversation([Peer(cidr=network) for network in callers], [11112])] if callers else []),
            ],
            sends=[
                Conversation([_DATABASE], [5432]),
                Conversation([_RGW], [443]),
                *([Conversation(ports=[second_copy_port])] if second_copy_port else []),
                *(
                    Conversation([Peer(cidr=f"{host}/32")] if _is_address(host) else [], [port])
                    for host, port in sorted(destinations)
                ),
            ],
        ),
        Policy("ca", naming.PACS, _pods(naming.CA), receives=[Conversation([_GATEWAY], [9000])]),
        Policy(
            "database",
            naming.PACS,
            (("cnpg.io/cluster", naming.DATABASE_CLUSTER),),
            receives=[
                Conversation([_ARCHIVE, _DATABASE], [5432]),
                Conversation([Peer(naming.DATABASE_OPERATOR), _DATABASE], [8000]),
                Conversation([_PROMETHEUS], [9187]),
            ],
            # Its instance manager watches the Cluster resource, and replicas stream from the primary.
            sends=[Conversation([_DATABASE], [5432, 8000]), Conversation(ports=[_API_SERVER])],
        ),
        Policy(
            "prometheus",
            naming.MONITORING,
            _pods(naming.PROMETHEUS),
            receives=[Conversation([_GATEWAY], [9090])],
            sends=[
                Conversation([_ARCHIVE], [8090]),
                Conversation([_GATEWAY], [9145]),
                Conversation([_DATABASE], [9187]),
                Conversation([_ALERTMANAGER], [9093]),
                Conversation([Peer(naming.CEPH, (("app", "rook-ceph-mgr"),))], [9283]),
                Conversation([Peer(cidr=management)], [9100]),  # the hosts' own figures
            ],
        ),
        Policy(
            "alertmanager",
            naming.MONITORING,
            _pods(naming.ALERTMANAGER),
            receives=[Conversation([_PROMETHEUS], [9093])],
            # The webhook lies outside the cluster.
            sends=[Conversation(ports=[443])],
        ),
    ]


def _is_address(host: str) -> bool:
    try:
        IPv4Address(host)
    except ValueError:
        return False
    return True


def enforcement(cni: str) -> str:
    """Who sees to it that the policies hold, in a sentence for the operator."""
    return f"enforced by {cni}" if cni == "cilium" else f"declared, enforced by nobody: network.cni is {cni}"


def _deny_all_but_names(namespace: str) -> Policy:
    """Nothing in, nothing out except name resolution; the other policies add what each service needs."""
    return Policy(
        "default-deny",
        namespace,
        sends=[Conversation([_DNS], [53], "UDP"), Conversation([_DNS], [53], "TCP")],
    )
