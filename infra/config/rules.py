"""Rules across sections. Each refusal says what it got, what is allowed and what to do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING

from infra.layout.addressing import check_disjoint, check_inside, internet_link, lan_link
from infra.layout.pools import check_pool
from infra.layout.sizing import check_retention_fits
from infra.naming import CENTRE

if TYPE_CHECKING:
    from infra.config.region import RegionConfig


# RFC 1918: what no router of the internet carries.
_PRIVATE = [IPv4Network(cidr) for cidr in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")]


def check(region: RegionConfig) -> None:
    """Every rule, in the order in which an operator would mend them. Raises ValueError."""
    _names_are_unique(region)
    _addresses_are_unique(region)
    _networks_are_disjoint(region)
    _addresses_are_inside_their_networks(region)
    _institutions_are_known(region)
    _callers_see_and_send_what_is_allowed(region)
    _destinations_are_inside_or_over_tls(region)
    _refused_sites_are_known(region)
    _ae_titles_are_unique(region)
    _disks_fit_the_host_kind(region)
    _branches_have_one_disk(region)
    _cluster_can_stand(region)
    _pools_can_be_placed(region)
    _database_keeps_what_it_acknowledged(region)
    _node_ports_are_unique(region)
    _retentions_fit(region)


def _duplicates(values: Iterable[str]) -> list[str]:
    return [value for value, count in Counter(values).items() if count > 1]


def _refuse(condition: bool, got: str, allowed: str, action: str) -> None:
    if condition:
        raise ValueError(f"got {got}; allowed: {allowed}. {action}")


def _hosts(region: RegionConfig) -> Iterator[tuple[str, str]]:
    for node in region.datacenter.nodes:
        yield node.name, node.address
    for branch in region.branches:
        yield branch.site, branch.address


def _names_are_unique(region: RegionConfig) -> None:
    twice = _duplicates(name for name, _ in _hosts(region))
    _refuse(bool(twice), f"host names used twice: {twice}", "one host a name", "Rename one node or site")
    _refuse(
        CENTRE in {branch.site for branch in region.branches},
        f"a branch with the site {CENTRE!r}",
        "another name: packs and metrics of the data centre itself carry this one",
        "Rename the site",
    )
    twice = _duplicates(institution.name for institution in region.region.institutions)
    _refuse(bool(twice), f"institutions listed twice: {twice}", "each once", "Remove one")


def _addresses_are_unique(region: RegionConfig) -> None:
    twice = _duplicates(address for _, address in _hosts(region))
    owners = [name for name, address in _hosts(region) if address in twice]
    _refuse(
        bool(twice),
        f"management addresses used twice: {twice} by {owners}",
        "one host an address",
        "Give one of them another address",
    )


def _networks_are_disjoint(region: RegionConfig) -> None:
    network = region.network
    shared = {
        "network.pods": network.pods,
        "network.services": network.services,
        "network.management": network.management,
    }
    if region.hosts.kind == "nspawn":
        # All on one machine: every LAN is a route of that machine, so they must differ among themselves too.
        lans = {f"branch {branch.site}.lan": branch.lan for branch in region.branches}
        check_disjoint({**shared, "network.internet": network.internet, **lans})
        for branch in region.branches:
            inner = str(lan_link(branch.lan).inner)
            _refuse(
                branch.lan_address != inner,
                f"branch {branch.site}: lan_address {branch.lan_address}",
                f"{inner}: on this machine the LAN is a link of two ends, and .1 of it is the machine",
                "Correct lan_address",
            )
        internet_link(network.internet, len(list(_hosts(region))))
        return
    check_disjoint(shared)
    # Real hospitals often share 192.168.0.0/16: each LAN meets only the cluster networks of its own edge.
    for branch in region.branches:
        check_disjoint(
            {
                f"branch {branch.site}.lan": branch.lan,
                "network.pods": network.pods,
                "network.services": network.services,
            }
        )


def _addresses_are_inside_their_networks(region: RegionConfig) -> None:
    if region.hosts.kind == "nspawn":
        for name, address in _hosts(region):
            check_inside(f"host {name}.address", address, "network.management", region.network.management)
    for branch in region.branches:
        check_inside(f"branch {branch.site}.lan_address", branch.lan_address, "its lan", branch.lan)
        for peer in branch.calling:
            inside = IPv4Network(peer.network).subnet_of(IPv4Network(branch.lan))
            _refuse(
                not inside,
                f"branch {branch.site}: calling {peer.ae_title} from {peer.network}",
                f"networks inside its lan {branch.lan}",
                "Correct the network; DICOM without TLS must not come from outside the hospital",
            )
    for peer in region.archive.calling:
        _refuse(
            not any(IPv4Network(peer.network).subnet_of(private) for private in _PRIVATE),
            f"archive: calling {peer.ae_title} from {peer.network}",
            "networks inside 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16",
            "Correct the network; DICOM without TLS must not come over the internet",
        )
    gateway = IPv4Address(region.network.gateway_address)
    for name, cidr in (("pods", region.network.pods), ("services", region.network.services)):
        _refuse(
            gateway in IPv4Network(cidr),
            f"network.gateway_address {gateway} inside network.{name} {cidr}",
            "an address that branches reach over the internet",
            "Name the public address of the data centre",
        )


def _institutions_are_known(region: RegionConfig) -> None:
    known = [institution.name for institution in region.region.institutions]
    users = [("archive", region.archive.institution)]
    users += [(f"branch {branch.site}", branch.institution) for branch in region.branches]
    for user, institution in users:
        _refuse(
            institution not in known,
            f"{user}: institution {institution!r}",
            f"one of {known}",
            "Add it to region.institutions, or correct the name",
        )


def _callers_see_and_send_what_is_allowed(region: RegionConfig) -> None:
    known = [institution.name for institution in region.region.institutions]
    # A branch holds its own institution's images, and a caller of it asks for those.
    places = [("archive", region.archive.calling, region.archive.destinations, known)]
    places += [(f"branch {b.site}", b.calling, b.destinations, [b.institution]) for b in region.branches]
    for owner, callers, destinations, allowed in places:
        titles = [one.ae_title for one in destinations]
        twice = _duplicates(titles)
        _refuse(bool(twice), f"{owner}: destinations listed twice: {twice}", "each once", "Remove one")
        for peer in callers:
            foreign = sorted(set(peer.institutions or ()) - set(allowed))
            _refuse(
                bool(foreign),
                f"{owner}: calling {peer.ae_title} with institutions {foreign}",
                f"some of {allowed}",
                "Correct the names, or take them away",
            )
            unknown = sorted(set(peer.moves_to) - set(titles))
            _refuse(
                bool(unknown),
                f"{owner}: calling {peer.ae_title} moves_to {unknown}",
                f"AE titles under its destinations, which are {titles}",
                "Add the destination, or correct the title",
            )


def _destinations_are_inside_or_over_tls(region: RegionConfig) -> None:
    places = [("archive", region.archive.destinations, _PRIVATE)]
    places += [(f"branch {b.site}", b.destinations, [IPv4Network(b.lan)]) for b in region.branches]
    for owner, destinations, networks in places:
        for one in destinations:
            _refuse(
                not one.tls and not _is_inside(one.host, networks),
                f"{owner}: destination {one.ae_title} at {one.host} without TLS",
                f"an address inside {', '.join(map(str, networks))}",
                "Correct the address, or speak TLS; DICOM without it stays inside",
            )


def _is_inside(host: str, networks: Iterable[IPv4Network]) -> bool:
    try:
        address = IPv4Address(host)
    except ValueError:
        return False
    return any(address in network for network in networks)


def _refused_sites_are_known(region: RegionConfig) -> None:
    unknown = sorted(set(region.gateway.refused_sites) - {branch.site for branch in region.branches})
    _refuse(bool(unknown), f"gateway.refused_sites {unknown}", "sites under branches", "Correct the name")


def _ae_titles_are_unique(region: RegionConfig) -> None:
    archives = [region.archive.ae_title, *(branch.ae_title for branch in region.branches)]
    twice = _duplicates(archives)
    _refuse(bool(twice), f"AE titles used twice: {twice}", "one archive an AE title", "Rename one of them")
    lists = {"archive": region.archive.calling} | {
        f"branch {branch.site}": branch.calling for branch in region.branches
    }
    for owner, peers in lists.items():
        calling = [peer.ae_title for peer in peers]
        twice = _duplicates(calling)
        _refuse(
            bool(twice),
            f"{owner}: calling AE titles listed twice: {twice}",
            "each once",
            "Remove one",
        )
        ours = sorted(set(calling) & set(archives))
        _refuse(
            bool(ours),
            f"{owner}: calling AE titles {ours}, which are archives of this region",
            "AE titles of devices",
            "Rename the device",
        )


def _disks_fit_the_host_kind(region: RegionConfig) -> None:
    owners = [(node.name, node.disks) for node in region.datacenter.nodes]
    owners += [(branch.site, branch.disks) for branch in region.branches]
    for owner, disks in owners:
        twice = _duplicates(disk.name for disk in disks)
        _refuse(bool(twice), f"host {owner}: disks named twice: {twice}", "each name once", "Rename one")
        for disk in disks:
            if region.hosts.kind == "ssh":
                _refuse(
                    disk.device is None,
                    f"host {owner}: disk {disk.name} without a device",
                    "the path of a block device",
                    "Name it as /dev/disk/by-id/...",
                )
            else:
                _refuse(
                    disk.device is not None,
                    f"host {owner}: disk {disk.name} with device {disk.device}",
                    "no device: an nspawn host gets a file of the size",
                    "Remove the device",
                )


def _branches_have_one_disk(region: RegionConfig) -> None:
    for branch in region.branches:
        names = [disk.name for disk in branch.disks]
        _refuse(
            len(names) > 1,
            f"branch {branch.site}: {len(names)} disks {names}",
            "one, which holds everything of the branch: the platform does not join disks",
            "Join them on the host (RAID controller, mdadm or LVM), and name the volume and its usable size",
        )


def _cluster_can_stand(region: RegionConfig) -> None:
    nodes = region.datacenter.nodes
    planes = [node.name for node in region.datacenter.control_planes]
    _refuse(
        len(planes) % 2 == 0,
        f"{len(planes)} control-plane nodes {planes}",
        "an odd number (etcd needs a majority)",
        "Give the role control-plane to 1, 3 or 5 nodes",
    )
    _refuse(
        region.network.cni == "bridge" and len(nodes) > 1,
        f"network.cni bridge for {len(nodes)} nodes",
        "bridge for one node only",
        "Choose flannel or cilium",
    )
    _refuse(
        (region.network.cni == "cilium") != (region.network.cni_manifest is not None),
        f"network.cni {region.network.cni} with cni_manifest {region.network.cni_manifest}",
        "a cni_manifest for cilium, and for no other",
        "Name the file that Cilium's chart was rendered into, or take the key away",
    )
    for node in nodes:
        _refuse(
            "storage" in node.roles and not node.disks,
            f"storage node {node.name} without disks",
            "at least one disk",
            "Add a disk, or take the role away",
        )
        _refuse(
            "storage" not in node.roles and bool(node.disks),
            f"node {node.name} with disks but without the role storage",
            "disks on storage nodes only",
            "Add the role storage, or remove the disks",
        )


def _pools_can_be_placed(region: RegionConfig) -> None:
    store = region.object_store
    storage = [node for node in region.datacenter.nodes if "storage" in node.roles]
    devices = sum(len(node.disks) for node in storage)
    for name, pool in (("metadata_pool", store.metadata_pool), ("data_pool", store.data_pool)):
        check_pool(name, pool.layout(), store.failure_domain, nodes=len(storage), devices=devices)
    nodes = len(region.datacenter.nodes)
    _refuse(
        store.monitors > nodes or store.managers > nodes,
        f"object_store.monitors {store.monitors} and managers {store.managers} on {nodes} nodes",
        "at most one of each a node",
        "Lower them, or add nodes",
    )


def _database_keeps_what_it_acknowledged(region: RegionConfig) -> None:
    database = region.database
    lowest = 1 if database.instances > 1 else 0
    _refuse(
        not lowest <= database.synchronous_standbys < max(database.instances, 1),
        f"database.synchronous_standbys {database.synchronous_standbys} with {database.instances} instances",
        f"{lowest} to {database.instances - 1}: without one an acknowledged row can be lost at failover",
        "Correct synchronous_standbys, or change instances",
    )


def _node_ports_are_unique(region: RegionConfig) -> None:
    ports = [region.gateway.node_port, region.archive.dimse_node_port]
    _refuse(
        ports[0] == ports[1],
        f"node port {ports[0]} twice",
        "one service a port",
        "Change archive.dimse_node_port",
    )


def _retentions_fit(region: RegionConfig) -> None:
    for branch in region.branches:
        check_retention_fits(branch.site, branch.disk.size, branch.daily_volume, branch.retention)
