"""A cgroup of its own for each local host, in every hierarchy of the machine.

The keeper enters it before it starts nspawn, whose cgroup namespace then begins there: systemd and
the kubelet inside see it as their root, and two hosts never share a slice.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")


def enter(host: str) -> None:
    """Move this process into the host's cgroups, making them first."""
    for hierarchy in _hierarchies():
        group = hierarchy / _name(host)
        group.mkdir(exist_ok=True)
        for inherited in ("cpuset.cpus", "cpuset.mems"):  # a new v1 cpuset starts empty and takes nobody
            if (group / inherited).exists() and not (group / inherited).read_text().strip():
                (group / inherited).write_text((hierarchy / inherited).read_text())
        (group / "cgroup.procs").write_text(str(os.getpid()))


def processes(host: str) -> set[int]:
    """The processes of the host, those of its containers too; one that is ending counts until it has ended."""
    found: set[int] = set()
    for hierarchy in _hierarchies():
        for group, _, _ in os.walk(hierarchy / _name(host)):
            with contextlib.suppress(OSError):  # the group has gone meanwhile
                found.update(map(int, Path(group, "cgroup.procs").read_text().split()))
    return found - {0}  # stands for one that this namespace cannot see, and to kill it would end ourselves


def clear(host: str) -> None:
    """Remove what an earlier life of the host left below its cgroups; a real machine's end with its kernel.

    A kubelet takes the empty group of a dead pod for a running one and asks three seconds for each: minutes in all.
    """
    for hierarchy in _hierarchies():
        _remove_below(hierarchy / _name(host))


def remove(host: str) -> None:
    """Remove the host's cgroups, deepest first; one that still has processes stays."""
    for hierarchy in _hierarchies():
        group = hierarchy / _name(host)
        _remove_below(group)
        with contextlib.suppress(OSError):
            group.rmdir()


def _remove_below(group: Path) -> None:
    for path, _, _ in os.walk(group, topdown=False):
        if Path(path) != group:
            with contextlib.suppress(OSError):
                Path(path).rmdir()


def _name(host: str) -> str:
    return f"pacs-{host}"


def _hierarchies() -> list[Path]:
    """The mounted hierarchies: each controller's directory on v1, the one tree on v2."""
    if (_ROOT / "cgroup.controllers").exists():
        return [_ROOT]
    return [path for path in _ROOT.iterdir() if path.is_dir() and not path.is_symlink()]
