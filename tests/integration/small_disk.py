"""A file system of a few MiB that can be filled to its last byte and given room again."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class SmallDisk:
    """A mounted tmpfs; `fill` takes what is left of it, as other data on a real disk would."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._balloon = path / "something-else"

    @property
    def free(self) -> int:
        """Bytes that can still be written."""
        stat = os.statvfs(self.path)
        return stat.f_bavail * stat.f_frsize

    def fill(self) -> None:
        """Write until not one page more goes in."""
        with self._balloon.open("ab", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(64 << 10))
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
        assert self.free == 0

    def make_room(self) -> None:
        """Take away what `fill` wrote."""
        self._balloon.unlink()


@contextmanager
def small_disk(directory: Path, size_bytes: int) -> Iterator[SmallDisk]:
    """An empty one at `directory`/disk; unmounted afterwards. Needs root."""
    mount_point = directory / "disk"
    mount_point.mkdir()
    options = f"size={size_bytes},mode=0755"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "pacs-small-disk", str(mount_point)], check=True)
    try:
        yield SmallDisk(mount_point)
    finally:
        subprocess.run(["umount", "--lazy", str(mount_point)], check=False)
