from __future__ import annotations

from pathlib import Path

from infra.components.hosts import branch_spec, makes_machines, node_spec
from infra.config.region import load_region
from infra.hosts.base import Link

STATE = Path("/state")


def test_a_made_host_has_a_management_and_an_internet_link_and_a_branch_its_lan() -> None:
    region = load_region("local")
    centre = node_spec(region, region.datacenter.nodes[0], STATE)
    branch = branch_spec(region, region.branches[0], STATE)
    assert centre.links == (
        Link("mgmt0", "pacs0", "10.90.0.11/24", peer="10.90.0.1/24"),
        Link("wan0", "internet", "100.64.1.2/30", peer="100.64.1.1/30", gateway="100.64.1.1"),
    )
    assert branch.links[1:] == (
        Link("wan0", "internet", "100.64.2.2/30", peer="100.64.2.1/30", gateway="100.64.2.1"),
        Link("lan0", "machine", "10.91.1.2/30", peer="10.91.1.1/30"),
    )
    assert makes_machines(region)


def test_a_real_host_keeps_its_own_network_and_names_its_disks_by_path() -> None:
    region = load_region("yanan")
    spec = node_spec(region, region.datacenter.nodes[1], STATE)
    assert (spec.kind, spec.ssh_user, spec.links) == ("ssh", "operator", ())
    assert len(spec.disks) == 6
    assert all(disk.name.startswith("/dev/disk/by-path/") for disk in spec.disks)
    assert not makes_machines(region)
