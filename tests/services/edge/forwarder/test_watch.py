"""A waiting thread learns of a new name at once, and of nothing else."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from services.edge.forwarder.watch import DirectoryWatch

LONG = 20.0


def waited(watch: DirectoryWatch, seconds: float) -> float:
    started = time.monotonic()
    watch.wait(seconds)
    return time.monotonic() - started


def test_a_hard_link_ends_the_wait(tmp_path: Path) -> None:
    watched = tmp_path / "outbox"
    watched.mkdir()
    (tmp_path / "pack").touch()
    with DirectoryWatch(watched) as watch:
        threading.Timer(0.05, os.link, (tmp_path / "pack", watched / "pack")).start()
        assert waited(watch, LONG) < LONG / 2


def test_what_happened_before_the_wait_ends_it_and_counts_once(tmp_path: Path) -> None:
    with DirectoryWatch(tmp_path) as watch:
        for name in "abc":
            (tmp_path / name).touch()
        assert waited(watch, LONG) < LONG / 2
        assert waited(watch, 0.01) >= 0.01


def test_another_thread_can_wake_it(tmp_path: Path) -> None:
    with DirectoryWatch(tmp_path) as watch:
        for _ in range(100_000):  # more than the pipe holds
            watch.wake()
        assert waited(watch, LONG) < LONG / 2


def test_a_directory_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), DirectoryWatch(tmp_path / "none"):
        pass
