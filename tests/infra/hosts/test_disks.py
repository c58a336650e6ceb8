"""A disk's loop number is written down before it is used, stays, and belongs to one disk."""

from __future__ import annotations

import json
from pathlib import Path

from infra.hosts import disks


def homes(folder: Path, *names: str) -> list[Path]:
    made = [folder / name for name in names]
    for home in made:
        (home / "disks").mkdir(parents=True)
    return made


def test_hosts_made_side_by_side_get_different_numbers_before_any_is_attached(tmp_path: Path) -> None:
    first, second = homes(tmp_path, "dc1", "yanchang")
    numbers = [disks._number(home, name) for home in (first, second) for name in ("one", "two")]
    assert len(set(numbers)) == 4
    assert min(numbers) >= 100


def test_a_number_that_was_written_down_stays(tmp_path: Path) -> None:
    (home,) = homes(tmp_path, "dc1")
    (home / "disks" / "loops.json").write_text(json.dumps({"osd1": 137}))
    assert disks._number(home, "osd1") == 137
    assert disks.attached(home, (disks.Disk("osd1", 1), disks.Disk("new", 1))) == {"osd1": "/dev/loop137"}
