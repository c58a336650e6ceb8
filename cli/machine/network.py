"""What the network around this machine allows: routes, and the package registries."""

from __future__ import annotations

import ipaddress
import json
import os
import re
import socket
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from cli.machine.check import Check

_CONNECT_SECONDS = 4.0


@dataclass(frozen=True)
class Registry:
    """A package registry: which client asks it, and where that client is told to ask."""

    client: str
    brings: str
    url: str


def registries() -> list[Registry]:
    """The registries that the ordinary clients of this machine are set to."""
    return [
        Registry("apt", "Debian packages and root filesystems", apt_url(_apt_sources())),
        Registry(
            "pip and uv", "the Python environment", os.environ.get("PIP_INDEX_URL", "https://pypi.org/simple")
        ),
        Registry("go", "tools built from Go modules", _go_url()),
    ]


def registry(entry: Registry) -> Check:
    """A name look-up and one connection; through the proxy where one is set. Nothing is downloaded."""
    url = urlsplit(entry.url)
    proxy = os.environ.get(f"{url.scheme}_proxy") or os.environ.get(f"{url.scheme.upper()}_PROXY")
    target = urlsplit(proxy) if proxy else url
    port = target.port or (443 if target.scheme == "https" else 80)
    name = f"registry of {entry.client}"
    try:
        with socket.create_connection((target.hostname or "", port), _CONNECT_SECONDS):
            pass
    except OSError as error:
        return Check(
            name,
            "warn",
            f"{target.hostname}:{port}: {error.strerror or error}",
            f"{entry.url} ({entry.brings})",
            f"Nothing new can be fetched by {entry.client}; what the cache holds still works. "
            "Check the network, or point the client to a mirror.",
        )
    return Check(name, "ok", f"{target.hostname}:{port} answers", entry.brings)


def overlap(networks: Mapping[str, str], ours: Iterable[str], routes: str | None = None) -> Check:
    """No network of the region overlaps a route of this machine; `ours`: prefixes of our interfaces."""
    text = routes if routes is not None else _run(["ip", "-json", "-4", "route", "show"])
    own = tuple(ours)
    clashes = []
    for route in json.loads(text or "[]"):
        if route["dst"] == "default" or str(route.get("dev", "")).startswith(own):
            continue
        there = ipaddress.ip_network(route["dst"], strict=False)
        clashes += [
            f"{name} {cidr} overlaps {there} on {route.get('dev', '?')}"
            for name, cidr in networks.items()
            if ipaddress.ip_network(cidr).overlaps(there)
        ]
    needed = ", ".join(networks.values())
    if not clashes:
        return Check("networks", "ok", "no overlap with this machine's routes", needed)
    return Check(
        "networks", "missing", "; ".join(clashes), needed, "Move the region's network in the stack file."
    )


def apt_url(sources: Iterable[str]) -> str:
    """The first Debian archive that apt's source files name, in either of their two forms."""
    pattern = re.compile(r"^(?:URIs:|deb )\s*(?:\[[^]]*\]\s*)?(https?://\S*debian\S*)", re.MULTILINE)
    found = (pattern.search(source) for source in sources)
    return next((match.group(1) for match in found if match), "http://deb.debian.org/debian")


def _apt_sources() -> list[str]:
    files = [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*.*"))]
    return [file.read_text(encoding="utf-8") for file in files if file.is_file()]


def _go_url() -> str:
    proxies = os.environ.get("GOPROXY") or _run(["go", "env", "GOPROXY"]).strip()
    first = re.split(r"[,|]", proxies)[0]
    return first if first.startswith("http") else "https://proxy.golang.org"


def _run(command: list[str]) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=20, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""
