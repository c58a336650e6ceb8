"""metrics.yaml is the register: declared is registered, queried is registered, registered is read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from prometheus_client import CollectorRegistry

from dashboards.build import alerts, branch_rules, centre_rules, expressions
from dashboards.metric_names import metric_names
from dashboards.rules.model import Recording
from services.archive.metrics import ArchiveMetrics
from services.edge.metrics import EdgeMetrics

ROOT = Path(__file__).resolve().parents[2]
REGISTER = yaml.safe_load((ROOT / "metrics.yaml").read_text(encoding="utf-8"))
OURS = {name: entry for service in REGISTER["services"].values() for name, entry in service.items()}
SUFFIXES = {"histogram": ("_bucket", "_count", "_sum"), "counter": ("",), "gauge": ("",)}


def exposed(name: str) -> set[str]:
    return {name + suffix for suffix in SUFFIXES[OURS[name]["type"]]}


def recorded_names() -> set[str]:
    return {rule.name for group in centre_rules().values() for rule in group if isinstance(rule, Recording)}


@pytest.mark.parametrize(("service", "declare"), [("archive", ArchiveMetrics), ("edge", EdgeMetrics)])
def test_every_metric_that_a_service_declares_is_registered_as_it_is(service, declare):
    registry = CollectorRegistry()
    declare(registry)
    declared = {}
    for collector in registry._collector_to_names:
        family = next(iter(collector.collect()))
        name = family.name + ("_total" if family.type == "counter" else "")
        declared[name] = {"type": family.type, "labels": list(collector._labelnames)}
    registered = {
        name: {k: entry[k] for k in ("type", "labels")}
        for name, entry in REGISTER["services"][service].items()
    }
    assert declared == registered


def test_every_metric_that_the_gateway_prints_is_registered():
    source = (ROOT / "services/gateway/traffic.lua").read_text(encoding="utf-8")
    printed = {re.sub(r"_(bucket|count|sum)$", "", name) for name in re.findall(r"pacs_gateway_\w+", source)}
    assert printed == set(REGISTER["services"]["gateway"])


def test_names_follow_the_house_rule():
    for service, metrics in REGISTER["services"].items():
        for name, entry in metrics.items():
            assert name.startswith(f"pacs_{service}_"), name
            assert name.endswith("_total") == (entry["type"] == "counter"), name


def test_every_query_names_registered_metrics_only():
    known = recorded_names() | set(REGISTER["foreign"]) | {n for name in OURS for n in exposed(name)}
    for expr in expressions():
        assert metric_names(expr) <= known, expr


def test_every_registered_metric_is_read_or_says_why_not():
    read = {name for expr in expressions() for name in metric_names(expr)}
    for name, entry in OURS.items():
        assert exposed(name) & read or entry.get("unread"), name
    assert set(REGISTER["foreign"]) <= read


def test_a_branch_evaluates_only_what_it_measures_itself():
    """Its line may be cut: a rule on Ceph, the gateway or another site would be silent for ever."""
    asked = {name for group in branch_rules().values() for rule in group for name in metric_names(rule.expr)}
    measured = {"up", "process_start_time_seconds"}
    assert asked
    for name in asked - measured:
        assert name.startswith(("pacs_archive_", "pacs_edge_", "pacs_node_", "node_")), name


def test_what_a_branch_evaluates_the_centre_evaluates_too():
    assert set(branch_rules()) < set(centre_rules())


def test_only_a_labelled_counter_may_wait_for_its_first_event():
    """Everything else is there from a process's start, so that its absence is a fault."""
    for name, entry in OURS.items():
        assert "appears" not in entry or (entry["type"] == "counter" and entry["labels"]), name


def test_every_recorded_series_is_asked_for():
    assert recorded_names() <= {name for expr in expressions() for name in metric_names(expr)}


@pytest.mark.parametrize(
    ("expr", "names"),
    [
        ('sum by (le, site) (rate(a_total{x="b_total"}[5m])) > 1.5', {"a_total"}),
        ("a / (b > 0) and on (site) c unless d", {"a", "b", "c", "d"}),
        ('label_replace(a, "class", "${1}xx", "status", "(.)..") or vector(0)', {"a"}),
        ("min_over_time((a)[10m:30s]) > 0", {"a"}),
    ],
)
def test_the_reader_of_expressions_tells_metrics_from_the_rest(expr, names):
    assert metric_names(expr) == names


def test_every_alert_has_a_runbook_and_every_runbook_an_alert():
    runbooks = {path.stem for path in (ROOT / "docs/runbooks").glob("*.md")}
    assert runbooks == {alert.name for alert in alerts()}


def test_every_runbook_says_what_it_means_where_to_look_what_to_do_and_when_it_is_over():
    for alert in alerts():
        text = (ROOT / alert.runbook).read_text(encoding="utf-8")
        headings = re.findall(r"^#+ .*", text, re.MULTILINE)
        assert headings == [f"# {alert.name}", "## What it means", "## Look", "## Do", "## It is over when"]


def test_every_alert_says_what_normal_is_and_is_named_by_its_symptom():
    for alert in alerts():
        assert re.fullmatch(r"([A-Z][a-z]+)+", alert.name)
        assert alert.name == "Watchdog" or "Normal: " in alert.description, alert.name
        assert len(alert.summary) < 110, alert.name
