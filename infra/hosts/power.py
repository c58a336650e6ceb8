"""What a power cut does to a host's disks: everything that was not yet written is gone.

FS_IOC_SHUTDOWN with NOLOGFLUSH ends a mounted XFS so that neither dirty pages nor its log in memory reach the
disk any more; the next mount sees what had been synced, as after a real cut. Without it the processes of a
host could be killed as hard as one likes: this machine's kernel would still write their pages.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import time
from collections.abc import Iterable
from pathlib import Path

from infra.hosts import network
from infra.hosts.base import HostError

# linux/fs.h: FS_IOC_SHUTDOWN is _IOR('X', 125, __u32); FS_SHUTDOWN_FLAGS_NOLOGFLUSH is 2.
_SHUTDOWN = 0x8004587D
_NO_LOG_FLUSH = struct.pack("I", 2)
_RELEASE_SECONDS = 30.0


def lose_unwritten(mount_point: Path) -> None:
    """Lose what the file system mounted there has not written. Every later write to it fails with EIO."""
    descriptor = os.open(mount_point, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.ioctl(descriptor, _SHUTDOWN, _NO_LOG_FLUSH)
    finally:
        os.close(descriptor)


def mounts(host: str, devices: Iterable[str]) -> list[Path]:
    """Where the running host has mounted these devices, as paths of this machine."""
    leader = _leader(host)
    if leader is None:
        return []
    wanted = set(devices)
    found: dict[str, Path] = {}
    for line in Path(f"/proc/{leader}/mountinfo").read_text().splitlines():
        fields, _, source = line.partition(" - ")
        device = source.split()[1]
        if device in wanted:
            # One mount of a file system is enough: bind mounts share it.
            found.setdefault(device, Path(f"/proc/{leader}/root{fields.split()[4]}"))
    return list(found.values())


def wait_until_released(devices: Iterable[str]) -> None:
    """Wait until no mount of the host that died holds its devices any more. Raises HostError."""
    deadline = time.monotonic() + _RELEASE_SECONDS
    for device in devices:
        while not _is_free(device):
            if time.monotonic() > deadline:
                raise HostError(f"{device} is still in use; fuser -vm {device} shows by whom")
            time.sleep(0.05)


def _leader(host: str) -> int | None:
    """The host's process 1: the one whose number one namespace further in is 1."""
    for pid in network.processes(host):
        with contextlib.suppress(OSError):
            status = Path(f"/proc/{pid}/status").read_text()
            numbers = next(line for line in status.splitlines() if line.startswith("NSpid:")).split()[1:]
            if len(numbers) > 1 and numbers[1:] == ["1"]:
                return pid
    return None


def _is_free(device: str) -> bool:
    try:
        os.close(os.open(device, os.O_RDONLY | os.O_EXCL))
    except OSError:
        return False
    return True
