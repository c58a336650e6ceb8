from __future__ import annotations

from cryptography import x509

from infra.components.scraping import prometheus_configuration
from infra.config.region import load_region
from tests.infra.conftest import Built, config_map_data, revealed


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


def test_whoever_has_a_certificate_is_asked_over_tls_under_a_name_on_it(built: Built) -> None:
    given, configuration = built.credentials, prometheus_configuration(built.region)
    (alertmanagers,) = configuration["alerting"]["alertmanagers"]
    asked = {job["job_name"]: job for job in configuration["scrape_configs"]} | {"alerts": alertmanagers}
    shown = {
        "archive": given.archive, "gateway": given.gateway, "database": given.database,
        "prometheus": given.monitoring, "alertmanager": given.monitoring, "alerts": given.monitoring,
    }  # fmt: skip
    for job, identity in shown.items():
        assert asked[job]["scheme"] == "https", job
        leaf = x509.load_pem_x509_certificates(identity.chain.encode())[0]
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert asked[job]["tls_config"]["server_name"] in names.get_values_for_type(x509.DNSName), job
    in_clear = {job for job, found in asked.items() if found.get("scheme") != "https"}
    assert in_clear == {"ceph", "node"}, "ADR-0006 names what is left in clear"


def test_prometheus_finds_the_root_that_it_checks_targets_against(built: Built) -> None:
    files = config_map_data(built, "prometheus-configuration")
    jobs = prometheus_configuration(built.region)["scrape_configs"]
    for authorities in {job["tls_config"]["ca_file"] for job in jobs if "tls_config" in job}:
        folder, _, name = authorities.rpartition("/")
        assert folder == "/etc/prometheus"
        assert files[name] == built.credentials.root


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
