from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from infra import naming
from infra.components.observability import (
    alertmanager_configuration,
    prometheus_pod,
    read_rules,
)
from infra.config.region import load_region
from tests.infra.conftest import Built, config_map_data, revealed, supplies_for


@pytest.mark.parametrize("name", ["prometheus", "alertmanager"])
def test_both_answer_over_tls_with_files_that_are_mounted(built: Built, name: str) -> None:
    pod = revealed(built.applied.one("apps/v1:StatefulSet", name).inputs)["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    (web,) = [argument for argument in container["args"] if argument.startswith("--web.config.file=")]
    folder, _, file = web.partition("=")[2].rpartition("/")
    written = config_map_data(built, volumes[mounts[folder]]["configMap"]["name"])[file]
    for path in ("cert_file", "key_file"):
        folder = yaml.safe_load(written)["tls_server_config"][path].rpartition("/")[0]
        assert volumes[mounts[folder]]["secret"]["secretName"] == naming.MONITORING_TLS
    for probe in ("livenessProbe", "readinessProbe"):
        assert container[probe]["httpGet"]["scheme"] == "HTTPS"


def test_alerts_are_posted_only_where_the_region_says() -> None:
    (shown,) = alertmanager_configuration(load_region("local"))["receivers"]
    (posted,) = alertmanager_configuration(load_region("yanan"))["receivers"]
    assert "webhook_configs" not in shown
    assert posted["webhook_configs"][0]["url"].startswith("https://")


def test_samples_end_before_the_volume_does() -> None:
    region = load_region("local")
    arguments = prometheus_pod(region, supplies_for(region, Path("/state")))["containers"][0]["args"]
    assert "--storage.tsdb.retention.time=7d" in arguments
    assert "--storage.tsdb.retention.size=3481MB" in arguments


def test_only_files_with_rule_groups_are_taken_as_rules(tmp_path: Path) -> None:
    (tmp_path / "archive.rules.yml").write_text(yaml.safe_dump({"groups": []}))
    (tmp_path / "archive.test.yml").write_text(yaml.safe_dump({"rule_files": []}))
    assert list(read_rules(tmp_path)) == ["archive.rules.yml"]
    assert read_rules(tmp_path / "absent") == {}


def test_the_end_of_every_certificate_of_the_centre_is_a_figure(built: Built) -> None:
    (rules,) = [
        revealed(entry.inputs)["data"]
        for entry in built.applied.of_type("core/v1:ConfigMap")
        if revealed(entry.inputs)["metadata"]["name"] == "prometheus-rules"
    ]
    (group,) = yaml.safe_load(rules["certificates.yaml"])["groups"]
    assert {rule["labels"]["certificate"] for rule in group["rules"]} == {
        "gateway", "archive", "object store", "database", "monitoring", "receipts", "enrolment CA", "root",
    }  # fmt: skip
    assert len({rule["record"] for rule in group["rules"]}) == 1
