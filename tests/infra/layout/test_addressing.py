from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.layout.addressing import (
    AddressingError,
    check_disjoint,
    check_inside,
    gateway_of,
    internet_link,
    lan_link,
    with_prefix,
)

networks = st.builds(
    lambda address, prefix: IPv4Network((int(address), prefix), strict=False),
    st.ip_addresses(v=4),
    st.integers(8, 32),
)


@given(networks, networks)
def test_two_networks_are_disjoint_exactly_when_they_share_no_address(
    one: IPv4Network, other: IPv4Network
) -> None:
    shares = one.network_address <= other.broadcast_address and other.network_address <= one.broadcast_address
    if shares:
        with pytest.raises(AddressingError, match=r"a = .* and b = "):
            check_disjoint({"a": str(one), "b": str(other)})
    else:
        check_disjoint({"a": str(one), "b": str(other)})


@given(st.integers(8, 22), st.data())
def test_links_to_the_internet_never_share_an_address(prefix: int, data: st.DataObject) -> None:
    internet = f"{IPv4Network((int(IPv4Address('100.0.0.0')), prefix), strict=False)}"
    room = (1 << (24 - prefix)) - 1
    indices = data.draw(st.lists(st.integers(1, room), min_size=2, max_size=8, unique=True))
    links = [internet_link(internet, index) for index in indices]
    check_disjoint({str(index): str(link.network) for index, link in zip(indices, links, strict=True)})
    for link in links:
        assert link.network.subnet_of(IPv4Network(internet))
        assert link.inner in link.network
        assert link.inner != link.outer


def test_the_third_octet_of_a_link_names_the_host() -> None:
    link = internet_link("100.64.0.0/16", 2)
    assert (link.cidr(link.outer), link.cidr(link.inner)) == ("100.64.2.1/30", "100.64.2.2/30")


@pytest.mark.parametrize(
    ("internet", "index"), [("100.64.0.0/16", 0), ("100.64.0.0/16", 256), ("100.64.0.0/30", 1)]
)
def test_an_internet_without_room_for_a_host_is_refused(internet: str, index: int) -> None:
    with pytest.raises(AddressingError, match="Widen it"):
        internet_link(internet, index)


@pytest.mark.parametrize("address", ["10.0.0.0", "10.0.0.255", "10.0.1.1"])
def test_an_address_that_no_host_can_have_is_refused(address: str) -> None:
    with pytest.raises(AddressingError, match="host address of lan"):
        check_inside("edge", address, "lan", "10.0.0.0/24")


def test_a_lan_on_this_machine_has_two_ends() -> None:
    link = lan_link("10.91.1.0/30")
    assert (str(link.outer), str(link.inner)) == ("10.91.1.1", "10.91.1.2")
    with pytest.raises(AddressingError, match="a /30"):
        lan_link("10.91.1.0/24")


def test_the_machine_has_the_first_address_of_its_bridge() -> None:
    assert with_prefix(str(gateway_of("10.90.0.0/24")), "10.90.0.0/24") == "10.90.0.1/24"
