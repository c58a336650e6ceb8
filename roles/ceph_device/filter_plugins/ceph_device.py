"""Whether Ceph may have a block device: the answer to `lsblk --json`, judged.

Rook formats what it is given, so that everything but an empty device or one of Ceph's own is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

LEAST_BYTES = 5 << 30
"""What Rook takes: a smaller device never becomes an OSD."""


def objection(device: Mapping[str, Any]) -> str:
    """Why Ceph must not have `device`, an entry of lsblk's `blockdevices`; empty where nothing speaks against.

    An OSD of ours is a bare `ceph_bluestore`, or, where devices are encrypted, an LVM volume that ceph-volume
    made (`ceph--<uuid>-osd--block--<uuid>`).
    """
    if int(device["size"]) < LEAST_BYTES:
        return f"has {int(device['size']) >> 20} MiB, less than 5 GiB"
    mounted = [point for point in device.get("mountpoints") or [] if point]
    if mounted:
        return f"is mounted at {', '.join(mounted)}"
    children = device.get("children") or []
    foreign = [str(child["name"]) for child in children if not str(child["name"]).startswith("ceph--")]
    if foreign:
        return f"holds {', '.join(foreign)}"
    kind = device.get("fstype")
    allowed = {"LVM2_member"} if children else {None, "", "ceph_bluestore"}
    return "" if kind in allowed else f"holds {kind}"


def twice(devices: Sequence[Mapping[str, Any]]) -> list[str]:
    """Kernel names that several of the asked paths lead to."""
    names = [str(device["kname"]) for device in devices]
    return sorted({name for name in names if names.count(name) > 1})


class FilterModule:
    """What Ansible loads."""

    def filters(self) -> dict[str, Any]:
        """Filters by name."""
        return {"ceph_device_objection": objection, "ceph_device_twice": twice}
