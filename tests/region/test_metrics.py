"""Every figure that a panel or a rule asks for is measured by something that runs, here and now."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import yaml

from cli.engine.workspace import Layout
from cli.verify.target import Target, target_of
from dashboards.build import alerts, boards, expressions
from dashboards.metric_names import metric_names
from infra.config.region import load_region
from infra.hosts import internet
from tests.region.conftest import host, on_host
from tests.waiting import wait_for
from toolchain.paths import REPOSITORY, state_directory

pytestmark = [pytest.mark.region, pytest.mark.timeout(1800)]

REGISTER = yaml.safe_load((REPOSITORY / "metrics.yaml").read_text(encoding="utf-8"))
BRANCH = "yanchang"


@pytest.fixture(scope="module")
def target(verified: subprocess.CompletedProcess[str]) -> Target:
    """The region after real images went through it, with a token for operators."""
    assert verified.returncode == 0, verified.stdout[-4000:] + verified.stderr[-2000:]
    return target_of(load_region("local"), state_directory("local"))


def ask(target: Target, path: str, **parameters: str) -> Any:
    """The centre's Prometheus, through the gateway, as the operators' page asks it."""
    answer = target.session().get(
        f"{target.centre_url}/ops/prometheus/api/v1/{path}", params=parameters, timeout=30
    )
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


def series(target: Target, query: str) -> list[dict[str, str]]:
    """Labels of the series that an instant query gives."""
    return [found["metric"] for found in ask(target, "query", query=query)["result"]]


def at_branch(query: str) -> list[dict[str, Any]]:
    """What the branch's own Prometheus answers, asked on its host."""
    text = on_host(BRANCH, f"curl -sfG http://127.0.0.1:9090/api/v1/query --data-urlencode 'query={query}'")
    found: list[dict[str, Any]] = json.loads(text)["data"]["result"]
    return found


def wait_for_none(missing: Callable[[], set[str]], seconds: float, what: str) -> None:
    """Wait until nothing is missing; fails with what is."""
    last: set[str] = set()

    def complete() -> bool:
        nonlocal last
        last = missing()
        return not last

    try:
        wait_for(complete, seconds, what)
    except AssertionError as error:
        pytest.fail(f"{error}; missing: {', '.join(sorted(last))}")


@contextmanager
def line_cut() -> Iterator[None]:
    """The branch's line, cut at the relay while the block runs."""
    spec, _ = host(BRANCH)
    (wan,) = [link for link in spec.links if link.network == "internet"]
    address = wan.address.split("/")[0]
    state = Layout("local").state
    internet.shape(state, address, internet.Line(cut=True))
    try:
        yield
    finally:
        internet.shape(state, address, internet.Line())


def only_on_an_event() -> dict[str, str]:
    """Metric -> the event it appears with, from the register."""
    ours = [entry for service in REGISTER["services"].values() for entry in service.items()]
    return {name: entry["appears"] for name, entry in ours if "appears" in entry}


def test_every_metric_of_every_panel_and_rule_is_measured(target: Target) -> None:
    wanted = {name for expr in expressions() for name in metric_names(expr)} - set(only_on_an_event())
    wait_for_none(lambda: wanted - set(ask(target, "label/__name__/values")), 90, "every metric has a series")


@pytest.mark.parametrize("site", ["centre", BRANCH])
def test_every_part_of_a_site_answers(target: Target, site: str) -> None:
    jobs = {
        "centre": {"alertmanager", "archive", "ceph", "database", "gateway", "node", "prometheus"},
        BRANCH: {"archive", "edge", "node", "prometheus"},
    }
    wait_for_none(
        lambda: {found["job"] for found in series(target, f'up{{site="{site}"}} == 1')} ^ jobs[site],
        180,
        f"every job of {site} is up",
    )
    assert series(target, f'up{{site="{site}"}} == 0') == []


def test_the_disks_of_both_hosts_are_watched(target: Target) -> None:
    found = {
        (labels["site"], labels["instance"], labels["mountpoint"])
        for labels in series(target, 'node_filesystem_avail_bytes{fstype=~"ext4|xfs|btrfs|zfs"}')
    }
    assert {("centre", "dc1", "/"), (BRANCH, BRANCH, "/"), (BRANCH, BRANCH, "/var/lib/pacs")} <= found


def test_the_services_under_kubernetes_itself_are_watched(target: Target) -> None:
    found = {
        (labels["site"], labels["name"])
        for labels in series(target, 'node_systemd_unit_state{state="active"} == 1')
    }
    units = ("containerd.service", "kubelet.service")
    assert found == {(site, unit) for site in ("centre", BRANCH) for unit in units}


def test_every_rule_is_evaluated_without_an_error_at_centre_and_branch(target: Target) -> None:
    centre = ask(target, "rules")["groups"]
    branch = json.loads(on_host(BRANCH, "curl -sf http://127.0.0.1:9090/api/v1/rules"))["data"]["groups"]
    for groups in (centre, branch):
        rules = [rule for group in groups for rule in group["rules"]]
        assert len(rules) > 10
        assert [(rule["name"], rule["lastError"]) for rule in rules if rule["health"] == "err"] == []
    assert {rule["name"] for group in centre for rule in group["rules"] if rule["type"] == "alerting"} == {
        alert.name for alert in alerts()
    }


def test_no_alert_of_a_healthy_region_wakes_anybody(target: Target) -> None:
    firing = [alert for alert in ask(target, "alerts")["alerts"] if alert["state"] == "firing"]
    assert [alert["labels"] for alert in firing if alert["labels"]["severity"] == "page"] == []


QUIET = {
    "drain": "nothing waits, so that there is no time to wait",
    "receipt-age": "nothing waits for a receipt",
    "failed-attempts": "no attempt failed",
    "distrust": "nothing was refused",
}
"""Panels on branches that show nothing while all is well."""


def test_every_panel_on_branches_has_data_of_the_branch(target: Target) -> None:
    panels = {
        panel.key: panel
        for board in boards()
        for row in board.rows
        if row.title.en.startswith(("Branches", "Forwarding"))
        for panel in row.panels
    }
    empty = {
        key
        for key, panel in panels.items()
        if not any(series(target, query.expr.replace("$site", BRANCH)) for query in panel.queries)
    }
    assert empty <= set(QUIET), empty - set(QUIET)


def test_what_a_branch_measures_while_its_line_is_cut_arrives_when_it_is_back(target: Target) -> None:
    measured = f'timestamp(up{{site="{BRANCH}",job="edge"}})'
    with line_cut():
        began = time.time()
        wait_for(
            lambda: not series(target, f"{measured} > {began + 45}") and time.time() > began + 75,
            180,
            "the centre hears nothing",
        )
        (own,) = at_branch(f"{measured} > {began + 45}")
        assert float(own["value"][1]) > began + 45
        wait_for(
            lambda: bool(at_branch("pacs_edge_centre_reachable == 0")),
            180,
            "the branch says itself that the line is cut",
        )
    during = f'count_over_time(up{{site="{BRANCH}",job="edge"}}[60s] @ {began + 70})'
    wait_for(lambda: series(target, f"{during} >= 4"), 180, "what was measured during the cut")
