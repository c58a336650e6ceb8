"""What the figures were taken on, and with which versions."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from bench.peers import Peers
from bench.servers import postgres
from toolchain.paths import REPOSITORY


def describe(work: Path) -> dict[str, str]:
    """CPU, memory, kernel, and the disk that `work` lies on."""
    return {
        "processor": _field(Path("/proc/cpuinfo").read_text(), "model name") or platform.machine(),
        "cores": str(os.cpu_count()),
        "memory": f"{_kib('MemTotal') / 2**20:.1f} GiB",
        "kernel": platform.release(),
        "system": _field(Path("/etc/os-release").read_text(), "PRETTY_NAME", "=") or "unknown",
        "disk": f"{_file_system(work)}, {shutil.disk_usage(work).total / 2**30:.0f} GiB",
    }


def versions(peers: Peers) -> dict[str, str]:
    """Of every program that took part."""
    return {
        **peers.versions(),
        "peers' Debian suite": peers.suite,
        "pynetdicom": version("pynetdicom"),
        "Python": platform.python_version(),
        "PostgreSQL": _output([str(postgres.binaries() / "postgres"), "--version"]),
    }


def commit() -> str:
    """Of the product; marked where the tree has changes that are in no commit."""
    name = _output(["git", "-C", str(REPOSITORY), "rev-parse", "--short", "HEAD"])
    changed = _output(["git", "-C", str(REPOSITORY), "status", "--porcelain", "--untracked-files=no"])
    return f"{name} with changes" if changed else name


def _output(command: list[str], environment: Mapping[str, str] | None = None) -> str:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=30, env=environment
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return done.stdout.strip()


def _field(text: str, name: str, separator: str = ":") -> str:
    for line in text.splitlines():
        key, found, value = line.partition(separator)
        if found and key.strip() == name:
            return value.strip().strip('"')
    return ""


def _kib(name: str) -> float:
    return float(_field(Path("/proc/meminfo").read_text(), name).split()[0])


def _file_system(path: Path) -> str:
    return _output(["stat", "-f", "-c", "%T", str(path)])
