"""Hosts that exist: real machines, looked at over ssh and never made or removed."""

from __future__ import annotations

import subprocess
from pathlib import Path

from infra.hosts.base import HostError, HostFacts, HostSpec

CONNECT_SECONDS = 10


class SshHosts:
    """The `ssh` host provider. The operator's own ssh configuration and agent say how to log in."""

    def ensure(self, spec: HostSpec) -> HostFacts:
        """The facts of a machine that answers ssh. Raises HostError for one that does not."""
        facts = self.inspect(spec)
        if facts is None or not facts.running:
            raise HostError(
                f"host {spec.name} does not answer ssh at {spec.address}:{spec.ssh_port}; "
                "check that it is on, that sshd runs and that no firewall stands between"
            )
        return facts

    def inspect(self, spec: HostSpec) -> HostFacts | None:
        """What the machine's sshd shows now; `running` is False where nothing answers."""
        host_key = _host_key(spec)
        return HostFacts(
            name=spec.name,
            address=spec.address,
            ssh_user=spec.ssh_user,
            ssh_port=spec.ssh_port,
            ssh_key="",
            host_key=host_key,
            devices={Path(disk.name).name: disk.name for disk in spec.disks},
            running=bool(host_key),
        )

    def remove(self, spec: HostSpec, *, keep_data: bool = False) -> None:
        """A real machine stays as it is: taking it out of service is its owner's decision."""


def _host_key(spec: HostSpec) -> str:
    """The ed25519 host key that sshd offers, as in known_hosts; empty where nothing answers.

    Taken on first contact over the operator's management network, and from then on part of the stack's state:
    another key later shows as a difference and is refused by the play.
    """
    command = [
        "ssh-keyscan",
        "-T",
        str(CONNECT_SECONDS),
        "-p",
        str(spec.ssh_port),
        "-t",
        "ed25519",
        spec.address,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    for line in done.stdout.splitlines():
        if not line.startswith("#") and " ssh-ed25519 " in line:
            return line.split(" ", 1)[1].strip()
    return ""
