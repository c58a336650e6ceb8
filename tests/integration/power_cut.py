"""A file system whose page cache can be lost on demand: XFS on a loop file, ended by FS_IOC_SHUTDOWN.

The next mount sees only what had been synced (`infra.hosts.power`).
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from infra.hosts.power import lose_unwritten

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
        lose_unwritten(self.path)


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
