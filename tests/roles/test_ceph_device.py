"""What Rook must never be given: everything that is neither empty nor Ceph's own."""

from __future__ import annotations

from typing import Any

import pytest

from roles.ceph_device.filter_plugins.ceph_device import objection, twice

TIB = 1 << 40


def device(**more: Any) -> dict[str, Any]:
    """An empty disk, as lsblk tells it."""
    return {"name": "sdb", "kname": "sdb", "size": TIB, "fstype": None, "mountpoints": [None], **more}


LVM = "ceph--6f2c-osd--block--a1"
OSDS = {
    "empty": device(),
    "an OSD on the bare device": device(fstype="ceph_bluestore"),
    "an encrypted OSD": device(
        fstype="LVM2_member",
        children=[{"name": LVM, "type": "lvm", "children": [{"name": "a1-block-dmcrypt", "type": "crypt"}]}],
    ),
}


@pytest.mark.parametrize("found", OSDS.values(), ids=OSDS)
def test_ceph_may_have_what_is_empty_or_its_own(found: dict[str, Any]) -> None:
    assert objection(found) == ""


REFUSED = {
    "mounted": (device(fstype="ext4", mountpoints=["/srv"]), "mounted at /srv"),
    "a file system": (device(fstype="xfs"), "holds xfs"),
    "partitions": (device(children=[{"name": "sdb1"}, {"name": "sdb2"}]), "holds sdb1, sdb2"),
    "somebody's volume group": (
        device(fstype="LVM2_member", children=[{"name": "vg0-home"}]),
        "holds vg0-home",
    ),
    "a volume group without volumes": (device(fstype="LVM2_member"), "holds LVM2_member"),
    "an encrypted disk of somebody else": (device(fstype="crypto_LUKS"), "holds crypto_LUKS"),
    "a part of a RAID": (device(fstype="linux_raid_member", children=[{"name": "md0"}]), "holds md0"),
    "too small": (device(size=1 << 30), "less than 5 GiB"),
}


@pytest.mark.parametrize(("found", "why"), REFUSED.values(), ids=REFUSED)
def test_everything_else_is_refused_with_the_reason(found: dict[str, Any], why: str) -> None:
    assert why in objection(found)


def test_two_names_of_one_device_are_found() -> None:
    assert twice([device(), device(kname="sdc"), device()]) == ["sdb"]
    assert twice([device(), device(kname="sdc")]) == []
