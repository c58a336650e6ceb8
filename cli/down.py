"""`./pacs down`: end everything of a local stack on this machine; nothing that is not ours is touched."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

from cli import console, local_hosts
from cli.engine.recovery import alone, end_orphans, release_stale_locks
from cli.engine.workspace import MARKER, Layout
from cli.errors import StepError, UsageError
from cli.options import Stack

KeepData = Annotated[
    bool, typer.Option("--keep-data", help="Keep disks, secrets and state: `up` then has all images again.")
]


def down(stack: Stack = "local", keep_data: KeepData = False) -> None:
    """End the hosts, namespaces, bridges and loop devices of a local stack, and remove its state."""
    layout = Layout(stack)
    if not layout.state.is_dir():
        console.say(f"the stack {stack} is not here: {layout.state} does not exist")
        return
    if not layout.is_ours():
        if not list(layout.hosts.glob("*")):
            # `doctor` or a failed `up` left logs, nothing else.
            console.say(f"the stack {stack} was never up")
            return
        raise UsageError(
            f"{layout.state} is not a stack's state directory",
            f"it has no {MARKER} of the stack {stack}",
            "Nothing was touched. Look at what it is, and remove it by hand if it is not needed.",
        )
    _refuse_real_hosts(stack)
    with alone(layout), console.progress() as progress:
        end_orphans(layout, progress)
        release_stale_locks(layout)
        local_hosts.end(layout, progress, keep_data=keep_data)
        mounts = mounts_below(layout.state)
        if mounts:
            raise StepError(
                f"{len(mounts)} mounts below {layout.state} are still there",
                ", ".join(str(mount) for mount in mounts[:3]),
                "End the program that holds them (fuser -vm shows it), then run ./pacs down again.",
            )
        if not keep_data:
            progress.update("state", f"removing {layout.state}")
            shutil.rmtree(layout.state)
            progress.done("state", f"{layout.state} removed")
    if keep_data:
        console.say(f"kept: {layout.state}")


def mounts_below(directory: Path, mountinfo: Path = Path("/proc/self/mountinfo")) -> list[Path]:
    """Mount points inside `directory`, deepest first: removing files there would remove what is mounted."""
    points = [Path(_unescape(line.split()[4])) for line in mountinfo.read_text(encoding="utf-8").splitlines()]
    inside = [point for point in points if directory in (point, *point.parents)]
    return sorted(inside, key=lambda point: len(point.parts), reverse=True)


def _unescape(field: str) -> str:
    """proc(5): space, tab, newline and backslash in a path are octal escapes."""
    for octal, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        field = field.replace(octal, character)
    return field


def _refuse_real_hosts(stack: str) -> None:
    from infra.config.region import RegionConfigError, load_region  # noqa: PLC0415

    try:
        kind = load_region(stack).hosts.kind
    except RegionConfigError:
        return  # a broken stack file must not keep this machine from being cleaned
    if kind != "nspawn":
        raise UsageError(
            f"the stack {stack} has real hosts",
            "they hold images, and are not this machine's to end",
            "Nothing was touched. How a node is taken out and replaced: docs/replace-a-node.md.",
        )
