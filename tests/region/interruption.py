"""`./pacs up`, killed: where it had come to, and what it must not leave when a later run has ended."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from cli.engine.workspace import RUN, Layout
from tests.figures import note
from toolchain.paths import REPOSITORY

_WAYS: dict[str, Callable[[int], None]] = {
    "KILL to all its processes": lambda pid: os.killpg(pid, signal.SIGKILL),
    "KILL to ./pacs alone": lambda pid: os.kill(pid, signal.SIGKILL),
    "TERM": lambda pid: os.kill(pid, signal.SIGTERM),
}
_TEMPORARY = Path(tempfile.gettempdir())
_OURS = (
    "automation-",
    "pulumi",
    "ansible_",
    "ansible-local-",
    "kubeconfig",
    "nspawn-",
    "pacs-load-",
    "pacs-verify-",
    "runner",
)
_LIVING_ON = (b"infra.hosts.", b"systemd-nspawn")


def kill_ups(count: int, longest: float = 75.0) -> None:
    """Begin `./pacs up` and kill it within `longest` seconds, `count` times; each way of killing has its turn."""
    seed = int(os.environ.get("PACS_SEED", time.time_ns() % 1_000_000))
    chance = random.Random(seed)
    note(f"up killed {count} times, PACS_SEED={seed}:")
    for number in range(count):
        way = list(_WAYS)[number % len(_WAYS)]
        seconds = chance.uniform(1.0, longest)
        note(f"  {way} after {seconds:.1f} s: {_kill_up(_WAYS[way], seconds)}")


def _kill_up(kill: Callable[[int], None], seconds: float) -> str:
    """What the run had said last when it was killed."""
    with tempfile.TemporaryFile() as said:
        run = subprocess.Popen(
            [str(REPOSITORY / "pacs"), "up", "--json"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=said, start_new_session=True,
        )  # fmt: skip
        try:
            ended = run.wait(seconds)
        except subprocess.TimeoutExpired:
            ended = None
            kill(run.pid)
            run.wait(60)
        said.seek(0)
        lines = said.read().decode(errors="replace").splitlines()
    assert ended in {None, 0}, "\n".join(lines[-12:])  # the one before was killed, and this one must go on
    last = lines[-1].strip() if lines else "its start"
    return "it was done before" if ended == 0 else f"at `{last}`"


def leftovers(layout: Layout) -> list[str]:
    """What a killed run has left behind, now that another has ended: files with secrets, locks, processes."""
    folders = (layout.runs, layout.scratch, layout.locks)
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    return [str(path) for path in files] + _processes()


def _temporary_files() -> set[str]:
    return {path.name for path in _TEMPORARY.iterdir() if path.name.startswith(_OURS)}


_there_before = _temporary_files()


def new_temporary_files() -> list[str]:
    """Temporary files of what `./pacs` uses that were not there when the tests began."""
    return sorted(_temporary_files() - _there_before)


def _processes() -> list[str]:
    """Processes that a ./pacs which is gone had started, besides the hosts and the relay."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            variables = dict(
                pair.split(b"=", 1) for pair in (entry / "environ").read_bytes().split(b"\0") if b"=" in pair
            )
            command = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        run = variables.get(RUN.encode(), b"").decode()
        of_a_dead_run = bool(run) and not Path(f"/proc/{run}").exists()
        if of_a_dead_run and not any(word in command for word in _LIVING_ON):
            found.append(
                f"process {entry.name}: {command.replace(bytes(1), b' ').decode(errors='replace')[:120]}"
            )
    return found
