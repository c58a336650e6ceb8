"""Hosts of the local stack: systemd-nspawn containers, each in a network namespace of its own.

A host has systemd, sshd, its own block devices (files on loop devices) and its own network
namespace, which we wire before it boots and which survives its reboots. A keeper process
(`infra.hosts.keeper`) runs nspawn and starts it again when the host reboots.

Each step may be cut short by a kill and is taken up by the next call: what is made in several steps gets its
final name last, and what is to be found later is written down first.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import socket
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from infra.hosts import cgroups, daemon, disks, network, power
from infra.hosts.base import HostError, HostFacts, HostSpec
from infra.hosts.command import run
from toolchain.rootfs import host_root

BOOT_SECONDS = 60
STOP_SECONDS = 60


class NspawnHosts:
    """The `nspawn` host provider."""

    def ensure(self, spec: HostSpec) -> HostFacts:
        """Make what is missing of the host, start it, and wait until its sshd answers."""
        home = _home(spec)
        home.mkdir(parents=True, exist_ok=True)
        _unpack_root(home)
        with _turn(spec):
            devices = disks.attach(home, spec.disks)
            network.wire(spec)
            _equip_root(spec, home)
        if keeper_pid(home) is None:
            _reap_machine(spec.name)  # a machine whose keeper died alone would not be started again
            _start_keeper(spec, home, devices)
        _wait_for_ssh(spec, home)
        return _facts(spec, home, devices, running=True)

    def inspect(self, spec: HostSpec) -> HostFacts | None:
        """What is there of the host now; None where nothing is."""
        home = _home(spec)
        if not _host_key(home).exists():
            return None
        running = keeper_pid(home) is not None and network.is_wired(spec)
        return _facts(spec, home, disks.attached(home, spec.disks), running=running)

    def remove(self, spec: HostSpec, *, keep_data: bool = False) -> None:
        """End the host and take away its namespace, loop devices and files.

        With `keep_data` its disks stay, and it is powered off in order; otherwise there is nothing to put in order.
        """
        home = _home(spec)
        if keep_data:
            _stop_keeper(home)
        _kill(spec, home)
        with _turn(spec):
            network.unwire(spec)
            disks.detach(home)
        cgroups.remove(spec.name)
        if not keep_data:
            shutil.rmtree(home, ignore_errors=True)

    def cut_power(self, spec: HostSpec) -> None:
        """End the host as a power cut does; its disks keep only what was synced. `ensure` starts it again.

        Its root file system is a directory of this machine and loses nothing: what must survive lies on disks.
        """
        home = _home(spec)
        for mount_point in power.mounts(spec.name, disks.devices(home)):
            power.lose_unwritten(mount_point)
        _kill(spec, home)


@contextlib.contextmanager
def _turn(spec: HostSpec) -> Iterator[None]:
    """Hosts are made side by side; what they share (bridge, loop numbers, ssh key) is made one after the other."""
    lock = spec.state_dir / "hosts" / "turn.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _home(spec: HostSpec) -> Path:
    return spec.state_dir / "hosts" / spec.name


def _host_key(home: Path) -> Path:
    return home / "rootfs/etc/ssh/ssh_host_ed25519_key.pub"


def _secrets(spec: HostSpec) -> Path:
    return spec.state_dir / "secrets"


def ssh_key(spec: HostSpec) -> Path:
    """The operator's ssh key for hosts of this stack, made on first use (ed25519)."""
    key = _secrets(spec) / "ssh_key"
    if not key.exists():
        key.parent.mkdir(parents=True, exist_ok=True)
        key.parent.chmod(0o700)
        partial, public = key.with_name("ssh_key.part"), key.with_name("ssh_key.part.pub")
        for stale in (partial, public):
            stale.unlink(missing_ok=True)
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "pacs operator", "-f", str(partial))
        public.rename(key.with_suffix(".pub"))
        partial.rename(key)
    return key


def _unpack_root(home: Path) -> None:
    root = home / "rootfs"
    if not root.is_dir():
        partial = home / "rootfs.part"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        run("tar", "--extract", "--numeric-owner", "--file", str(host_root()), "--directory", str(partial))
        partial.rename(root)


def _equip_root(spec: HostSpec, home: Path) -> None:
    """Give the root file system its name, its keys and what a real machine has, and nothing else."""
    root = home / "rootfs"
    # Written once: what an operator changes on the host later is the play's to find, not ours to undo.
    _write_once(root / "etc/hostname", f"{spec.name}\n", replace="etc/hostname.set")
    _write_machine_setup(root)
    authorized = root / "root/.ssh/authorized_keys"
    authorized.parent.mkdir(mode=0o700, exist_ok=True)
    authorized.write_text(ssh_key(spec).with_suffix(".pub").read_text())
    authorized.chmod(0o600)
    if not (root / "etc/ssh/ssh_host_ed25519_key").exists():
        run("ssh-keygen", "-q", "-A", "-f", str(root))
    for unit in ("systemd-networkd", "systemd-resolved", "systemd-timesyncd", "console-getty"):
        mask = root / f"etc/systemd/system/{unit}.service"
        if not mask.is_symlink():
            mask.symlink_to("/dev/null")


# What a real machine has and an nspawn host lacks: writable cgroup controllers; the kernel settings that a
# kubelet writes (they belong to the machine below, so the host gets files of its own); and udev's records of
# block devices, without which ceph-volume lists none (no udevd runs in a container).
_SETUP = """#!/bin/sh
set -e
mount -o remount,bind,rw /sys/fs/cgroup
for controller in /sys/fs/cgroup/*/; do mount -o remount,bind,rw "$controller"; done
mkdir -p /run/pacs-sysctl
for setting in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 \
    kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000; do
  name=${setting%=*}; file=/run/pacs-sysctl/$(echo "$name" | tr / .)
  echo "${setting#*=}" > "$file"
  mount --bind "$file" "/proc/sys/$name"
done
mkdir -p /run/udev/data
for device in /sys/block/*/dev; do echo I:1 > "/run/udev/data/b$(cat "$device")"; done
mount --make-rshared /
"""
_SETUP_UNIT = """[Unit]
Description=What a real machine's kernel would give
DefaultDependencies=no
After=local-fs.target
Before=sysinit.target containerd.service kubelet.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/local/sbin/pacs-machine-setup

[Install]
WantedBy=sysinit.target
"""


def _write_machine_setup(root: Path) -> None:
    script = root / "usr/local/sbin/pacs-machine-setup"
    script.write_text(_SETUP)
    script.chmod(0o755)
    unit = root / "etc/systemd/system/pacs-machine-setup.service"
    unit.write_text(_SETUP_UNIT)
    wanted = root / "etc/systemd/system/sysinit.target.wants" / unit.name
    wanted.parent.mkdir(exist_ok=True)
    if not wanted.is_symlink():
        wanted.symlink_to(f"../{unit.name}")


def _write_once(path: Path, text: str, *, replace: str) -> None:
    marker = path.with_name(Path(replace).name)
    if not marker.exists():
        path.write_text(text)
        marker.touch()


def _start_keeper(spec: HostSpec, home: Path, devices: dict[str, str]) -> None:
    document = home / "keeper.json"
    partial = home / "keeper.json.part"
    partial.write_text(json.dumps({"spec": asdict(spec), "devices": devices}, default=str))
    partial.rename(document)
    daemon.start("infra.hosts.keeper", [str(document)], lock=_lock(home), log=home / "keeper.log")


def _lock(home: Path) -> Path:
    return home / "keeper.lock"


def keeper_pid(home: Path) -> int | None:
    """The pid of the host's keeper, if it runs."""
    return daemon.holder(_lock(home))


def _stop_keeper(home: Path) -> None:
    pid = keeper_pid(home)
    if pid is None:
        return
    os.kill(pid, signal.SIGTERM)
    for _ in _until(STOP_SECONDS):
        if keeper_pid(home) is None:
            return


def _kill(spec: HostSpec, home: Path) -> None:
    pid = keeper_pid(home)
    if pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
    _reap_machine(spec.name)
    power.wait_until_released(disks.devices(home))


def _reap_machine(name: str) -> None:
    """Wait until no process of the host is left; kill what stays.

    Containers in it have network namespaces of their own, and are known by their cgroups.
    """
    for _ in _until(STOP_SECONDS):
        pids = {*network.processes(name), *cgroups.processes(name)}
        if not pids:
            return
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    raise HostError(f"processes of host {name} do not end: {sorted(pids)}; end them and try again")


def _wait_for_ssh(spec: HostSpec, home: Path) -> None:
    for _ in _until(BOOT_SECONDS):
        with contextlib.suppress(OSError), socket.create_connection((spec.address, spec.ssh_port), 2) as sock:
            sock.settimeout(2)
            if sock.recv(4) == b"SSH-":
                return
        if keeper_pid(home) is None:
            break
    raise HostError(
        f"host {spec.name} did not answer ssh at {spec.address}:{spec.ssh_port} within {BOOT_SECONDS} s; "
        f"its console is in {home / 'keeper.log'}"
    )


def _until(seconds: float) -> Iterator[None]:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        yield
        time.sleep(0.2)


def _facts(spec: HostSpec, home: Path, devices: dict[str, str], *, running: bool) -> HostFacts:
    host_key = _host_key(home).read_text().rsplit(" ", 1)[0].strip()
    return HostFacts(
        name=spec.name,
        address=spec.address,
        ssh_user=spec.ssh_user,
        ssh_port=spec.ssh_port,
        ssh_key=str(ssh_key(spec)),
        host_key=host_key,
        devices=devices,
        running=running,
    )
