"""Wires that a killed run left half made are finished by the next one."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from infra.hosts import network
from infra.hosts.base import HostSpec, Link

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root for network namespaces"),
]

SPEC = HostSpec(
    "wires",
    "nspawn",
    "192.0.2.2",
    links=(Link("lan0", "machine", "192.0.2.2/30", peer="192.0.2.1/30", gateway="192.0.2.1"),),
)
INSIDE = ("ip", "-n", "pacs-wires")


@pytest.fixture
def clean() -> Iterator[None]:
    yield
    for command in ("ip link delete p0-wires", "ip netns delete pacs-wires"):
        subprocess.run(command.split(), check=False, capture_output=True)


def ip(*words: str) -> Any:
    return json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)


@pytest.mark.parametrize("done", range(5))
def test_wiring_goes_on_from_wherever_it_was_killed(done: int, clean: None) -> None:
    steps = (
        ("ip", "netns", "add", "pacs-wires"),
        ("ip", "link", "add", "p0-wires", "type", "veth", "peer", "name", "lan0", "netns", "pacs-wires"),
        (*INSIDE, "address", "add", "192.0.2.2/30", "dev", "lan0"),
        (*INSIDE, "link", "set", "lan0", "up"),
    )
    for step in steps[:done]:
        subprocess.run(step, check=True)
    network.wire(SPEC)
    network.wire(SPEC)
    (lan,) = ip(*INSIDE, "-json", "address", "show", "dev", "lan0")
    (route,) = ip(*INSIDE, "-json", "route", "show", "default")
    (loopback,) = ip(*INSIDE, "-json", "link", "show", "dev", "lo")
    assert [entry["local"] for entry in lan["addr_info"] if entry["family"] == "inet"] == ["192.0.2.2"]
    assert "UP" in lan["flags"]
    assert "UP" in loopback["flags"]
    assert route["gateway"] == "192.0.2.1"
