"""A branch's static pods and its Prometheus, rendered as the role renders them."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml
from pydantic import TypeAdapter

from dashboards.build import OUT
from infra.components.branch import branch_variables
from infra.components.node_metrics import COLLECTORS
from infra.config.region import load_region
from infra.credentials import ensure_credentials
from infra.policies.pod_security import violations
from services.archive.dimse.caller import Caller
from tests.infra.conftest import NOW, supplies_for

ROLE = Path(__file__).parents[2] / "roles/edge_node"
RULES = (OUT / "rules/branch/pacs.yaml").read_text(encoding="utf-8")

REASONS = {
    "hostNetwork is true": "Modalities call the host's own address, and the data path must not need a pod network.",
    "volume data is a hostPath": "Images, receipts and keys outlive pods, and without an API there are no claims.",
    "volume password is a hostPath": "Without an API there are no Secrets.",
    "volume identity is a hostPath": "The site's certificate; its key was made on the host.",
    "volume configuration is a hostPath": "Files from the role.",
    "volume samples is a hostPath": "Metrics outlive the pod.",
    "volume host is a hostPath": "Figures of the host's disks: read-only, as nobody.",
}
"""Every way in which a branch's pods are below the restricted level, and why."""


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Path below templates/ -> what the role makes of it for the local stack's branch."""
    region = load_region("local")
    supplies = supplies_for(region, tmp_path_factory.mktemp("state"))
    credentials = ensure_credentials(region, supplies, NOW)
    environment = jinja2.Environment(  # noqa: S701 - YAML, not HTML
        loader=jinja2.FileSystemLoader(ROLE / "templates"), undefined=jinja2.StrictUndefined, trim_blocks=True
    )  # the settings of ansible.builtin.template
    environment.filters["to_json"] = jinja2.filters.do_tojson
    variables: dict[str, Any] = {
        **yaml.safe_load((ROLE / "defaults/main.yml").read_text()),
        **branch_variables(region, region.branches[0], credentials, supplies, RULES),
        "edge_node_disks": ["/dev/loop9"],
        "ansible_managed": "Ansible managed",
        "_edge_node_digest": "0",
        "_edge_node_metrics_digest": "0",
    }
    own = yaml.safe_load((ROLE / "vars/main.yml").read_text())
    for name in ("_edge_node_targets", "_edge_node_host_collectors"):
        variables[name] = own[name]
    return {
        name: environment.get_template(name).render(variables)
        for name in environment.list_templates()
        if name.endswith(".yaml.j2")
    }


def pods(rendered: dict[str, str]) -> dict[str, dict[str, Any]]:
    documents = [yaml.safe_load(text) for name, text in rendered.items() if "manifests" in name]
    return {document["metadata"]["name"]: document["spec"] for document in documents}


def prometheus(rendered: dict[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(rendered["var/lib/pacs/config/prometheus/prometheus.yaml.j2"])
    return found


def test_the_pods_of_a_branch_are_restricted_but_for_what_is_listed_here_with_its_reason(
    rendered: dict[str, str],
) -> None:
    found = {fault for pod in pods(rendered).values() for fault in violations(pod)}
    assert found == set(REASONS)


def test_no_pod_of_a_branch_needs_the_kubernetes_api(rendered: dict[str, str]) -> None:
    assert set(pods(rendered)) == {"pacs-archive", "pacs-edge", "pacs-metrics", "pacs-postgres"}
    for pod in pods(rendered).values():
        assert pod["automountServiceAccountToken"] is False
        kinds = {kind for volume in pod["volumes"] for kind in volume if kind != "name"}
        assert kinds <= {"hostPath", "emptyDir"}


def test_who_sees_the_whole_host_is_nobody_and_may_not_write(rendered: dict[str, str]) -> None:
    containers = [
        container
        for pod in pods(rendered).values()
        for container in pod["containers"]
        if any(mount["name"] == "host" for mount in container["volumeMounts"])
    ]
    (exporter,) = containers
    assert exporter["securityContext"]["runAsUser"] == 65534
    assert [mount["readOnly"] for mount in exporter["volumeMounts"]] == [True]


def test_a_host_is_asked_the_same_at_centre_and_branch(rendered: dict[str, str]) -> None:
    (exporter,) = [c for c in pods(rendered)["pacs-metrics"]["containers"] if c["name"] == "node-exporter"]
    assert tuple(exporter["command"][1:]) == COLLECTORS


def test_metrics_of_a_branch_are_bounded_in_time_and_room(rendered: dict[str, str]) -> None:
    command = pods(rendered)["pacs-metrics"]["containers"][0]["command"]
    assert "--storage.tsdb.retention.time=7d" in command
    assert "--storage.tsdb.retention.size=245MB" in command


def test_everything_of_a_branch_that_answers_http_listens_on_the_loopback(rendered: dict[str, str]) -> None:
    words = [
        word
        for container in pods(rendered)["pacs-metrics"]["containers"]
        for word in [*container["command"], *container.get("args", [])]
        if "listen-address" in word
    ]
    assert len(words) == 2
    assert all("=127.0.0.1:" in word for word in words)


def test_every_series_of_a_branch_carries_its_site(rendered: dict[str, str]) -> None:
    """The gateway refuses any other (services/gateway/site_series.lua)."""
    configuration = prometheus(rendered)
    assert configuration["global"]["external_labels"] == {"site": "yanchang"}
    for job in configuration["scrape_configs"]:
        (target,) = job["static_configs"]
        assert target["labels"]["site"] == "yanchang"


def test_a_branch_scrapes_its_archive_its_forwarder_its_host_and_itself(rendered: dict[str, str]) -> None:
    jobs = prometheus(rendered)["scrape_configs"]
    assert [job["job_name"] for job in jobs] == ["archive", "edge", "node", "prometheus"]


def test_metrics_leave_by_port_443_with_the_sites_certificate(rendered: dict[str, str]) -> None:
    (line,) = prometheus(rendered)["remote_write"]
    assert line["url"] == "https://pacs.pacs.local.test/metrics/v1/write"
    assert line["tls_config"]["cert_file"].endswith("/site.crt")
    assert "insecure_skip_verify" not in line["tls_config"]


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not on PATH")
def test_promtool_accepts_the_configuration(rendered: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "prometheus.yaml"
    path.write_text(rendered["var/lib/pacs/config/prometheus/prometheus.yaml.j2"])
    checked = subprocess.run(
        ["promtool", "check", "config", "--syntax-only", str(path)], capture_output=True, text=True, check=False
    )  # fmt: skip
    assert checked.returncode == 0, checked.stderr


def test_a_branchs_archive_takes_each_device_from_its_own_network_only(rendered: dict[str, str]) -> None:
    (archive,) = pods(rendered)["pacs-archive"]["containers"]
    given = {variable["name"]: variable["value"] for variable in archive["env"]}["PACS_DIMSE_CALLERS"]
    callers = TypeAdapter(tuple[Caller, ...]).validate_json(given)
    wanted = [(peer.ae_title, peer.network) for peer in load_region("local").branches[0].calling]
    assert [(caller.ae_title, str(caller.network)) for caller in callers] == wanted
    assert {(caller.institutions, caller.moves_to) for caller in callers} == {(None, frozenset())}
    environment = {variable["name"]: variable["value"] for variable in archive["env"]}
    assert json.loads(environment["PACS_DIMSE_DESTINATIONS"]) == []
