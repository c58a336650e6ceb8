"""metrics.yaml is the register: declared is registered, queried is registered, registered is read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from prometheus_client import CollectorRegistry

from dashboards.build import alerts, boards, render
from services.archive.metrics import ArchiveMetrics
from services.edge.metrics import EdgeMetrics

ROOT = Path(__file__).resolve().parents[2]
REGISTER = yaml.safe_load((ROOT / "metrics.yaml").read_text(encoding="utf-8"))
OURS = {name: entry for service in REGISTER["services"].values() for name, entry in service.items()}
KEYWORDS = {
    "by",
    "without",
    "on",
    "ignoring",
    "group_left",
    "group_right",
    "and",
    "or",
    "unless",
    "bool",
    "offset",
}
SUFFIXES = {"histogram": ("_bucket", "_count", "_sum"), "counter": ("",), "gauge": ("",)}


def names_in(expr: str) -> set[str]:
    """Metric names of a PromQL expression: identifiers that are no function, label, string or keyword."""
    bare = re.sub(r'"[^"]*"|\{[^}]*\}|\[[^]]*\]', " ", expr)
    bare = re.sub(r"\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)", " ", bare)
    bare = re.sub(r"\b\d[\w.]*", " ", bare)  # numbers and durations
    words = re.findall(r"[a-zA-Z_:][\w:]*(?!\w)(?!\s*\()", bare)
    return {word for word in words if word not in KEYWORDS}


def exposed(name: str) -> set[str]:
    return {name + suffix for suffix in SUFFIXES[OURS[name]["type"]]}


def expressions() -> list[str]:
    rules = yaml.safe_load(render()["rules/pacs.yaml"])
    recorded = [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    return [
        *recorded,
        *(query.expr for board in boards() for panel in board.panels for query in panel.queries),
    ]


def recorded_names() -> set[str]:
    rules = yaml.safe_load(render()["rules/pacs.yaml"])
    return {rule["record"] for group in rules["groups"] for rule in group["rules"] if "record" in rule}


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
        assert names_in(expr) <= known, expr


def test_every_registered_metric_is_read_or_says_why_not():
    read = {name for expr in expressions() for name in names_in(expr)}
    for name, entry in OURS.items():
        assert exposed(name) & read or entry.get("unread"), name
    assert set(REGISTER["foreign"]) <= read


def test_every_recorded_series_is_asked_for():
    assert recorded_names() <= {name for expr in expressions() for name in names_in(expr)}


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
    assert names_in(expr) == names


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
