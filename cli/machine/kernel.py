"""What the kernel can do, tried in a network namespace that ends with the trial."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from cli.machine.check import Check

INOTIFY_INSTANCES = Path("/proc/sys/fs/inotify/max_user_instances")
WATCHERS_OF_A_HOST = 30
"""inotify instances: 27 were counted on a control plane with its systemd, containerd and pods."""
_TRIAL_SECONDS = 20


def overlay(filesystems: str | None = None) -> Check:
    """containerd's snapshots are overlay mounts."""
    known = filesystems if filesystems is not None else Path("/proc/filesystems").read_text(encoding="ascii")
    if "overlay" in known.split():
        return Check("kernel: overlay", "ok", "built in or loaded", "overlay")
    if _runs(["modprobe", "--dry-run", "overlay"]):
        return Check("kernel: overlay", "ok", "loadable module", "overlay")
    return Check("kernel: overlay", "missing", "not there", "overlay", "Use a kernel with overlayfs.")


def links() -> Check:
    """Hosts are joined by veth pairs and a bridge."""
    if shutil.which("ip") is None or shutil.which("unshare") is None:
        return Check(
            "kernel: links",
            "will-install",
            "iproute2 is not installed",
            "veth, bridge",
            "./pacs up installs it.",
        )
    trials = {
        "veth": "ip link add name one type veth peer name two",
        "bridge": "ip link add name three type bridge",
    }
    return _trial("kernel: links", trials)


def nftables() -> Check:
    """The branch's firewall is an nftables rule set."""
    if shutil.which("nft") is None:
        return Check(
            "kernel: nf_tables", "will-install", "nft is not installed", "nf_tables", "./pacs up installs it."
        )
    return _trial("kernel: nf_tables", {"nf_tables": "nft add table inet trial"})


def loop_devices(
    needed: int,
    block: Path = Path("/sys/block"),
    device: Path = Path("/dev"),
    limit: Path = Path("/sys/module/loop/parameters/max_loop"),
) -> Check:
    """Every disk of a local host is a file on a loop device of its own."""
    if not (device / "loop-control").exists():
        return Check(
            "loop devices", "missing", "no /dev/loop-control", str(needed), "Load the kernel module loop."
        )
    all_of_them = list(block.glob("loop*"))
    free = sum(1 for entry in all_of_them if not (entry / "loop").is_dir())
    # No limit: the driver makes another one whenever it is asked for a free one.
    enough = free >= needed or (limit.is_file() and limit.read_text(encoding="ascii").strip() == "0")
    return Check(
        "loop devices",
        "ok" if enough else "missing",
        f"{free} of {len(all_of_them)} free",
        str(needed),
        ""
        if enough
        else "Free some (losetup --list shows their files), or declare fewer disks in the stack file.",
    )


def file_watchers(hosts: int, limit: Path = INOTIFY_INSTANCES) -> Check:
    """What the parts of Kubernetes and systemd on `hosts` hosts watch files with: they share one kernel and one user.

    Where it does not suffice, kube-proxy ends with "too many open files", and pods do not reach Services.
    """
    found, needed = int(limit.read_text(encoding="ascii")), WATCHERS_OF_A_HOST * hosts
    return Check(
        "file watchers",
        "ok" if found >= needed else "missing",
        f"fs.inotify.max_user_instances={found}",
        str(needed),
        "" if found >= needed else f"sysctl --write fs.inotify.max_user_instances={max(512, needed)}",
    )


def _trial(name: str, trials: dict[str, str]) -> Check:
    refused = [
        what for what, command in trials.items() if not _runs(["unshare", "--net", "sh", "-c", command])
    ]
    if not refused:
        return Check(name, "ok", "tried in a namespace", ", ".join(trials))
    return Check(
        name,
        "missing",
        f"refused: {', '.join(refused)}",
        ", ".join(trials),
        "Run as root on a kernel that has these (in a container: with its own network rights).",
    )


def _runs(command: list[str]) -> bool:
    try:
        answer = subprocess.run(command, capture_output=True, timeout=_TRIAL_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return answer.returncode == 0
