"""The hosts that a stack has on this machine: found by what lies in its state, started, ended.

`up` starts hosts that exist but do not run (after a reboot of the machine, or `down --keep-data`) before
Pulumi looks at the cluster inside them. `down` ends them without asking Pulumi, so that it works whatever
state a killed run left.
"""

from __future__ import annotations

import contextlib
import json
import socket
import time
from pathlib import Path
from urllib.parse import urlsplit

import yaml

from cli.engine.workspace import Layout
from infra.hosts import internet
from infra.hosts.base import Disk, HostSpec, Link, provider_for
from infra.hosts.nspawn import keeper_pid
from toolchain.progress import Progress

_API_SECONDS = 180.0


def found(layout: Layout) -> list[HostSpec]:
    """The hosts whose directories lie in the stack's state; one that never started has no links or disks."""
    homes = sorted(path for path in layout.hosts.glob("*") if path.is_dir())
    return [_spec(layout, home) for home in homes]


def wake(layout: Layout, progress: Progress) -> None:
    """Start the hosts that exist and do not run; wait until the cluster in them answers. Raises HostError."""
    asleep = [spec for spec in found(layout) if spec.links and keeper_pid(layout.hosts / spec.name) is None]
    for spec in asleep:
        progress.update(f"host {spec.name}", "starting")
        provider_for("nspawn").ensure(spec)
        progress.done(f"host {spec.name}", "started")
    if asleep and layout.kubeconfig.is_file():
        progress.update("kubernetes", "waiting for the API")
        if _answers(_api_address(layout.kubeconfig)):
            progress.done("kubernetes", "answers")


def end(layout: Layout, progress: Progress, *, keep_data: bool) -> list[str]:
    """End every host and the relay between them; return the hosts' names. May be repeated."""
    internet.stop(layout.state)
    specs = found(layout)
    for spec in specs:
        progress.update(f"host {spec.name}", "powering off")
        provider_for("nspawn").remove(spec, keep_data=keep_data)
        progress.done(f"host {spec.name}", "ended, its disks kept" if keep_data else "ended and removed")
    return [spec.name for spec in specs]


def _spec(layout: Layout, home: Path) -> HostSpec:
    try:
        document = json.loads((home / "keeper.json").read_text(encoding="utf-8"))["spec"]
    except (OSError, ValueError, KeyError):
        return HostSpec(name=home.name, kind="nspawn", address="", state_dir=layout.state)
    return HostSpec(
        name=document["name"],
        kind="nspawn",
        address=document["address"],
        ssh_user=document["ssh_user"],
        ssh_port=document["ssh_port"],
        links=tuple(Link(**link) for link in document["links"]),
        disks=tuple(Disk(**disk) for disk in document["disks"]),
        state_dir=layout.state,
    )


def _api_address(kubeconfig: Path) -> tuple[str, int]:
    document = yaml.safe_load(kubeconfig.read_text(encoding="utf-8"))
    server = urlsplit(document["clusters"][0]["cluster"]["server"])
    return server.hostname or "", server.port or 443


def _answers(address: tuple[str, int]) -> bool:
    """Whether something listens there within the time that static pods take to start."""
    deadline = time.monotonic() + _API_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(address, 2):
            return True
        time.sleep(1)
    return False
