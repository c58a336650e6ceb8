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
    for disk in disks:
        image = _image(home, disk.name)
        image.parent.mkdir(exist_ok=True)
        with image.open("ab") as file:
            if file.tell() < disk.size_bytes:
                file.truncate(disk.size_bytes)
        number = _number(home, disk.name)
        holds = _backing(number)
        if holds == image:
            continue
        if holds is not None:
            raise HostError(
                f"/dev/loop{number} belongs to disk {disk.name} of {home.name} but holds {holds}; "
                f"detach it (losetup -d /dev/loop{number}) and try again"
            )
        _control(_LOOP_CTL_ADD, number)
        run("losetup", "--direct-io=on", f"/dev/loop{number}", str(image))
    return attached(home, disks)


def attached(home: Path, disks: tuple[Disk, ...]) -> dict[str, str]:
    """Device path by disk name, as recorded."""
    numbers = _numbers(home)
    return {disk.name: f"/dev/loop{numbers[disk.name]}" for disk in disks if disk.name in numbers}


def detach(home: Path) -> None:
    """Detach every loop device of the host; the files stay."""
    for number in _ours(home):
        run("losetup", "--detach", f"/dev/loop{number}")
        _control(_LOOP_CTL_REMOVE, number)


def devices(home: Path) -> list[str]:
    """The loop devices that hold the host's disks now; a number that was given back may be somebody else's."""
    return [f"/dev/loop{number}" for number in _ours(home)]


def _ours(home: Path) -> list[int]:
    return [number for name, number in _numbers(home).items() if _backing(number) == _image(home, name)]


def _image(home: Path, name: str) -> Path:
    return home / "disks" / f"{name}.img"


def _number(home: Path, name: str) -> int:
    """The disk's loop number; a new disk's is written down before it is used, so that it can be given back.

    Other hosts' numbers may be written down and not yet used: they are taken all the same.
    """
    numbers = _numbers(home)
    if name not in numbers:
        taken = {number for other in home.parent.iterdir() for number in _numbers(other).values()}
        free = (number for number in range(_FIRST, _FIRST + 100) if number not in taken)
        numbers[name] = next(number for number in free if _backing(number) is None)
        partial = home / "disks/loops.json.part"
        partial.write_text(json.dumps(numbers))
        partial.rename(home / "disks/loops.json")
    return numbers[name]


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
