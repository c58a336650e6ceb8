"""How a local host is started: in its own namespace, with its own devices, the cache read-only."""

from __future__ import annotations

from pathlib import Path

from infra.hosts import network
from infra.hosts.keeper import nspawn_command


def test_a_host_runs_in_its_own_network_namespace_and_sees_only_its_own_disks() -> None:
    command = nspawn_command("dc1", Path("/s/rootfs"), ["/dev/null"], Path("/c"))
    assert "--network-namespace-path=/run/netns/pacs-dc1" in command
    assert "--bind=/dev/null" in command
    assert "--bind-ro=/c" in command
    assert not any(word.startswith("--bind=/dev/loop1") for word in command)
    assert not any("cgroup" in word for word in command)


def test_interface_names_fit_the_kernel_and_differ_between_links() -> None:
    names = {network._outer_name("a-very-long-hospital-name", position) for position in range(3)}
    assert len(names) == 3
    assert all(len(name) <= 15 for name in names)


def test_two_hosts_with_a_long_common_beginning_have_different_interfaces() -> None:
    assert network._outer_name("hospital-north-1", 0) != network._outer_name("hospital-north-2", 0)
