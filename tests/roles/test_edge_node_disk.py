"""The file system of a branch is made once, and no other disk ever takes its place."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

from roles.edge_node.filter_plugins.edge_node import LABEL, objection

STORAGE = Path(__file__).parents[2] / "roles/edge_node/tasks/storage.yml"
OURS = f"DEVNAME=/dev/sdb\nLABEL={LABEL}\nUUID=56cf\nBLOCK_SIZE=512\nTYPE=xfs\n"
MULTIPATH = f"{OURS}\n{OURS.replace('/dev/sdb', '/dev/sdc')}"
STRANGER = f"DEVNAME=/dev/sda\nLABEL={LABEL}\nUUID=77aa\nBLOCK_SIZE=512\nTYPE=xfs\n"


@pytest.mark.parametrize(
    ("probed", "labelled", "once_mounted"),
    [("", "", False), (OURS, OURS, True), (OURS, OURS, False), (OURS, "", True), (OURS, MULTIPATH, True)],
    ids=[
        "an empty disk of a new host",
        "ours",
        "ours after a new installation",
        "ours, unlisted",
        "multipath",
    ],
)
def test_a_branch_takes_an_empty_disk_once_and_then_its_own(
    probed: str, labelled: str, once_mounted: bool
) -> None:
    assert objection(probed, labelled, once_mounted) == ""


@pytest.mark.parametrize(
    ("probed", "labelled", "once_mounted", "why"),
    [
        ("", OURS, True, "that is on /dev/sdb"),
        ("", OURS, False, "that is on /dev/sdb"),
        (OURS, f"{STRANGER}\n{OURS}", True, "that is on /dev/sda"),
        ("", "", True, "has had its file system on another"),
        ("DEVNAME=/dev/sdb\nTYPE=ext4\nUUID=1\n", "", False, "holds ext4"),
        ("DEVNAME=/dev/sdb\nTYPE=xfs\nUUID=1\n", "", False, "holds xfs"),
        ("DEVNAME=/dev/sdb\nPTTYPE=gpt\nPTUUID=1\n", "", False, "holds gpt"),
    ],
    ids=["a new disk that sorts first", "a new disk after a new installation", "two of ours", "the disk is away",
         "another's ext4", "another's xfs", "a partitioned disk"],
)  # fmt: skip
def test_any_other_disk_is_refused_with_the_reason(
    probed: str, labelled: str, once_mounted: bool, why: str
) -> None:
    assert why in objection(probed, labelled, once_mounted)


def test_the_role_writes_on_a_disk_only_after_it_was_judged_and_only_if_it_is_empty() -> None:
    tasks = yaml.safe_load(STORAGE.read_text(encoding="utf-8"))
    commands = [task.get("ansible.builtin.command", {}).get("argv", [""])[0] for task in tasks]
    made = commands.index("mkfs.xfs")
    judged = [task["name"] for task in tasks].index("Refuse a disk that is not this branch's")
    assert judged < made
    assert tasks[made]["when"] == "__edge_node_signature.rc == 2"
    assert f"LABEL={LABEL}" in tasks[commands.index("blkid") + 1]["ansible.builtin.command"]["argv"]


@pytest.mark.integration
def test_what_the_role_makes_is_what_it_knows_again(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    with disk.open("wb") as file:
        file.truncate(400 << 20)
    look = ["blkid", "--probe", "--output", "export", str(disk)]
    empty = subprocess.run(look, capture_output=True, text=True, check=False)
    assert (empty.returncode, objection(empty.stdout, "", False)) == (2, "")
    tasks = yaml.safe_load(STORAGE.read_text(encoding="utf-8"))
    (make,) = [task for task in tasks if task["name"] == "Make the file system"]
    subprocess.run([*make["ansible.builtin.command"]["argv"][:-1], str(disk)], check=True)
    made = subprocess.run(look, capture_output=True, text=True, check=True).stdout
    assert objection(made, made, True) == ""
    assert objection("", made, False).endswith(str(disk))
