"""Block devices of local hosts: sparse files on loop devices with numbers that stay.

An OSD remembers its device by name, so a disk keeps its loop number over `down --keep-data`
and `up`. Numbers start at 100: the first ones are left to everybody else on the machine.
"""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path

from infra.hosts.base import Disk, HostError
from infra.hosts.command import run

_FIRST = 100
_LOOP_CTL_ADD = 0x4C80
_LOOP_CTL_REMOVE = 0x4C81


def attach(home: Path, disks: tuple[Disk, ...]) -> dict[str, str]:
    """Attach every disk's file to its loop device; return device path by disk name."""
    numbers = _numbers(home)
    for disk in disks:
        image = home / "disks" / f"{disk.name}.img"
        image.parent.mkdir(exist_ok=True)
        if not image.exists():
            with image.open("wb") as file:
                file.truncate(disk.size_bytes)
        number = numbers.get(disk.name)
        if number is not None and _backing(number) == image:
            continue
        if number is None:
            number = next(
                n for n in range(_FIRST, _FIRST + 100) if _backing(n) is None and n not in numbers.values()
            )
        elif _backing(number) is not None:
            raise HostError(
                f"/dev/loop{number} belongs to disk {disk.name} of {home.name} but holds {_backing(number)}; "
                f"detach it (losetup -d /dev/loop{number}) and try again"
            )
        _control(_LOOP_CTL_ADD, number)
        run("losetup", "--direct-io=on", f"/dev/loop{number}", str(image))
        numbers[disk.name] = number
        (home / "disks/loops.json").write_text(json.dumps(numbers))
    return attached(home, disks)


def attached(home: Path, disks: tuple[Disk, ...]) -> dict[str, str]:
    """Device path by disk name, as recorded."""
    numbers = _numbers(home)
    return {disk.name: f"/dev/loop{numbers[disk.name]}" for disk in disks if disk.name in numbers}


def detach(home: Path) -> None:
    """Detach every loop device of the host; the files stay."""
    for name, number in _numbers(home).items():
        if _backing(number) == home / "disks" / f"{name}.img":
            run("losetup", "--detach", f"/dev/loop{number}")
            _control(_LOOP_CTL_REMOVE, number)


def _numbers(home: Path) -> dict[str, int]:
    path = home / "disks/loops.json"
    return (
        {name: int(number) for name, number in json.loads(path.read_text()).items()} if path.exists() else {}
    )


def _backing(number: int) -> Path | None:
    path = Path(f"/sys/block/loop{number}/loop/backing_file")
    return Path(path.read_text().strip()) if path.exists() else None


def _control(request: int, number: int) -> None:
    """LOOP_CTL_ADD / LOOP_CTL_REMOVE (loop(4)); a number that is there already, or gone, is fine."""
    control = os.open("/dev/loop-control", os.O_RDWR)
    try:
        fcntl.ioctl(control, request, number)
    except OSError as error:
        if request == _LOOP_CTL_ADD and not Path(f"/dev/loop{number}").exists():
            raise HostError(f"cannot make /dev/loop{number}: {error}; is the loop driver there?") from error
    finally:
        os.close(control)
