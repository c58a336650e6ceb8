"""The whole program, built from every real stack file against a recording engine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import pulumi

from infra import naming
from infra.policies.pod_security import violations
from tests.infra.conftest import STACKS, Built, Registration, plain_values, revealed

_TEMPLATED = {"Deployment", "StatefulSet", "DaemonSet", "Job"}


def _pods(registrations: list[Registration]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(namespace, name, pod specification) of everything that makes pods from a template."""
    for entry in registrations:
        kind = entry.type.rsplit(":", 1)[-1]
        inputs = revealed(entry.inputs)
        if kind in _TEMPLATED:
            yield inputs["metadata"]["namespace"], entry.name, inputs["spec"]["template"]["spec"]
        elif kind == "CronJob":
            template = inputs["spec"]["jobTemplate"]["spec"]["template"]
            yield inputs["metadata"]["namespace"], entry.name, template["spec"]


def _holds_a_private_key(text: str) -> bool:
    return "-----BEGIN" in text and "PRIVATE KEY" in text


def test_every_stack_file_is_built_by_these_tests() -> None:
    from infra.config.region import STACKS as FOLDER  # noqa: PLC0415

    assert sorted(STACKS) == sorted(path.name.split(".")[1] for path in FOLDER.glob("Pulumi.*.yaml"))


def test_no_two_resources_share_a_urn(built: Built) -> None:
    urns = Counter(entry.urn for entry in built.applied.registrations)
    assert [urn for urn, count in urns.items() if count > 1] == []


def test_a_preview_before_anything_exists_lists_every_resource(built: Built) -> None:
    before = [entry.urn for entry in built.preview.registrations]
    assert sorted(before) == sorted(entry.urn for entry in built.applied.registrations)
    assert len(before) > 100


def test_in_a_preview_before_anything_exists_the_kubeconfig_is_unknown(built: Built) -> None:
    provider = built.preview.one("pulumi:providers:kubernetes", "kubernetes")
    assert isinstance(provider.inputs["kubeconfig"], pulumi.output.Unknown)


def test_every_object_in_the_cluster_uses_the_providers_of_the_play(built: Built) -> None:
    provider = built.applied.one("pulumi:providers:kubernetes", "kubernetes")
    strays = [
        entry.name for entry in built.applied.kubernetes() if not entry.provider.startswith(provider.urn)
    ]
    assert strays == []


def test_no_private_key_leaves_the_program_outside_a_secret(built: Built) -> None:
    for recording in (built.applied, built.preview):
        for entry in recording.registrations:
            leaked = [text[:40] for text in plain_values(entry.inputs) if _holds_a_private_key(text)]
            assert leaked == [], entry.urn


def test_no_generated_secret_leaves_the_program_outside_a_secret(built: Built) -> None:
    for entry in built.applied.registrations:
        assert all(built.credentials.gateway_key not in text for text in plain_values(entry.inputs)), (
            entry.urn
        )


def test_the_detector_of_leaks_sees_a_key_that_is_not_wrapped() -> None:
    assert any(map(_holds_a_private_key, plain_values({"a": [{"b": "x\n-----BEGIN EC PRIVATE KEY-----\n"}]})))


def test_every_secret_holds_what_its_pods_mount(built: Built) -> None:
    secrets = {
        (inputs["metadata"]["namespace"], inputs["metadata"]["name"]): set(inputs["stringData"])
        for inputs in (revealed(entry.inputs) for entry in built.applied.of_type("core/v1:Secret"))
    }
    made_by_operators = {
        (naming.PACS, naming.object_store_credentials()),
        (naming.PACS, naming.database_credentials()),
        (naming.CEPH, "rook-ceph-mon"),
        (naming.DATABASE_OPERATOR, "cnpg-webhook-cert"),
    }
    for namespace, name, pod in _pods(built.applied.registrations):
        for volume in pod.get("volumes", []):
            if "secret" not in volume:
                continue
            key = namespace, volume["secret"]["secretName"]
            assert key in secrets or key in made_by_operators, (name, key)
            if key in secrets:
                assert {item["key"] for item in volume["secret"].get("items", [])} <= secrets[key], name


def test_every_config_map_that_a_pod_of_ours_mounts_is_there(built: Built) -> None:
    maps = {
        (inputs["metadata"]["namespace"], inputs["metadata"]["name"])
        for inputs in (revealed(entry.inputs) for entry in built.applied.of_type("core/v1:ConfigMap"))
    }
    maps.add((naming.CEPH, "rook-ceph-mon-endpoints"))
    for namespace, name, pod in _pods(built.applied.registrations):
        for volume in pod.get("volumes", []):
            if "configMap" in volume:
                assert (namespace, volume["configMap"]["name"]) in maps, name


def test_pods_outside_the_listed_exceptions_are_restricted(built: Built) -> None:
    excepted = {exception.namespace for exception in built.region.kubernetes.pod_security_exceptions}
    checked = 0
    for namespace, name, pod in _pods(built.applied.registrations):
        if namespace not in excepted:
            assert violations(pod) == [], name
            checked += 1
    assert checked >= 6


def test_the_exceptions_from_restricted_are_these_and_each_has_a_reason(built: Built) -> None:
    exceptions = {found.namespace: found for found in built.region.kubernetes.pod_security_exceptions}
    assert set(exceptions) == {naming.CEPH, naming.VOLUMES, naming.NODE_METRICS}
    for entry in built.applied.of_type("core/v1:Namespace"):
        metadata = entry.inputs["metadata"]
        level = exceptions[entry.name].level if entry.name in exceptions else "restricted"
        assert metadata["labels"]["pod-security.kubernetes.io/enforce"] == level
        if entry.name in exceptions:
            assert metadata["annotations"]["pacs/pod-security-reason"] == exceptions[entry.name].reason


def test_even_in_excepted_namespaces_the_pods_written_here_are_restricted(built: Built) -> None:
    for _, name, pod in _pods(built.applied.registrations):
        if "ceph-upkeep" in name:
            assert violations(pod) == []


def test_no_pod_of_ours_carries_a_service_account_token(built: Built) -> None:
    for namespace, name, pod in _pods(built.applied.registrations):
        if namespace in {naming.PACS, naming.MONITORING}:
            assert pod["automountServiceAccountToken"] is False, name


def test_every_image_comes_from_the_source_that_the_region_names(built: Built) -> None:
    images = built.region.images
    for _, name, pod in _pods(built.applied.registrations):
        for container in [*pod.get("initContainers", []), *pod["containers"]]:
            reference = container["image"]
            if images.source == "directory":
                assert reference.startswith("pacs.local/"), name
                assert container["imagePullPolicy"] == "Never", name
            else:
                assert reference.startswith(images.registry) or reference in images.pinned.values(), name
                assert container["imagePullPolicy"] == "IfNotPresent", name


def test_every_namespace_of_ours_denies_what_no_policy_allows(built: Built) -> None:
    policies = [revealed(entry.inputs) for entry in built.applied.of_type(":NetworkPolicy")]
    for namespace in (naming.PACS, naming.MONITORING):
        (deny,) = [p for p in policies if p["metadata"] == {"name": "default-deny", "namespace": namespace}]
        assert deny["spec"]["podSelector"] == {}
        assert deny["spec"]["policyTypes"] == ["Ingress", "Egress"]
        assert deny["spec"].get("ingress", []) == []


def test_only_the_gateway_and_dimse_are_reachable_from_outside(built: Built) -> None:
    open_ports = {
        entry.name: [port["nodePort"] for port in entry.inputs["spec"]["ports"]]
        for entry in built.applied.of_type("core/v1:Service")
        if entry.inputs["spec"].get("type") == "NodePort"
    }
    region = built.region
    dimse = {"archive-dimse": [region.archive.dimse_node_port]} if region.archive.calling else {}
    assert open_ports == {naming.GATEWAY: [region.gateway.node_port]} | dimse


def test_every_branch_has_a_host_and_plays_that_may_be_pending(built: Built) -> None:
    plays = {entry.name: entry.inputs for entry in built.applied.of_type(":AnsiblePlay")}
    for branch in built.region.branches:
        play = plays[f"branch-{branch.site}"]
        assert play["optional"] is plays[f"branch-{branch.site}-node"]["optional"] is True
        assert play["variables"]["edge_node_site"] == branch.site
        assert play["variables"]["edge_node_institution"] == branch.institution
        assert built.applied.one(":Host", branch.site).inputs["optional"] is True


def test_only_the_data_path_of_a_branch_waits_for_the_centre(built: Built) -> None:
    def of_gateway(urns: Sequence[str]) -> bool:
        return any("::pacs:network:Gateway$" in urn for urn in urns)

    for branch in built.region.branches:
        data_path = built.applied.one(":AnsiblePlay", f"branch-{branch.site}")
        node = built.applied.one(":AnsiblePlay", f"branch-{branch.site}-node")
        assert of_gateway(data_path.dependencies)
        assert not of_gateway(node.dependencies)
        assert node.urn in data_path.dependencies


def test_nothing_waits_for_a_branch(built: Built) -> None:
    sites = {branch.site for branch in built.region.branches}
    ours = tuple(f"::{name}" for site in sites for name in (site, f"branch-{site}", f"branch-{site}-node"))
    for entry in built.applied.registrations:
        waits = [urn for urn in entry.dependencies if urn.endswith(ours)]
        assert not waits or entry.urn.endswith(ours), entry.urn


def test_what_lives_on_a_machine_of_ours_ends_with_it_and_elsewhere_does_not(built: Built) -> None:
    ends_with = {entry.deleted_with.rsplit("::", 1)[-1] for entry in built.applied.kubernetes()}
    expected = built.region.datacenter.nodes[0].name if built.region.hosts.kind == "nspawn" else ""
    assert ends_with == {expected}
