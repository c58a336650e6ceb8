"""Addresses: the links between hosts, and the check that no two networks overlap."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network


class AddressingError(ValueError):
    """Networks overlap or run out; the text says which, and what to change."""


@dataclass(frozen=True)
class PointToPoint:
    """A /30 between two ends: `outer` is the network's side (.1), `inner` the host's (.2)."""

    network: IPv4Network

    @property
    def outer(self) -> IPv4Address:
        return self.network.network_address + 1

    @property
    def inner(self) -> IPv4Address:
        return self.network.network_address + 2

    def cidr(self, address: IPv4Address) -> str:
        """`address` with this link's prefix length, as an interface wants it."""
        return f"{address}/{self.network.prefixlen}"


def check_disjoint(networks: Mapping[str, str]) -> None:
    """No two of the named networks may share an address. Raises AddressingError with both names."""
    parsed = {name: IPv4Network(cidr) for name, cidr in networks.items()}
    for (one, left), (other, right) in itertools.combinations(parsed.items(), 2):
        if left.overlaps(right):
            raise AddressingError(
                f"networks overlap: got {one} = {left} and {other} = {right}; "
                "allowed: networks that share no address. Move one of them"
            )


def check_inside(name: str, address: str, network_name: str, network: str) -> None:
    """`address` must be a usable host address of `network`. Raises AddressingError."""
    parsed = IPv4Network(network)
    host = IPv4Address(address)
    edges = (parsed.network_address, parsed.broadcast_address) if parsed.prefixlen < 31 else ()
    if host not in parsed or host in edges:
        raise AddressingError(
            f"{name}: got {address}; allowed: a host address of {network_name} = {network}. "
            "Give it an address there, or widen the network"
        )


def internet_link(internet: str, index: int) -> PointToPoint:
    """The `index`-th link (1-based) into the namespace that plays the internet.

    Each link is the first /30 of its own /24, so that the third octet names the host: the data
    centre's node 1 is 100.64.1.0/30, the first branch after it 100.64.2.0/30. Raises AddressingError.
    """
    network = IPv4Network(internet)
    if network.prefixlen > 24 or not 1 <= index < 1 << (24 - network.prefixlen):
        room = max(0, (1 << (24 - min(network.prefixlen, 24))) - 1)
        raise AddressingError(
            f"network.internet: got {internet} for link {index}; it has room for {room} links. Widen it"
        )
    base = int(network.network_address) + index * 256
    return PointToPoint(IPv4Network((base, 30)))


def lan_link(lan: str) -> PointToPoint:
    """The link between this machine and a branch, which plays the hospital's LAN; `lan` must be a /30."""
    network = IPv4Network(lan)
    if network.prefixlen != 30:
        raise AddressingError(
            f"got {lan} as the LAN of a branch on this machine; allowed: a /30, such as 10.91.1.0/30"
        )
    return PointToPoint(network)


def gateway_of(network: str) -> IPv4Address:
    """The first host address of a network: this machine's address on its management bridge."""
    return IPv4Network(network).network_address + 1


def with_prefix(address: str, network: str) -> str:
    """`address` with the prefix length of `network`."""
    return f"{address}/{IPv4Network(network).prefixlen}"
