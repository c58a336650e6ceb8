from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pulumi
import pytest

from infra.components.ceph_specs import (
    as_rook_keeps,
    cluster_spec,
    device_names,
    global_settings,
    object_store_spec,
    pool_spec,
    upkeep_commands,
    upkeep_specs,
)
from infra.config.region import RegionConfig, load_region
from infra.config.sections import ErasureCodedPool, ReplicatedPool


def spec(region: RegionConfig) -> dict[str, Any]:
    devices: dict[str, pulumi.Input[list[str]]] = {node.name: [] for node in region.datacenter.nodes}
    return cluster_spec(region, "ceph", devices)


@pytest.fixture(params=["local", "yanan"])
def region(request: pytest.FixtureRequest) -> RegionConfig:
    return load_region(request.param)


def test_daemons_and_clients_speak_the_encrypted_messenger_only(region: RegionConfig) -> None:
    connections = spec(region)["network"]["connections"]
    assert connections == {"encryption": {"enabled": True}, "requireMsgr2": True}


def test_ceph_takes_named_devices_only(region: RegionConfig) -> None:
    storage = spec(region)["storage"]
    assert storage["useAllDevices"] is False
    assert storage["useAllNodes"] is False
    assert [node["name"] for node in storage["nodes"]] == [node.name for node in region.datacenter.nodes]


def test_production_disks_are_encrypted() -> None:
    assert spec(load_region("yanan"))["storage"]["config"] == {"encryptedDevice": "true"}


def test_the_exporter_runs_only_where_the_image_has_it() -> None:
    assert spec(load_region("local"))["monitoring"]["metricsDisabled"] is True
    assert spec(load_region("yanan"))["monitoring"]["metricsDisabled"] is False


def test_a_single_copy_is_allowed_only_where_the_region_has_one() -> None:
    assert global_settings(load_region("local").object_store)["mon_allow_pool_size_one"] == "true"
    assert global_settings(load_region("yanan").object_store)["mon_allow_pool_size_one"] == "false"


def test_debians_relative_class_path_is_mended_only_where_the_region_says_so() -> None:
    assert "osd_class_dir" in global_settings(load_region("local").object_store)
    assert "osd_class_dir" not in global_settings(load_region("yanan").object_store)


def test_every_ceph_option_is_text(region: RegionConfig) -> None:
    assert all(isinstance(value, str) for value in global_settings(region.object_store).values())


def test_the_s3_gateway_speaks_tls_only(region: RegionConfig) -> None:
    gateway = object_store_spec(region)["gateway"]
    assert "port" not in gateway
    assert gateway["securePort"] == 443
    assert gateway["sslCertificateRef"]


def test_pools_outlive_their_resource(region: RegionConfig) -> None:
    assert object_store_spec(region)["preservePoolsOnDelete"] is True


def test_pools_take_no_write_by_the_last_copy_that_could_be_read() -> None:
    assert pool_spec(ReplicatedPool(kind="replicated", size=3), "host") == {
        "failureDomain": "host",
        "replicated": {"size": 3, "requireSafeReplicaSize": True},
        "parameters": {"min_size": "2"},
    }
    assert pool_spec(ErasureCodedPool(kind="erasure", data=4, coding=2), "host")["parameters"] == {
        "min_size": "5"
    }


def test_three_hosts_carry_a_monitor_each_and_any_of_them_may_fail() -> None:
    region = load_region("yanan")
    made = spec(region)
    assert made["mon"] == {"count": 3, "allowMultiplePerNode": False}
    assert made["mgr"] == {"count": 2, "allowMultiplePerNode": False}
    assert made["disruptionManagement"] == {"managePodBudgets": True}
    store = object_store_spec(region)
    for pool in (store["metadataPool"], store["dataPool"]):
        assert pool["failureDomain"] == "host"
        assert pool["replicated"] == {"size": 3, "requireSafeReplicaSize": True}
        assert int(pool["parameters"]["min_size"]) < 3
    settings = global_settings(region.object_store)
    assert (settings["osd_pool_default_size"], settings["osd_pool_default_min_size"]) == ("3", "2")


def test_a_gateway_that_is_back_gets_requests_within_ten_seconds(region: RegionConfig) -> None:
    checks = object_store_spec(region)["healthCheck"]
    startup, ready = checks["startupProbe"]["probe"], checks["readinessProbe"]["probe"]
    waits = [probe["initialDelaySeconds"] + probe["periodSeconds"] for probe in (startup, ready)]
    assert sum(waits) + ready["periodSeconds"] * (ready["successThreshold"] - 1) <= 10
    # As long as Rook gives it to start: RGW itself gives up after five minutes.
    assert startup["periodSeconds"] * startup["failureThreshold"] == 330


def test_gateways_prefer_different_hosts() -> None:
    gateway = object_store_spec(load_region("yanan"))["gateway"]
    assert gateway["instances"] == 3
    (spread,) = gateway["placement"]["topologySpreadConstraints"]
    assert spread["topologyKey"] == "kubernetes.io/hostname"
    assert spread["labelSelector"]["matchLabels"] == {"app": "rook-ceph-rgw"}


@pulumi.runtime.test
def test_every_disk_of_every_storage_node_becomes_a_device_by_its_whole_path() -> pulumi.Output[None]:
    region = load_region("yanan")
    paths: dict[str, pulumi.Input[list[str]]] = {
        node.name: [disk.device or "" for disk in node.disks] for node in region.datacenter.nodes
    }
    nodes = cluster_spec(region, "ceph", paths)["storage"]["nodes"]

    def check(devices: list[list[dict[str, str]]]) -> None:
        found = {node["name"]: [d["name"] for d in named] for node, named in zip(nodes, devices, strict=True)}
        assert found == paths
        assert {len(names) for names in found.values()} == {6}

    return pulumi.Output.all(*(node["devices"] for node in nodes)).apply(check)


def test_nothing_is_declared_that_rook_drops_when_it_writes_a_resource_back(region: RegionConfig) -> None:
    declared = as_rook_keeps(spec(region))
    assert "dashboard" not in declared
    assert declared["storage"]["config"] == spec(region)["storage"]["config"]
    assert declared["cephConfig"] == spec(region)["cephConfig"]
    for part in (declared, as_rook_keeps(object_store_spec(region))):
        assert not [value for value in inner_values(part) if value is False or value == {}]


def test_memory_is_written_as_kubernetes_writes_it(region: RegionConfig) -> None:
    for node in spec(region)["storage"]["nodes"]:
        for quantity in (*node["resources"]["requests"].values(), *node["resources"]["limits"].values()):
            number, unit = int(quantity[:-2]), quantity[-2:]
            assert unit == "Gi" or (unit == "Mi" and number % 1024)


def inner_values(value: Any) -> Iterator[Any]:
    """Every value inside mappings; what is in a list Rook keeps as it is."""
    for inner in value.values():
        yield inner
        if isinstance(inner, dict):
            yield from inner_values(inner)


def test_devices_are_named_as_rook_wants_them() -> None:
    paths = ["/dev/loop3", "/dev/disk/by-id/wwn-0x5"]
    assert device_names(paths) == [{"name": "loop3"}, {"name": "/dev/disk/by-id/wwn-0x5"}]
    assert device_names(None) == []


def test_only_the_listed_health_checks_are_muted_each_with_its_reason() -> None:
    region = load_region("local")
    muted = region.object_store.muted_health_checks
    commands = [command for command in upkeep_commands(region.object_store) if "mute" in command]
    assert commands == [f"ceph health mute {check.code} --sticky" for check in muted]
    for document in upkeep_specs(region, "ceph", "Never"):
        annotations = document["metadata"]["annotations"]
        assert sorted(annotations.values()) == sorted(check.reason for check in muted)


def test_ceph_counts_as_ready_only_after_its_first_upkeep_and_the_upkeep_repeats() -> None:
    first, again = upkeep_specs(load_region("local"), "ceph", "Never")
    assert (first["kind"], again["kind"]) == ("Job", "CronJob")
    script = first["spec"]["template"]["spec"]["containers"][0]["command"][-1]
    assert "until ceph health | grep -q ^HEALTH_OK" in script
    repeated = again["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["command"][-1]
    assert script.startswith(repeated)


def test_production_mutes_nothing_and_needs_no_upkeep() -> None:
    assert upkeep_commands(load_region("yanan").object_store) == []
