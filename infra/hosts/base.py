"""One interface for every kind of host: a machine with systemd, sshd and an address.

Production hosts exist already and are only looked at (`ssh`); the local stack's hosts are
made, kept and removed on this machine (`nspawn`). Everything above, the Ansible inventory
included, sees the same `HostFacts`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

HostKind = Literal["nspawn", "ssh"]


class HostError(Exception):
    """A host could not be made, reached or removed; the text says what to do."""


@dataclass(frozen=True)
class Link:
    """A network interface of a host: `interface` inside it, joined to `network` outside.

    `network` is a bridge of this machine (`pacs0`), the literal `machine` (a point-to-point
    link to this machine) or `internet` (a link into the namespace that plays the internet).
    Addresses are CIDR strings; `peer` is the other end's, where we own it.
    """

    interface: str
    network: str
    address: str
    peer: str | None = None
    gateway: str | None = None


@dataclass(frozen=True)
class Disk:
    """A block device of a host: a real path in production, a file of `size_bytes` locally."""

    name: str
    size_bytes: int


@dataclass(frozen=True)
class HostSpec:
    """What a host must be. `address` is the management address that ssh and Ansible use."""

    name: str
    kind: HostKind
    address: str
    ssh_user: str = "root"
    ssh_port: int = 22
    links: tuple[Link, ...] = ()
    disks: tuple[Disk, ...] = ()
    state_dir: Path = field(default=Path("/var/lib/pacs/local"))


@dataclass(frozen=True)
class HostFacts:
    """What a host is: where ssh reaches it, and which device each declared disk became."""

    name: str
    address: str
    ssh_user: str
    ssh_port: int
    ssh_key: str
    host_key: str
    devices: dict[str, str]
    running: bool


class HostProvider(Protocol):
    """Makes, inspects and removes hosts of one kind; every call may be repeated."""

    def ensure(self, spec: HostSpec) -> HostFacts:
        """Bring the host to the state in `spec` and wait until sshd answers. Raises HostError."""

    def inspect(self, spec: HostSpec) -> HostFacts | None:
        """What is there now, without changing anything; None where there is no such host."""

    def remove(self, spec: HostSpec, *, keep_data: bool = False) -> None:
        """End the host and everything of it on this machine; its disks too unless `keep_data`."""


def provider_for(kind: HostKind) -> HostProvider:
    """The provider of `kind`."""
    if kind == "nspawn":
        from infra.hosts.nspawn import NspawnHosts  # noqa: PLC0415 - a provider imports this module

        return NspawnHosts()
    from infra.hosts.ssh import SshHosts  # noqa: PLC0415

    return SshHosts()
