"""Processes of ours that outlive the command which started them: each is found by the lock that it holds.

The process takes the lock itself, so there is no moment at which it runs and cannot be found, however its
starter was killed. The kernel names the holder and lets go when it ends, so no later process with the same
number is taken for it. POSIX locks (fcntl(2)) belong to one process: its children do not hold them.
"""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from infra.hosts.base import HostError

_FLOCK = "hhqqi"  # struct flock: type, whence, start, length (0: to the end), pid
_START_SECONDS = 15.0
_PROJECT = Path(__file__).resolve().parents[2]

_held: list[IO[bytes]] = []


def hold(lock: Path) -> None:
    """Be the one process of `lock` until this process ends. Raises HostError where another one is."""
    file = lock.open("ab")
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise HostError(f"another process holds {lock}: {holder(lock)}; end it first") from error
    _held.append(file)  # closing the file would let go


def holder(lock: Path) -> int | None:
    """The pid of the process that holds `lock`; None where nobody does. Asking takes nothing."""
    try:
        with lock.open("rb") as file:
            question = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
            answer = struct.unpack(_FLOCK, fcntl.fcntl(file, fcntl.F_GETLK, question))
    except FileNotFoundError:
        return None
    return None if answer[0] == fcntl.F_UNLCK else int(answer[4])


def start(module: str, arguments: Sequence[str], *, lock: Path, log: Path, within: Sequence[str] = ()) -> int:
    """Run `python -m module arguments` on its own until it holds `lock`; its pid. Raises HostError.

    `within` are words before the command that end in an exec, such as `ip netns exec NAME`.
    """
    with log.open("ab") as output:
        process = subprocess.Popen(
            [*within, sys.executable, "-m", module, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            cwd=_PROJECT,
        )
    deadline = time.monotonic() + _START_SECONDS
    while (pid := holder(lock)) is None:
        if process.poll() is not None or time.monotonic() > deadline:
            raise HostError(f"{module} did not start; its last words are in {log}")
        time.sleep(0.02)
    return pid
