"""Who may open an association, an AE title together with the network it calls from, and what it may then do."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

from services.common.settings import AETitle

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Caller:
    """A device. An AE title is no secret, so it counts only from the network that the device is on.

    `institutions` are those whose data it may query and retrieve; None: the site's own alone. `moves_to` are the
    AE titles of destinations that it may have instances sent to; none unless they are named.
    """

    ae_title: AETitle
    network: Network
    institutions: frozenset[str] | None = None
    moves_to: frozenset[AETitle] = frozenset()


@dataclass(frozen=True, slots=True)
class Rights:
    """What a caller may do; what is not here is denied."""

    institutions: frozenset[str] = frozenset()
    moves_to: frozenset[str] = frozenset()


def rights_of(callers: Iterable[Caller], ae_title: str, address: Address, own: str) -> Rights:
    """The rights of the device with this AE title at this address; `own` is the site's institution."""
    fitting = [one for one in callers if one.ae_title == ae_title and address in one.network]
    return Rights(
        frozenset(
            name for one in fitting for name in ({own} if one.institutions is None else one.institutions)
        ),
        frozenset(title for one in fitting for title in one.moves_to),
    )


def is_known(callers: Iterable[Caller], ae_title: str, address: Address) -> bool:
    """Whether one of `callers` has this AE title and this address both; of nobody, nobody is known."""
    return any(caller.ae_title == ae_title and address in caller.network for caller in callers)


def address_of(text: str) -> Address:
    """A peer's address; one of IPv4 that came through an IPv6 socket (`::ffff:...`) as the former."""
    address = ipaddress.ip_address(text)
    return getattr(address, "ipv4_mapped", None) or address
