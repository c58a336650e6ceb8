"""Loopback ports."""

from __future__ import annotations

import random
import socket
from pathlib import Path

_FIRST = 15_000
_EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")


def free_port() -> int:
    """A loopback port that nobody listens on now, below those that the kernel gives to whoever asks for any.

    Between this call and the server's own start no outgoing connection takes it, and another process of ours
    hardly ever.
    """
    beyond = int(_EPHEMERAL.read_text().split()[0])
    while True:
        port = random.SystemRandom().randrange(_FIRST, beyond)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def listens(port: int) -> bool:
    """Whether something accepts on a loopback port."""
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True
