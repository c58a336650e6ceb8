"""The Debian packages that this machine needs: debian.txt names them, apt-get brings them."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from toolchain.errors import PackageError, VersionsError
from toolchain.progress import Progress
from toolchain.versions import TOOLCHAIN

_POLICY = Path("/usr/sbin/policy-rc.d")
_POLICY_TEXT = """#!/bin/sh
# Made by pacs for the time of one apt-get: a package that we install for its programs starts no service.
exit 101
"""


def listed(section: str, path: Path = TOOLCHAIN / "debian.txt") -> list[str]:
    """The packages of one section of debian.txt: `up`, `test` or `integration`."""
    sections: dict[str, list[str]] = {}
    current: list[str] | None = None
    for number, raw in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        line = raw.split("#", 1)[0].strip()
        if not line:
            continue
        if line.startswith("[") and line.endswith("]"):
            current = sections.setdefault(line[1:-1], [])
        elif current is None or len(line.split()) != 1:
            raise VersionsError(
                f"{path.name} is wrong at line {number}",
                f"`{line}` is not one package",
                "One package a line.",
            )
        else:
            current.append(line)
    if section not in sections:
        raise VersionsError(f"{path.name} has no section [{section}]", "it was asked for", "Add the section.")
    return sections[section]


def missing(packages: Sequence[str]) -> list[str]:
    """Those of `packages` that are not installed; all of them where there is no dpkg."""
    try:
        answer = subprocess.run(
            ["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\\n", *packages],
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        return list(packages)
    there = {
        line.split()[0] for line in answer.stdout.splitlines() if line.endswith(" installed") and line.split()
    }
    return [package for package in packages if package not in there]


def install(packages: Sequence[str], progress: Progress) -> list[str]:
    """Install what is missing, starting no service; return what was installed. Raises PackageError."""
    wanted = missing(packages)
    if not wanted:
        return []
    if os.geteuid() != 0:
        raise PackageError(
            f"Debian packages are missing: {' '.join(wanted)}",
            "only root can install packages",
            f"Run as root, or ask an administrator for: apt-get install {' '.join(wanted)}",
        )
    progress.update("debian packages", f"{len(wanted)} to install: {' '.join(wanted)}")
    with _no_services():
        _end_interrupted()
        _apt_get("update")
        _apt_get("install", "--yes", "--no-install-recommends", *wanted)
    progress.done("debian packages", f"installed {' '.join(wanted)}")
    return wanted


def _end_interrupted() -> None:
    """Configure what an installation that was killed left unconfigured: until then apt-get refuses to work.

    While another one is under way dpkg refuses this, and apt-get waits for it.
    """
    with contextlib.suppress(FileNotFoundError):  # no Debian: apt-get tells it
        if _run("dpkg", "--audit").stdout.strip():
            _run("dpkg", "--configure", "--pending")


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    return subprocess.run(
        command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )


def _apt_get(*arguments: str) -> None:
    try:
        answer = _run("apt-get", "-q", "-o", "DPkg::Lock::Timeout=300", *arguments)
    except FileNotFoundError as error:
        raise PackageError(
            "apt-get is missing", "this is not a Debian system", "Run on Debian 12 or newer."
        ) from error
    if answer.returncode != 0:
        lines = [line for line in answer.stderr.splitlines() if line.startswith("E:")] or [
            answer.stderr[-300:]
        ]
        raise PackageError(
            f"apt-get {arguments[0]} failed",
            " ".join(lines[:3]).strip(),
            "Check that Debian's archive (see /etc/apt/sources.list.d) can be reached, then run again.",
        )


@contextlib.contextmanager
def _no_services() -> Iterator[None]:
    """Keep packages from starting daemons here (invoke-rc.d policy); a policy of the machine's own stays."""
    if _POLICY.is_symlink() or (_POLICY.exists() and _POLICY.read_text(encoding="utf-8") != _POLICY_TEXT):
        yield
        return
    _POLICY.write_text(_POLICY_TEXT, encoding="utf-8")
    _POLICY.chmod(0o755)
    try:
        yield
    finally:
        _POLICY.unlink(missing_ok=True)
