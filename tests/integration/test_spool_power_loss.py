"""An acknowledged instance survives a power cut with the page cache lost; without fdatasync it does not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from services.packs.pack import verify
from services.packs.segment import SegmentLog
from tests.integration.power_cut import CuttableDisk, cuttable_disk

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(
        os.geteuid() != 0 or shutil.which("mkfs.xfs") is None,
        reason="needs root and xfsprogs for a loop mount",
    ),
]


def acknowledged_until_cut(disk: CuttableDisk, count: int, *arguments: str) -> set[str]:
    """UIDs acknowledged to a sender before the power went, after at least `count` of them."""
    command = [sys.executable, "-m", "tests.integration.spool_writer", str(disk.path), *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as writer:
        assert writer.stdout is not None
        lines = [writer.stdout.readline() for _ in range(count)]
        # What the pipe still holds was said before the cut as well, or never: a write after it fails.
        disk.cut()
        writer.kill()
        lines += writer.stdout.readlines()
    disk.unmount()
    disk.mount()
    return {line.strip() for line in lines if line.endswith("\n")}


def found_in_log(disk: CuttableDisk) -> set[str]:
    with SegmentLog(disk.path / "segments" / "0", headroom_bytes=0) as log:
        return {record.header.sop_instance_uid for record in log.take_recovered()}


def found_in_packs(disk: CuttableDisk) -> set[str]:
    packs = [*(disk.path / "sealing").glob("*.pack"), *(disk.path / "packs").rglob("*.pack")]
    return {entry.sop_instance_uid for path in packs for entry in verify(path).instances}


@pytest.mark.parametrize("round_", range(3))
def test_no_acknowledged_instance_is_lost_from_the_segment_log(tmp_path: Path, round_: int) -> None:
    with cuttable_disk(tmp_path) as disk:
        acknowledged = acknowledged_until_cut(disk, 50 + 97 * round_, "durable", "log")
        assert len(acknowledged) >= 50
        assert acknowledged - found_in_log(disk) == set()


@pytest.mark.parametrize("round_", range(3))
def test_no_acknowledged_instance_is_lost_between_log_sealing_and_store(tmp_path: Path, round_: int) -> None:
    with cuttable_disk(tmp_path) as disk:
        acknowledged = acknowledged_until_cut(disk, 200 + 83 * round_, "durable", "archive")
        packed = found_in_packs(disk)
        assert packed, "the cut came before the first pack: the test shows nothing of sealing"
        assert acknowledged - packed - found_in_log(disk) == set()


def test_without_fdatasync_the_same_cut_loses_acknowledged_instances(tmp_path: Path) -> None:
    with cuttable_disk(tmp_path) as disk:
        acknowledged = acknowledged_until_cut(disk, 200, "control", "log")
        assert acknowledged - found_in_log(disk), "the control lost nothing: this test cannot detect a loss"
