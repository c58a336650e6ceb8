"""Loop devices and file systems, as the kernel lists them."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.machine import kernel


def devices(tmp_path: Path, *, used: int, free: int) -> tuple[Path, Path]:
    block, device = tmp_path / "block", tmp_path / "dev"
    for number in range(used + free):
        (block / f"loop{number}").mkdir(parents=True)
        if number < used:
            (block / f"loop{number}" / "loop").mkdir()
    device.mkdir()
    (device / "loop-control").touch()
    return block, device


def test_only_free_loop_devices_count(tmp_path: Path) -> None:
    block, device = devices(tmp_path, used=6, free=2)
    limit = tmp_path / "max_loop"
    limit.write_text("8\n", encoding="ascii")
    assert kernel.loop_devices(2, block, device, limit).outcome == "ok"
    check = kernel.loop_devices(3, block, device, limit)
    assert check.outcome == "missing"
    assert check.found == "2 of 8 free"


def test_a_driver_without_a_limit_always_has_another_one(tmp_path: Path) -> None:
    block, device = devices(tmp_path, used=8, free=0)
    limit = tmp_path / "max_loop"
    limit.write_text("0\n", encoding="ascii")
    assert kernel.loop_devices(3, block, device, limit).outcome == "ok"


def test_a_machine_without_the_loop_driver_is_told_so(tmp_path: Path) -> None:
    assert kernel.loop_devices(1, tmp_path, tmp_path).outcome == "missing"


@pytest.mark.parametrize(("hosts", "outcome"), [(2, "ok"), (4, "ok"), (5, "missing")])
def test_many_hosts_need_more_file_watchers_than_a_kernel_gives(
    hosts: int, outcome: str, tmp_path: Path
) -> None:
    limit = tmp_path / "max_user_instances"
    limit.write_text("128\n", encoding="ascii")
    check = kernel.file_watchers(hosts, limit)
    assert check.outcome == outcome
    assert (check.action == "sysctl --write fs.inotify.max_user_instances=512") == (outcome == "missing")


def test_overlay_is_found_where_the_kernel_lists_it() -> None:
    assert kernel.overlay("nodev\toverlay\n\text4\n").outcome == "ok"
