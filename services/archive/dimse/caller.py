"""Who may open an association: an AE title together with the network it calls from."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

from services.common.settings import AETitle

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Caller:
    """A device. An AE title is no secret, so it counts only from the network that the device is on."""

    ae_title: AETitle
    network: Network


def is_known(callers: Iterable[Caller], ae_title: str, address: Address) -> bool:
    """Whether one of `callers` has this AE title and this address both; of nobody, nobody is known."""
    return any(caller.ae_title == ae_title and address in caller.network for caller in callers)


def address_of(text: str) -> Address:
    """A peer's address; one of IPv4 that came through an IPv6 socket (`::ffff:...`) as the former."""
    address = ipaddress.ip_address(text)
    return getattr(address, "ipv4_mapped", None) or address
