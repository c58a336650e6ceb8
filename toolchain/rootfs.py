"""Debian root filesystems by mmdebstrap, cached by what they are made of.

A root filesystem's key is the hash of its recipe (suite, packages, accounts and the month of the
archive it was taken from is *not* part of it: a cached one stays until the recipe changes or it is
deleted). Which Debian mirror serves is the machine's own business: mmdebstrap's default, or the
sources of the machine.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path

from toolchain.errors import ToolchainError
from toolchain.paths import cache_directory
from toolchain.progress import Progress, Silent


@dataclass(frozen=True)
class Account:
    """A system user made before packages install, because an operator expects its number."""

    name: str
    uid: int
    home: str = "/nonexistent"


@dataclass(frozen=True)
class RootFilesystem:
    """A recipe: suite, packages, accounts; `stale_archive` allows an index past its date (sid)."""

    name: str
    suite: str
    packages: tuple[str, ...]
    accounts: tuple[Account, ...] = ()
    stale_archive: bool = False

    @property
    def key(self) -> str:
        """Hash of the recipe: 16 hex digits."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]


HOST = RootFilesystem(
    name="host",
    suite="bookworm",
    packages=(
        "ca-certificates", "conntrack", "containernetworking-plugins", "curl", "dbus",
        "e2fsprogs",
        "ebtables", "ethtool", "gdisk", "iproute2", "iptables", "iputils-ping", "kmod", "less", "nftables",
        "openssh-server", "parted", "procps", "python3", "python3-apt", "runc", "socat", "systemd", "systemd-sysv",
        "util-linux", "xfsprogs",
    ),
)  # fmt: skip

# rook runs as 2016 and Ceph's daemons as 167 wherever Rook starts them.
CEPH = RootFilesystem(
    name="ceph",
    suite="sid",
    packages=(
        "ceph-common", "ceph-mgr", "ceph-mgr-modules-core", "ceph-mon", "ceph-osd", "ceph-volume",
        "curl",
        "gdisk", "hostname", "iproute2", "jq", "kmod", "lvm2", "parted", "procps", "radosgw", "udev", "xfsprogs",
    ),
    accounts=(Account("ceph", 167, "/var/lib/ceph"), Account("rook", 2016)),
    stale_archive=True,
)  # fmt: skip

# CloudNativePG runs PostgreSQL as 26.
POSTGRESQL = RootFilesystem(
    name="postgresql",
    suite="trixie",
    packages=("ca-certificates", "locales-all", "postgresql-17", "postgresql-client-17"),
    accounts=(Account("postgres", 26, "/var/lib/postgresql"),),
)

PYTHON = RootFilesystem(
    name="python", suite="bookworm", packages=("ca-certificates", "python3", "python3-pip", "python3-venv")
)

NGINX = RootFilesystem(
    name="nginx",
    suite="bookworm",
    packages=("ca-certificates", "libnginx-mod-http-lua", "libnginx-mod-stream", "nginx"),
)

PROMETHEUS = RootFilesystem(
    name="prometheus",
    suite="trixie",
    packages=("ca-certificates", "prometheus", "prometheus-alertmanager", "prometheus-node-exporter"),
)

NFTABLES = RootFilesystem(
    name="nftables", suite="bookworm", packages=("conntrack", "iptables", "kmod", "nftables")
)


def host_root(progress: Progress | None = None) -> Path:
    """The tar of a local host's root filesystem, made when the cache has none."""
    return ensure(HOST, progress)


def ensure(recipe: RootFilesystem, progress: Progress | None = None) -> Path:
    """The cached tar of `recipe`; built first when missing (20-90 s). Raises ToolchainError."""
    target = cache_directory() / "rootfs" / f"{recipe.name}-{recipe.key}.tar"
    if target.exists():
        return target
    if shutil.which("mmdebstrap") is None:
        raise ToolchainError(
            "mmdebstrap is not installed", "it makes the root filesystems", "apt-get install mmdebstrap"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    # Two hosts of one `up` ask for it at once, from threads of one process: the first makes it.
    with target.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            _make(recipe, target, progress or Silent())
    return target


def _make(recipe: RootFilesystem, target: Path, progress: Progress) -> None:
    item = f"root filesystem {recipe.name}"
    progress.update(item, f"from Debian {recipe.suite}, {len(recipe.packages)} packages")
    partial = target.with_suffix(f".{os.getpid()}.part.tar")
    log = target.with_suffix(".log")
    try:
        with log.open("w") as output:
            status = subprocess.run(
                _command(recipe, partial), stdout=output, stderr=output, check=False,
                env={**os.environ, "SOURCE_DATE_EPOCH": "1700000000"},
            ).returncode  # fmt: skip
        if status:
            last = [line for line in log.read_text().splitlines() if line.startswith("E:")][-1:] or [
                "no error line"
            ]
            raise ToolchainError(
                f"mmdebstrap of {recipe.name} failed",
                last[0],
                f"read {log}; if Debian's mirror could not be reached, try again when it can",
            )
        partial.rename(target)
        progress.done(item, f"made, {target.stat().st_size >> 20} MiB")
    finally:
        partial.unlink(missing_ok=True)


def _command(recipe: RootFilesystem, target: Path) -> list[str]:
    command = [
        "mmdebstrap", "--variant=minbase", "--skip=check/empty,cleanup/reproducible", "--format=tar",
        "--aptopt=Apt::Install-Recommends \"false\"",
        f"--include={','.join(recipe.packages)}",
        "--dpkgopt=path-exclude=/usr/share/man/*", "--dpkgopt=path-exclude=/usr/share/locale/*",
        "--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-include=/usr/share/doc/*/copyright",
    ]  # fmt: skip
    if recipe.stale_archive:
        command.append('--aptopt=Acquire::Check-Valid-Until "false"')
    for account in recipe.accounts:
        user = f"{account.name}:x:{account.uid}:{account.uid}::{account.home}:/usr/sbin/nologin"
        command.append(f'--essential-hook=echo "{user}" >> "$1/etc/passwd"')
        command.append(f'--essential-hook=echo "{account.name}:x:{account.uid}:" >> "$1/etc/group"')
    command.append('--customize-hook=rm -rf "$1"/var/cache/apt/* "$1"/var/lib/apt/lists/*')
    return [*command, recipe.suite, str(target)]
