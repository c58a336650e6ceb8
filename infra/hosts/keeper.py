"""Keeps one local host running: `python -m infra.hosts.keeper <keeper.json>`.

systemd-nspawn ends with status 133 when the machine inside reboots; the keeper starts it again in
the same network namespace. SIGTERM powers the host off in order, then the keeper ends. Every other
end is logged and the host is started again after a pause, as a server's watchdog would.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

from infra.hosts import cgroups, daemon
from infra.hosts.network import namespace
from toolchain.paths import cache_directory

REBOOT_STATUS = 133
RESTART_PAUSE_SECONDS = 2.0


def nspawn_command(name: str, root: Path, devices: list[str], cache: Path) -> list[str]:
    """The systemd-nspawn command line for a host that runs a kubelet.

    All capabilities and devices, as a machine has them; kernel log, FUSE, TUN and its own block devices
    are bound in, the cache read-only and at its own path, by which plays name what lies in it.
    """
    binds = ["/dev/kmsg", "/dev/loop-control", "/dev/fuse", "/dev/net/tun", *devices]
    return [
        "systemd-nspawn", "--quiet",
        f"--directory={root}", f"--machine={name}", "--boot", "--register=no", "--keep-unit",
        f"--network-namespace-path=/run/netns/{namespace(name)}",
        "--capability=all", "--property=DeviceAllow=all",
        "--resolv-conf=off", "--timezone=off", "--link-journal=no",
        *(f"--bind={path}" for path in binds if Path(path).exists()),
        f"--bind-ro={cache}",
    ]  # fmt: skip


def main(document: Path) -> int:
    """Run the host described in `document` until SIGTERM; return the exit status."""
    description = json.loads(document.read_text())
    command = nspawn_command(
        description["spec"]["name"],
        document.parent / "rootfs",
        list(description["devices"].values()),
        cache_directory(),
    )
    environment = {
        **os.environ,
        "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "0",
        "SYSTEMD_SECCOMP": "0",
        "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "network",
    }
    daemon.hold(document.with_suffix(".lock"))
    cgroups.enter(description["spec"]["name"])
    stopping = threading.Event()
    machine: subprocess.Popen[bytes] | None = None

    def stop(*_: object) -> None:
        stopping.set()
        if machine is not None:
            machine.send_signal(signal.SIGTERM)

    signal.signal(signal.SIGTERM, stop)
    while not stopping.is_set():
        cgroups.clear(description["spec"]["name"])
        machine = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL)
        if stopping.is_set():  # the signal came while it was being started
            machine.send_signal(signal.SIGTERM)
        status = machine.wait()
        if status != REBOOT_STATUS and not stopping.is_set():
            print(f"host ended with status {status}; starting it again", flush=True)
            stopping.wait(RESTART_PAUSE_SECONDS)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
