"""A process that outlives its starter is found by its lock, and by nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from infra.hosts import daemon
from infra.hosts.base import HostError

_HOLD = """
import subprocess, sys
from pathlib import Path
from infra.hosts.daemon import hold
hold(Path(sys.argv[1]))
child = subprocess.Popen(["sleep", "60"], stdout=subprocess.DEVNULL)
print(child.pid, flush=True)
sys.stdin.read()
"""


@contextmanager
def holding(lock: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A process that holds `lock`, and the pid of a child that it started afterwards."""
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    child = int(process.stdout.readline())
    try:
        yield process, child
    finally:
        process.kill()
        process.wait()
        os.kill(child, signal.SIGKILL)


def test_the_holder_is_found_and_a_lock_file_alone_names_nobody(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    assert daemon.holder(lock) is None
    with holding(lock) as (process, _):
        assert daemon.holder(lock) == process.pid
    assert lock.exists()
    assert daemon.holder(lock) is None


def test_a_child_that_outlives_the_holder_is_not_taken_for_it(tmp_path: Path) -> None:
    with holding(tmp_path / "lock") as (process, child):
        process.kill()
        process.wait()
        assert Path(f"/proc/{child}").exists()
        assert daemon.holder(tmp_path / "lock") is None


def test_there_is_one_holder(tmp_path: Path) -> None:
    with holding(tmp_path / "lock") as (process, _):
        with pytest.raises(HostError, match=str(process.pid)):
            daemon.hold(tmp_path / "lock")
        assert daemon.holder(tmp_path / "lock") == process.pid


def test_a_started_process_is_found_before_start_returns(tmp_path: Path) -> None:
    arguments = [str(tmp_path), "127.0.0.1:0", "127.0.0.1:1"]
    pid = daemon.start("infra.hosts.internet", arguments, lock=tmp_path / "relay.lock", log=tmp_path / "log")
    try:
        assert daemon.holder(tmp_path / "relay.lock") == pid
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def test_one_that_cannot_start_is_told_with_its_log(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="log"):
        daemon.start("infra.hosts.internet", [], lock=tmp_path / "relay.lock", log=tmp_path / "log")
    assert "IndexError" in (tmp_path / "log").read_text()
