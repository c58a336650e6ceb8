"""Rules of `services.common.durable`: the old file or the new one, and synced before anyone relies on it."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from services.common.durable import replace_file


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is done to the disk, in its order; nothing is really synced."""
    seen: list[str] = []
    rename = Path.replace

    def fsync(descriptor: int) -> None:
        seen.append(f"sync {Path(f'/proc/self/fd/{descriptor}').readlink().name}")

    def replace(self: Path, target: Path) -> Path:
        seen.append(f"rename {self.name} to {target.name}")
        return rename(self, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", replace)
    return seen


def test_content_is_synced_before_it_gets_the_name_and_the_name_before_the_return(
    tmp_path: Path, steps: list[str]
) -> None:
    replace_file(tmp_path / "epoch", b"7\n")
    assert steps == ["sync epoch.part", "rename epoch.part to epoch", f"sync {tmp_path.name}"]
    assert (tmp_path / "epoch").read_bytes() == b"7\n"


def test_the_mode_is_the_one_asked_for_whatever_a_crash_left_behind(tmp_path: Path, steps: list[str]) -> None:
    (tmp_path / "key.part").write_bytes(b"half of an older key, readable by all")
    (tmp_path / "key.part").chmod(0o666)
    replace_file(tmp_path / "key", b"secret")
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600


def test_what_the_disk_does_not_take_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "epoch").write_bytes(b"6\n")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        replace_file(tmp_path / "epoch", b"7\n")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("epoch", b"6\n")]
