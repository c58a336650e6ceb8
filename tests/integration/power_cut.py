"""A file system whose page cache can be lost on demand: XFS on a loop file, ended by FS_IOC_SHUTDOWN.

With the flag NOLOGFLUSH neither dirty pages nor the log reach the disk any more, as in a power cut; the next
mount sees only what had been synced.
"""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# linux/fs.h: FS_IOC_SHUTDOWN is _IOR('X', 125, __u32); FS_SHUTDOWN_FLAGS_NOLOGFLUSH is 2.
_SHUTDOWN = 0x8004587D
_NO_LOG_FLUSH = struct.pack("I", 2)
_BYTES = 320 << 20  # mkfs.xfs wants 300 MiB; the file is sparse


class CuttableDisk:
    """A mounted XFS that can be cut and mounted again."""

    def __init__(self, device: str, mount_point: Path) -> None:
        self._device, self.path = device, mount_point

    def mount(self) -> None:
        """Mount it; after a cut this replays what had reached the log."""
        _run("mount", "-t", "xfs", self._device, str(self.path))

    def unmount(self) -> None:
        """Unmount it; nothing may have a file of it open."""
        _run("umount", str(self.path))

    def cut(self) -> None:
        """Lose everything that is not on the disk. Every later write fails with EIO."""
        descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(descriptor, _SHUTDOWN, _NO_LOG_FLUSH)
        finally:
            os.close(descriptor)


@contextmanager
def cuttable_disk(directory: Path) -> Iterator[CuttableDisk]:
    """An empty, mounted file system below `directory`; its mount and loop device are gone afterwards."""
    image, mount_point = directory / "disk.img", directory / "disk"
    mount_point.mkdir()
    with image.open("wb") as file:
        file.truncate(_BYTES)
    _run("mkfs.xfs", "-q", str(image))
    device = _run("losetup", "--find", "--show", str(image)).strip()
    disk = CuttableDisk(device, mount_point)
    try:
        disk.mount()
        yield disk
    finally:
        subprocess.run(["umount", "--quiet", str(mount_point)], check=False)
        _run("losetup", "--detach", device)
        image.unlink()


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
