"""Processes that the comparison starts: ended by their id, never left behind, and counted with all they started.

CPU time comes from /proc/<pid>/stat (proc(5)): user and system time of a process and of its children that
have ended and were waited for. The kernel counts it in ticks of 10 ms.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.errors import ServerError

_TICKS = os.sysconf("SC_CLK_TCK")
_END_SECONDS = 30.0
START_SECONDS = 90.0
"""A busy machine takes long to start what a quiet one starts in a second."""


@dataclass(frozen=True)
class Account:
    """A process as /proc tells of it: its parent, its own CPU seconds and those of children it has waited for."""

    pid: int
    parent: int
    seconds: float


def parse_stat(text: str) -> Account:
    """/proc/<pid>/stat; the program's name in it may hold spaces and parentheses."""
    pid, _, rest = text.partition(" (")
    fields = rest.rpartition(")")[2].split()
    ticks = sum(int(field) for field in fields[11:15])  # utime, stime, cutime, cstime
    return Account(int(pid), int(fields[1]), ticks / _TICKS)


def accounts(proc: Path = Path("/proc")) -> list[Account]:
    """Every process there is just now; one that ends while it is looked at is left out."""
    found = []
    for entry in proc.iterdir():
        if entry.name.isdigit():
            try:
                found.append(parse_stat((entry / "stat").read_text(errors="replace")))
            except (OSError, IndexError, ValueError):
                continue
    return found


def cpu_seconds(roots: Iterable[int], processes: Sequence[Account] | None = None) -> float:
    """CPU seconds of `roots` and of all that descends from them, the ended ones included."""
    processes = accounts() if processes is None else processes
    children: dict[int, list[Account]] = {}
    for process in processes:
        children.setdefault(process.parent, []).append(process)
    by_pid = {process.pid: process for process in processes}
    waiting = [by_pid[root] for root in set(roots) if root in by_pid]
    total = 0.0
    seen: set[int] = set()
    while waiting:
        process = waiting.pop()
        if process.pid in seen:
            continue
        seen.add(process.pid)
        total += process.seconds
        waiting += children.get(process.pid, [])
    return total


def machine_seconds(text: str | None = None) -> float:
    """CPU seconds that this machine worked since it started, whoever for (the first line of /proc/stat)."""
    line = (Path("/proc/stat").read_text() if text is None else text).splitlines()[0]
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, line.split()[1:9])
    return (user + nice + system + irq + softirq + steal) / _TICKS


def guarded(command: Sequence[str], user: str | None = None) -> list[str]:
    """`command` so that the kernel ends it when the thread that started it has ended, however that came."""
    account = ["--reuid", user, "--regid", user, "--init-groups"] if user and os.geteuid() == 0 else []
    return ["setpriv", *account, "--pdeathsig", "KILL", "--", *command]


class Program:
    """One server process in the foreground, its output in a file."""

    def __init__(
        self,
        command: Sequence[str],
        log: Path,
        *,
        environment: Mapping[str, str] | None = None,
        directory: Path | None = None,
        user: str | None = None,
        end_with: signal.Signals = signal.SIGTERM,
        name: str | None = None,
    ) -> None:
        self.name = name or Path(command[0]).name
        self._log, self._end_with = log, end_with
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                guarded(command, user),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=directory,
                env={**os.environ, **(environment or {})},
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait_until(self, ready: Callable[[], bool], what: str, seconds: float = START_SECONDS) -> None:
        """Return when `ready`; raises ServerError with the last words of the log when it ends or takes too long."""
        deadline = time.monotonic() + seconds
        while not ready():
            status = self._process.poll()
            if status is not None or time.monotonic() > deadline:
                self.stop()
                reason = f"it ended with {status}" if status is not None else f"not within {seconds:.0f} s"
                raise ServerError(
                    f"{self.name} did not {what}",
                    f"{reason}; it said: {self.last_words()}",
                    "See the log of this run.",
                )
            time.sleep(0.05)

    def last_words(self) -> str:
        """The end of what it printed, on one line."""
        return " | ".join(self._log.read_text(errors="replace").split("\n")[-8:])[-800:]

    def stop(self) -> None:
        """End it, politely first."""
        if self._process.poll() is None:
            self._process.send_signal(self._end_with)
            try:
                self._process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
