"""`./pacs doctor`: what this machine has, what the region needs of it, and what to do about the rest."""

from __future__ import annotations

import shutil
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer
from rich.table import Table

from cli import console
from cli.errors import MachineError
from cli.exit_codes import ExitCode
from cli.machine import kernel, network, resources
from cli.machine.check import Check, Outcome
from cli.options import Json, Stack
from toolchain.paths import state_directory

if TYPE_CHECKING:
    from infra.config.region import RegionConfig

_MARKS: dict[Outcome, str] = {
    "ok": "[green]✓[/green]",
    "will-install": "[cyan]+[/cyan]",
    "warn": "[yellow]![/yellow]",
    "missing": "[red]✗[/red]",
}
_GIB = 1 << 30
# What a local host's system, images and logs take beside its declared disks.
_HOST_BYTES = 8 * _GIB
# This machine's ends of the links to hosts, as infra.hosts.network names them.
_OWN_LINKS = tuple(f"p{number}-" for number in range(4))


def doctor(stack: Stack = "local", as_json: Json = False) -> None:
    """Check this machine and the stack's configuration; change nothing."""
    checks = examine(stack)
    console.emit(
        {"stack": stack, "checks": [asdict(check) for check in checks]}, _table(checks), as_json=as_json
    )
    if any(check.outcome == "missing" for check in checks):
        raise typer.Exit(ExitCode.DIFFERENCE)


def require(stack: str) -> list[Check]:
    """The preflight of `up`. Raises MachineError naming the first thing that is missing."""
    checks = examine(stack)
    missing = [check for check in checks if check.outcome == "missing"]
    if missing:
        first, *others = missing
        more = f" ({len(others)} more: see ./pacs doctor)" if others else ""
        raise MachineError(
            f"this machine does not fit: {first.name}{more}",
            f"found {first.found}; needed {first.needed}",
            first.action,
        )
    return checks


def examine(stack: str) -> list[Check]:
    """Every check, in the order a person would ask. Raises RegionConfigError for a wrong stack file."""
    from infra.config.region import load_region  # noqa: PLC0415  --help must not pay for it

    region = load_region(stack)
    checks = [resources.root(), resources.operating_system()]
    if region.hosts.kind == "nspawn":
        checks += _local_hosts(stack, region)
    checks += [resources.cache_disk(), resources.packages()]
    checks += [network.registry(entry) for entry in network.registries()]
    return checks


def _local_hosts(stack: str, region: RegionConfig) -> list[Check]:
    """What hosts on this machine need; those that run already are not counted twice."""
    from infra.layout.sizing import size_bytes  # noqa: PLC0415

    nodes = [disk for node in region.datacenter.nodes for disk in node.disks]
    disks = [*nodes, *(disk for branch in region.branches for disk in branch.disks)]
    hosts = len(region.datacenter.nodes) + len(region.branches)
    running = (state_directory(stack) / "hosts").is_dir()
    # Disks are sparse: the room for a tenth of them is what a first `up` and `verify` fill.
    space = hosts * _HOST_BYTES + sum(size_bytes(disk.size) for disk in disks) // 10
    checks = [
        resources.cores(),
        resources.memory(),
        resources.state_disk(stack, 2 * _GIB if running else space),
        kernel.overlay(),
        kernel.links(),
        kernel.nftables(),
        kernel.loop_devices(0 if running else len(disks)),
        kernel.file_watchers(hosts),
    ]
    if shutil.which("ip"):
        networks = {
            "network.management": region.network.management,
            "network.internet": region.network.internet,
            "network.pods": region.network.pods,
            "network.services": region.network.services,
            **{f"branches.{branch.site}.lan": branch.lan for branch in region.branches},
        }
        bridge = getattr(region.hosts, "bridge", "pacs0")
        checks.append(network.overlap(networks, (bridge, *_OWN_LINKS)))
    return checks


def _table(checks: list[Check]) -> Table:
    table = Table(box=None, pad_edge=False)
    for title in ("", "check", "found", "needed"):
        table.add_column(title, overflow="fold")
    for check in checks:
        table.add_row(_MARKS[check.outcome], check.name, check.found, check.needed)
        if check.action:
            table.add_row("", "", f"[dim]→ {check.action}[/dim]", "")
    return table
