from __future__ import annotations

from pathlib import Path

from infra.components.node_metrics import node_exporter_pod
from infra.config.region import load_region
from infra.policies.pod_security import violations
from tests.infra.conftest import supplies_for

POD = node_exporter_pod(supplies_for(load_region("local"), Path("/state")))


def test_a_host_is_seen_and_nothing_else_is_asked_of_it() -> None:
    """The reason of the namespace's exception is these two, and no right beyond."""
    assert sorted(violations(POD)) == ["hostNetwork is true", "volume host is a hostPath"]


def test_the_host_is_seen_as_nobody_and_read_only() -> None:
    (container,) = POD["containers"]
    (mount,) = [mount for mount in container["volumeMounts"] if mount["name"] == "host"]
    assert mount["readOnly"] is True
    assert POD["securityContext"]["runAsUser"] == 65534


def test_it_answers_on_the_management_address_only() -> None:
    (container,) = POD["containers"]
    assert "--web.listen-address=$(HOST_ADDRESS):9100" in container["args"]
    address = {entry["name"]: entry.get("valueFrom") for entry in container["env"]}["HOST_ADDRESS"]
    assert address == {"fieldRef": {"fieldPath": "status.hostIP"}}


def test_it_runs_on_every_node() -> None:
    assert POD["tolerations"] == [{"operator": "Exists"}]
