"""Pulumi's events, counted by component."""

from __future__ import annotations

from typing import Any

import pytest
from pulumi.automation.events import EngineEvent

from cli.engine.events import Stream

PREFIX = "urn:pulumi:local::regional-pacs"
STACK = f"{PREFIX}::pulumi:pulumi:Stack::regional-pacs-local"
CLUSTER = f"{PREFIX}::pacs:cluster:Cluster::cluster"
PLAY = f"{PREFIX}::pacs:cluster:Cluster$pulumi-python:dynamic:Resource::datacenter"


class Recorder:
    def __init__(self) -> None:
        self.updates: list[str] = []
        self.results: dict[str, str] = {}

    def update(self, item: str, doing: str) -> None:
        self.updates.append(f"{item}: {doing}")

    def done(self, item: str, result: str, seconds: float | None = None) -> None:
        assert item not in self.results, "one line per component"
        self.results[item] = result


def step(kind: str, urn: str, operation: str, parent: str = STACK) -> EngineEvent:
    metadata: dict[str, Any] = {
        "op": operation,
        "urn": urn,
        "type": urn.split("::")[2].rpartition("$")[2],
        "new": {"urn": urn, "parent": parent, "type": urn.split("::")[2]},
    }
    return EngineEvent.from_json({"sequence": 1, "timestamp": 1, kind: {"metadata": metadata}})


def diagnostic(message: str, severity: str, urn: str) -> EngineEvent:
    event = {"message": message, "severity": severity, "urn": urn, "color": "never", "prefix": ""}
    return EngineEvent.from_json({"sequence": 1, "timestamp": 1, "diagnosticEvent": event})


def feed(*events: EngineEvent) -> tuple[Stream, Recorder]:
    recorder = Recorder()
    stream = Stream(recorder)
    for event in events:
        stream(event)
    stream.finish()
    return stream, recorder


def test_a_resource_counts_for_the_component_below_the_stack() -> None:
    stream, recorder = feed(
        step("resourcePreEvent", CLUSTER, "create"),
        step("resourcePreEvent", PLAY, "create", CLUSTER),
        step("resOutputsEvent", PLAY, "create", CLUSTER),
        step("resOutputsEvent", CLUSTER, "create"),
    )
    assert recorder.results == {"cluster": "2 create"}
    assert "cluster: creating datacenter" in recorder.updates
    assert (stream.changed, stream.unchanged) == (2, 0)


def test_the_outputs_of_a_component_are_not_a_second_change() -> None:
    stream, _ = feed(step("resOutputsEvent", CLUSTER, "create"), step("resOutputsEvent", CLUSTER, "create"))
    assert stream.changed == 1


def test_looking_at_a_resource_is_no_change() -> None:
    stream, _ = feed(
        step("resOutputsEvent", PLAY, "refresh", CLUSTER), step("resOutputsEvent", PLAY, "same", CLUSTER)
    )
    assert (stream.changed, stream.unchanged, stream.steps) == (0, 1, [])


def test_drift_is_one_step_with_its_resource() -> None:
    stream, _ = feed(
        step("resOutputsEvent", PLAY, "refresh", CLUSTER), step("resOutputsEvent", PLAY, "update", CLUSTER)
    )
    assert stream.steps == [("update", "datacenter")]


def test_a_failure_is_kept_in_the_providers_words() -> None:
    stream, recorder = feed(
        step("resourcePreEvent", PLAY, "update", CLUSTER),
        diagnostic("dc1: Configure kubeadm: no such file", "error", PLAY),
        step("resOpFailedEvent", PLAY, "update", CLUSTER),
    )
    assert [(failure.resource, failure.message) for failure in stream.failures] == [
        ("datacenter", "dc1: Configure kubeadm: no such file")
    ]
    assert recorder.results == {"cluster": "1 failed"}


def test_what_a_play_says_is_shown_at_its_component() -> None:
    _, recorder = feed(
        step("resourcePreEvent", CLUSTER, "create"),
        step("resourcePreEvent", PLAY, "create", CLUSTER),
        diagnostic("datacenter changed dc1: Install containerd\n", "info#out", PLAY),
    )
    assert recorder.updates[-1] == "cluster: datacenter changed dc1: Install containerd"


def test_the_stack_and_its_providers_are_not_components() -> None:
    provider = f"{PREFIX}::pulumi:providers:kubernetes::cluster"
    stream, _ = feed(
        step("resOutputsEvent", STACK, "create", ""), step("resOutputsEvent", provider, "create")
    )
    assert stream.components == {}


def test_debug_messages_are_never_logged_because_they_hold_secrets(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("DEBUG"):
        feed(diagnostic("props=kubeconfig client-key-data: c2VjcmV0", "debug", PLAY))
        feed(diagnostic("an ordinary message", "info", PLAY))
    assert "client-key-data" not in caplog.text
    assert "an ordinary message" in caplog.text
