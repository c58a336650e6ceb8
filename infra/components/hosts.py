"""The hosts of the region: what each one must be, derived from RegionConfig."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pulumi

from infra.config.region import RegionConfig
from infra.config.sections import Branch, Disk, Node, NspawnHostsConfig, SshHostsConfig
from infra.hosts.base import Disk as HostDisk
from infra.hosts.base import HostSpec, Link
from infra.layout.addressing import gateway_of, internet_link, lan_link, with_prefix
from infra.layout.sizing import size_bytes
from infra.providers.host import Host
from infra.providers.internet import Internet


@dataclass(frozen=True)
class InternetArgs:
    """Where branches find the centre, and where the centre really listens; both `address:port`."""

    public: str
    centre: str
    state_dir: Path


@dataclass(frozen=True)
class HostsArgs:
    """Specifications of the data centre's hosts, and the internet before them where it is ours to make."""

    specs: Sequence[HostSpec]
    internet: InternetArgs | None = None


class Hosts(pulumi.ComponentResource):
    """One Host a data-centre node. Branch hosts belong to their branch."""

    def __init__(self, name: str, args: HostsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("pacs:hosts:Hosts", name, {}, opts)
        child = pulumi.ResourceOptions(parent=self)
        self.hosts = {spec.name: Host(spec.name, spec, opts=child) for spec in args.specs}
        if args.internet is not None:
            line = args.internet
            Internet(
                "internet",
                line.public,
                line.centre,
                line.state_dir,
                pulumi.ResourceOptions(parent=self, depends_on=list(self.hosts.values())),
            )
        self.register_outputs({})


def node_spec(region: RegionConfig, node: Node, state_dir: Path) -> HostSpec:
    """What a data-centre node must be."""
    position = [other.name for other in region.datacenter.nodes].index(node.name) + 1
    return _spec(
        region, node.name, node.address, node.disks, position=position, state_dir=state_dir, lan=None
    )


def branch_spec(region: RegionConfig, branch: Branch, state_dir: Path) -> HostSpec:
    """What a branch's edge must be."""
    sites = [other.site for other in region.branches]
    position = len(region.datacenter.nodes) + sites.index(branch.site) + 1
    return _spec(
        region,
        branch.site,
        branch.address,
        branch.disks,
        position=position,
        state_dir=state_dir,
        lan=branch.lan,
    )


def internet_between(region: RegionConfig, state_dir: Path) -> InternetArgs | None:
    """The relay that plays the internet between hosts of this machine; real hosts have the real one."""
    if not makes_machines(region):
        return None
    centre = internet_link(region.network.internet, 1).inner
    port = region.gateway.node_port
    return InternetArgs(f"{region.network.gateway_address}:443", f"{centre}:{port}", state_dir)


def makes_machines(region: RegionConfig) -> bool:
    """Whether the hosts are ours to make and remove: then all that runs on them goes with them."""
    return isinstance(region.hosts, NspawnHostsConfig)


def device_paths(host: Host) -> pulumi.Output[list[str]]:
    """Paths of the host's disks; none while a branch is pending."""
    return host.devices.apply(lambda devices: sorted((devices or {}).values()))


def inventory_host(
    host: Host, groups: Sequence[str], variables: Mapping[str, Any]
) -> pulumi.Output[dict[str, Any]]:
    """A host as a play's inventory takes it (`PlayRequest.hosts`), with the facts it came back with."""
    return pulumi.Output.all(
        name=host.name,
        address=host.address,
        user=host.ssh_user,
        port=host.ssh_port,
        key=host.ssh_key,
        host_key=host.host_key,
        groups=list(groups),
        variables=dict(variables),
    )


def _spec(
    region: RegionConfig,
    name: str,
    address: str,
    disks: Sequence[Disk],
    *,
    position: int,
    state_dir: Path,
    lan: str | None,
) -> HostSpec:
    config = region.hosts
    if isinstance(config, SshHostsConfig):
        devices = tuple(HostDisk(disk.device or disk.name, size_bytes(disk.size)) for disk in disks)
        return HostSpec(name, "ssh", address, config.user, config.port, disks=devices, state_dir=state_dir)
    files = tuple(HostDisk(disk.name, size_bytes(disk.size)) for disk in disks)
    links = _links(region, config, address, position, lan)
    return HostSpec(name, "nspawn", address, links=links, disks=files, state_dir=state_dir)


def _links(
    region: RegionConfig, config: NspawnHostsConfig, address: str, position: int, lan: str | None
) -> tuple[Link, ...]:
    management = region.network.management
    bridge = with_prefix(str(gateway_of(management)), management)
    internet = internet_link(region.network.internet, position)
    links = [
        Link("mgmt0", config.bridge, with_prefix(address, management), peer=bridge),
        Link(
            "wan0",
            "internet",
            internet.cidr(internet.inner),
            peer=internet.cidr(internet.outer),
            gateway=str(internet.outer),
        ),
    ]
    if lan is not None:
        wire = lan_link(lan)
        links.append(Link("lan0", "machine", wire.cidr(wire.inner), peer=wire.cidr(wire.outer)))
    return tuple(links)
