"""The wires of the local stack: one network namespace a host, one that plays the internet.

Names: bridge `pacs0` (management), namespaces `pacs-<host>` and `pacs-internet`. Nothing else of
the machine is touched: no NAT, no forwarding and no firewall rule of ours in its own namespace.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from infra.hosts.base import HostSpec, Link
from infra.hosts.command import run

BRIDGE = "pacs0"
INTERNET = "pacs-internet"


def namespace(host: str) -> str:
    """The network namespace of `host`."""
    return f"pacs-{host}"


def wire(spec: HostSpec) -> None:
    """Make the host's namespace and its links; every step may find that it was done, or half of it."""
    make_namespace(namespace(spec.name))
    for position, link in enumerate(spec.links):
        _connect(spec.name, position, link)


def is_wired(spec: HostSpec) -> bool:
    """Whether every link of the host is there."""
    if namespace(spec.name) not in namespaces():
        return False
    return {link.interface for link in spec.links} <= _interfaces(namespace(spec.name))


def unwire(spec: HostSpec) -> None:
    """Remove the host's namespace and links, and the shared ones when this was the last host."""
    for position, link in enumerate(spec.links):
        outer = _outer_name(spec.name, position)
        place = ("-n", INTERNET) if link.network == "internet" else ()
        run("ip", *place, "link", "delete", outer, check=False)
    if namespace(spec.name) in namespaces():
        run("ip", "netns", "delete", namespace(spec.name))
    for link in spec.links:
        ports = Path(f"/sys/class/net/{link.network}/brif")
        if ports.is_dir() and not any(ports.iterdir()):
            run("ip", "link", "delete", link.network)
    if not any(name.startswith("pacs-") and name != INTERNET for name in namespaces()):
        run("ip", "link", "delete", BRIDGE, check=False)
        if INTERNET in namespaces():
            run("ip", "netns", "delete", INTERNET)


def namespaces() -> set[str]:
    """Names of all network namespaces of the machine."""
    return {entry["name"] for entry in json.loads(run("ip", "-json", "netns", "list") or "[]")}


def make_namespace(name: str) -> None:
    """Make a network namespace with its loopback up; one that is there stays."""
    if name not in namespaces():
        run("ip", "netns", "add", name)
    run("ip", "-n", name, "link", "set", "lo", "up")


def processes(host: str) -> list[int]:
    """Pids of all processes in the host's network namespace."""
    if namespace(host) not in namespaces():
        return []
    return [int(pid) for pid in run("ip", "netns", "pids", namespace(host)).split()]


def _connect(host: str, position: int, link: Link) -> None:
    inner, outer = namespace(host), _outer_name(host, position)
    if link.interface not in _interfaces(inner):
        run("ip", "link", "add", outer, "type", "veth", "peer", "name", link.interface, "netns", inner)
    run("ip", "-n", inner, "address", "replace", link.address, "dev", link.interface)
    run("ip", "-n", inner, "link", "set", link.interface, "up")
    if link.network == "internet":
        make_namespace(INTERNET)
        if outer not in _interfaces(INTERNET):
            run("ip", "link", "set", outer, "netns", INTERNET)
        _raise(outer, link.peer, "-n", INTERNET)
    elif link.network == "machine":
        _raise(outer, link.peer)
    else:
        if not Path(f"/sys/class/net/{link.network}").exists():
            run("ip", "link", "add", link.network, "type", "bridge")
        _raise(link.network, link.peer)
        run("ip", "link", "set", outer, "master", link.network, "up")
    if link.gateway:
        run("ip", "-n", inner, "route", "replace", "default", "via", link.gateway)


def _raise(interface: str, address: str | None, *place: str) -> None:
    if address:
        run("ip", *place, "address", "replace", address, "dev", interface)
    run("ip", *place, "link", "set", interface, "up")


def _outer_name(host: str, position: int) -> str:
    """At most 15 characters, the kernel's limit; a long name becomes a digest, so that no two meet."""
    short = host if len(host) <= 12 else hashlib.sha256(host.encode()).hexdigest()[:12]
    return f"p{position}-{short}"


def _interfaces(name: str) -> set[str]:
    return {entry["ifname"] for entry in json.loads(run("ip", "-n", name, "-json", "link", "show"))}
