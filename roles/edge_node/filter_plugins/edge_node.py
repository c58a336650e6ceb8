"""Whether a branch may use the disk that the stack file names: blkid's answers, judged.

A branch's images, receipts, keys and database lie on one file system, labelled when it is made. While that one is
anywhere on the host no other is made or mounted in its place: the branch would come up empty, as a stranger.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LABEL = "pacs-data"


def objection(probed: str, labelled: str, once_mounted: bool) -> str:
    """Why the declared disk must not be used; empty where nothing speaks against it.

    `probed` is `blkid --probe --output export` of that disk (nothing for an empty one), `labelled` the same of every
    device whose label is ours, `once_mounted` whether this host has had its file system before.
    """
    own = _signature(probed)
    ours = own.get("TYPE") == "xfs" and own.get("LABEL") == LABEL
    found = [_signature(block) for block in labelled.split("\n\n")]
    # Compared by UUID: a multipath or mirrored disk shows one file system under several names.
    others = [device["DEVNAME"] for device in found if device and device.get("UUID") != own.get("UUID")]
    if others:
        return f"is not the one with the file system of this branch: that is on {', '.join(others)}"
    if not own:
        return "is empty, but this branch has had its file system on another" if once_mounted else ""
    if ours:
        return ""
    return f"holds {own.get('TYPE') or own.get('PTTYPE') or 'something'} that is not ours"


def _signature(text: str) -> Mapping[str, str]:
    """What blkid tells of one device, by tag; nothing where it only repeats the device's name."""
    pairs = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    return pairs if pairs.keys() - {"DEVNAME"} else {}


class FilterModule:
    """What Ansible loads."""

    def filters(self) -> dict[str, Any]:
        """Filters by name."""
        return {"edge_node_disk_objection": objection}
