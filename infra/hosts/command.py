"""Running a tool of the machine and saying clearly what it answered."""

from __future__ import annotations

import subprocess

from infra.hosts.base import HostError


def run(*command: str, check: bool = True) -> str:
    """Run `command`, return its standard output; HostError with its own words when it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise HostError(
            f"`{' '.join(command)}` failed ({done.returncode}): {done.stderr.strip() or done.stdout.strip()}"
        )
    return done.stdout
