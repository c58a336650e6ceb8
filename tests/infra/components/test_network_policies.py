from __future__ import annotations

from typing import Any

from infra import naming
from infra.components.network_policies import enforcement, policies

CALLERS = ["172.20.3.16/28", "172.20.3.32/28"]


def found(name: str) -> dict[str, Any]:
    (policy,) = [policy for policy in policies("10.90.0.0/24", CALLERS) if policy.name == name]
    spec: dict[str, Any] = policy.spec()
    return spec


def test_the_object_store_and_the_database_are_open_to_the_archive_alone_of_our_services() -> None:
    senders = {
        policy.name
        for policy in policies("10.90.0.0/24", CALLERS)
        for conversation in policy.sends
        if 5432 in conversation.ports
    }
    assert senders == {"archive", "database"}


def test_the_authority_is_reached_through_the_gateway_only() -> None:
    (rule,) = found("ca")["ingress"]
    (peer,) = rule["from"]
    assert peer["podSelector"]["matchLabels"] == {"app.kubernetes.io/name": naming.GATEWAY}
    assert found("ca")["egress"] == []


def test_the_archive_itself_reaches_nothing_outside_the_cluster() -> None:
    for rule in found("archive")["egress"]:
        assert all("ipBlock" not in peer for peer in rule["to"])


def test_every_policy_speaks_about_both_directions() -> None:
    for policy in policies("10.90.0.0/24", CALLERS):
        assert policy.spec()["policyTypes"] == ["Ingress", "Egress"]


def test_what_one_side_may_send_the_other_side_takes() -> None:
    """Between services of ours a conversation needs both policies: one alone is silence."""
    everyone = {policy.labels: policy for policy in policies("10.90.0.0/24", CALLERS) if policy.labels}
    for sender in everyone.values():
        for conversation in sender.sends:
            for peer in conversation.peers:
                receiver = everyone.get(peer.labels)
                if receiver is None or sender is receiver:
                    continue
                taken = {
                    port
                    for accepted in receiver.receives
                    for port in accepted.ports
                    if not accepted.peers or any(other.labels == sender.labels for other in accepted.peers)
                }
                assert set(conversation.ports) <= taken, (sender.name, receiver.name)


def test_the_operator_is_told_plainly_where_nobody_enforces_the_policies() -> None:
    assert enforcement("cilium") == "enforced by cilium"
    for cni in ("bridge", "flannel"):
        assert "enforced by nobody" in enforcement(cni)


def test_dimse_comes_from_the_callers_networks_and_without_callers_from_nowhere() -> None:
    def sources(callers: list[str]) -> list[str]:
        (archive,) = [policy for policy in policies("10.90.0.0/24", callers) if policy.name == "archive"]
        return [
            peer["ipBlock"]["cidr"]
            for rule in archive.spec()["ingress"]
            if any(port["port"] == 11112 for port in rule["ports"])
            for peer in rule["from"]
        ]

    assert sources(CALLERS) == CALLERS
    assert sources([]) == []


def test_the_archive_reaches_the_outside_only_for_a_second_copy() -> None:
    def outward(port: int | None) -> list[object]:
        (archive,) = [policy for policy in policies("10.90.0.0/24", [], port) if policy.name == "archive"]
        return [rule["ports"] for rule in archive.spec()["egress"] if "to" not in rule]

    assert outward(None) == []
    assert outward(8443) == [[{"port": 8443, "protocol": "TCP"}]]


def test_the_archive_reaches_its_destinations_and_no_other_system() -> None:
    (archive,) = [
        policy
        for policy in policies(
            "10.90.0.0/24", CALLERS, None, [("10.1.1.9", 104), ("ws.hospital.example", 2762)]
        )
        if policy.name == "archive"
    ]
    egress = archive.spec()["egress"]
    assert {
        "to": [{"ipBlock": {"cidr": "10.1.1.9/32"}}],
        "ports": [{"port": 104, "protocol": "TCP"}],
    } in egress
    assert {"ports": [{"port": 2762, "protocol": "TCP"}]} in egress
    assert len(egress) == 4
