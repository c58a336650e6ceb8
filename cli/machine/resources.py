"""Who runs this, on what: operating system, rights, cores, memory, disk, packages."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from cli.machine.check import Check, Outcome
from toolchain import debian
from toolchain.paths import cache_directory, state_directory

CORES = 2
MIB = 1 << 20
GIB = 1 << 30
# The local stack: hosts at rest take 3 GiB, Ceph and PostgreSQL 5 more; a build of Kubernetes wants 4.
MEMORY = 12 * GIB
# Go modules and build cache 9 GiB, tools 3, images and root filesystems 6.
CACHE_COLD, CACHE_WARM = 20 * GIB, 2 * GIB
DEBIAN = 12


def root() -> Check:
    """Hosts, mounts and bridges need root."""
    user = os.geteuid()
    if user == 0:
        return Check("root", "ok", "uid 0", "uid 0")
    return Check("root", "missing", f"uid {user}", "uid 0", "Run as root: sudo ./pacs …")


def operating_system(os_release: str | None = None) -> Check:
    """Debian 12 or newer: the packages of debian.txt are looked for in its archive."""
    try:
        text = os_release if os_release is not None else Path("/etc/os-release").read_text(encoding="utf-8")
    except OSError:
        text = ""
    fields = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    name, version = fields.get("ID", "?").strip('"'), fields.get("VERSION_ID", "?").strip('"')
    found, needed = f"{name} {version}", f"debian {DEBIAN} or newer"
    if name == "debian" and version.isdigit() and int(version) >= DEBIAN:
        return Check("operating system", "ok", found, needed)
    return Check("operating system", "missing", found, needed, f"Use a machine with Debian {DEBIAN}.")


def cores(count: int | None = None) -> Check:
    """Two cores carry a region of one data-centre host and one branch."""
    found = count if count is not None else len(os.sched_getaffinity(0))
    outcome: Outcome = "ok" if found >= CORES else "missing"
    return Check(
        "cores", outcome, str(found), f"{CORES}", "" if found >= CORES else "Give the machine more cores."
    )


def memory(meminfo: str | None = None) -> Check:
    """All memory of the machine, in GiB."""
    text = meminfo if meminfo is not None else Path("/proc/meminfo").read_text(encoding="ascii")
    total = next(int(line.split()[1]) << 10 for line in text.splitlines() if line.startswith("MemTotal:"))
    enough = total >= MEMORY
    return Check(
        "memory",
        "ok" if enough else "missing",
        f"{total / GIB:.1f} GiB",
        f"{MEMORY // GIB} GiB",
        "" if enough else "Give the machine more memory, or stop other work on it.",
    )


def disk(name: str, directory: Path, needed: int) -> Check:
    """Free space where `directory` is or will be, in GiB."""
    place = next(parent for parent in (directory, *directory.parents) if parent.exists())
    free = shutil.disk_usage(place).free
    enough = free >= needed
    return Check(
        f"disk for {name}",
        "ok" if enough else "missing",
        f"{free / GIB:.1f} GiB free at {directory}",
        f"{needed / GIB:.0f} GiB",
        "" if enough else f"Free space there, or move it: PACS_{name.upper()}_DIR=/other/place",
    )


def cache_disk() -> Check:
    """What tools and images take; less once they are there."""
    directory = cache_directory()
    warm = (directory / "tools").is_dir() and any((directory / "tools").iterdir())
    return disk("cache", directory, CACHE_WARM if warm else CACHE_COLD)


def state_disk(stack: str, needed: int) -> Check:
    """What the hosts of the stack may grow to: their disks are sparse files."""
    return disk("state", state_directory(stack), needed)


def packages(section: str = "up") -> Check:
    """The Debian packages of one section of debian.txt."""
    wanted = debian.listed(section)
    absent = debian.missing(wanted)
    if not absent:
        return Check("Debian packages", "ok", f"{len(wanted)} installed", " ".join(wanted))
    return Check(
        "Debian packages",
        "will-install",
        f"not installed: {' '.join(absent)}",
        " ".join(wanted),
        "./pacs up installs them.",
    )
