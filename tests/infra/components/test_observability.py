from __future__ import annotations

from pathlib import Path

import yaml
from cryptography import x509

from infra.components.observability import (
    alertmanager_configuration,
    prometheus_configuration,
    prometheus_pod,
    read_rules,
)
from infra.config.region import load_region
from tests.infra.conftest import Built, revealed, supplies_for


def test_every_target_found_by_name_is_a_headless_service_of_the_region(built: Built) -> None:
    headless = {
        f"{inputs['metadata']['name']}.{inputs['metadata']['namespace']}.svc.cluster.local": inputs["spec"][
            "ports"
        ]
        for inputs in (revealed(entry.inputs) for entry in built.applied.of_type("core/v1:Service"))
        if inputs["spec"].get("clusterIP") == "None"
    }
    jobs = prometheus_configuration(built.region)["scrape_configs"]
    found = {job["job_name"]: job["dns_sd_configs"][0] for job in jobs if "dns_sd_configs" in job}
    assert set(found) == {"archive", "gateway", "database"}
    for discovery in found.values():
        (name,) = discovery["names"]
        assert discovery["port"] in [port["targetPort"] for port in headless[name]]


def test_the_archive_is_scraped_over_tls_under_the_name_on_its_certificate(built: Built) -> None:
    (job,) = [
        job
        for job in prometheus_configuration(built.region)["scrape_configs"]
        if job["job_name"] == "archive"
    ]
    assert job["scheme"] == "https"
    chain = x509.load_pem_x509_certificates(built.credentials.archive.chain.encode())
    names = chain[0].extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [job["tls_config"]["server_name"]]
    (files,) = [
        revealed(entry.inputs)["data"]
        for entry in built.applied.of_type("core/v1:ConfigMap")
        if revealed(entry.inputs)["metadata"]["name"] == "prometheus-configuration"
    ]
    assert files[Path(job["tls_config"]["ca_file"]).name] == built.credentials.root


def test_every_series_scraped_here_is_of_the_centre() -> None:
    for job in prometheus_configuration(load_region("local"))["scrape_configs"]:
        assert job["relabel_configs"] == [{"target_label": "site", "replacement": "centre"}]


def test_every_host_of_the_data_centre_is_asked_under_its_own_name(built: Built) -> None:
    (job,) = [
        job for job in prometheus_configuration(built.region)["scrape_configs"] if job["job_name"] == "node"
    ]
    named = {target["labels"]["instance"]: target["targets"] for target in job["static_configs"]}
    assert named == {node.name: [f"{node.address}:9100"] for node in built.region.datacenter.nodes}


def test_what_a_branch_measured_while_it_was_cut_off_is_taken_late() -> None:
    tsdb = prometheus_configuration(load_region("local"))["storage"]["tsdb"]
    assert tsdb == {"out_of_order_time_window": "3h"}


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
        "gateway", "archive", "object store", "database", "receipts", "enrolment CA", "root",
    }  # fmt: skip
    assert len({rule["record"] for rule in group["rules"]}) == 1
