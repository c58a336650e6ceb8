from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from infra.components.pods import container, pod_spec
from infra.policies.pod_security import violations

Pod = dict[str, Any]


def restricted() -> Pod:
    return pod_spec(
        [container("main", "image", "Never", {"/data": "data!"})], [{"name": "data", "emptyDir": {}}]
    )


def test_the_pods_of_this_program_are_restricted() -> None:
    assert violations(restricted()) == []


BREACHES: list[tuple[str, Callable[[Pod], object]]] = [
    ("hostNetwork", lambda pod: pod.update(hostNetwork=True)),
    ("hostPID", lambda pod: pod.update(hostPID=True)),
    ("hostIPC", lambda pod: pod.update(hostIPC=True)),
    ("hostPath", lambda pod: pod["volumes"].append({"name": "root", "hostPath": {"path": "/"}})),
    ("sysctl", lambda pod: pod["securityContext"].update(sysctls=[{"name": "kernel.msgmax", "value": "1"}])),
    ("privileged", lambda pod: _context(pod).update(privileged=True)),
    ("allowPrivilegeEscalation", lambda pod: _context(pod).pop("allowPrivilegeEscalation")),
    ("runAsNonRoot", lambda pod: _context(pod).update(runAsNonRoot=False)),
    ("runAsUser", lambda pod: _context(pod).update(runAsUser=0)),
    ("procMount", lambda pod: _context(pod).update(procMount="Unmasked")),
    ("seccompProfile", lambda pod: _context(pod).update(seccompProfile={"type": "Unconfined"})),
    ("drop ALL", lambda pod: _context(pod).update(capabilities={})),
    ("capability SYS_ADMIN", lambda pod: _context(pod)["capabilities"].update(add=["SYS_ADMIN"])),
    ("hostPort", lambda pod: pod["containers"][0].update(ports=[{"containerPort": 1, "hostPort": 1}])),
]


def _context(pod: Pod) -> dict[str, Any]:
    context: dict[str, Any] = pod["containers"][0]["securityContext"]
    return context


@pytest.mark.parametrize(("expected", "breach"), BREACHES, ids=[breach[0] for breach in BREACHES])
def test_a_breach_of_restricted_is_found(expected: str, breach: Callable[[Pod], object]) -> None:
    pod = copy.deepcopy(restricted())
    breach(pod)
    found = violations(pod)
    assert len(found) == 1
    assert expected in found[0]


def test_an_init_container_is_looked_at_too() -> None:
    pod = restricted() | {"initContainers": [{"name": "init"}]}
    assert all(fault.startswith("container init:") for fault in violations(pod))
    assert violations(pod)


def test_binding_a_low_port_is_the_one_capability_that_may_be_added() -> None:
    pod = copy.deepcopy(restricted())
    _context(pod)["capabilities"]["add"] = ["NET_BIND_SERVICE"]
    assert violations(pod) == []
